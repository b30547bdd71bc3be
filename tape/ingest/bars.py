"""``tape ingest bars``: Alpaca's bars, quotes and statuses into the source topics, with their watermarks.

It is the only writer of the sources' watermarks while it runs. Three threads: one reads the socket and puts
frames into a queue, one asks REST, and this one decides and writes. It goes on without a stream: time must
not stop for the positions that are held.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.inbox import FrameQueue, Gap
from tapedeck.connectors.alpaca.market.ingest import Ingest
from tapedeck.connectors.alpaca.market.states import Health
from tapedeck.connectors.alpaca.market.steps import Ask, Mark, Refuse, Step, Write
from tapedeck.connectors.alpaca.market.stream import MarketStream
from tapedeck.connectors.beats import BEAT_S, NOW, About, beat
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.tapes.openings import Openings
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.connectors.tapes.writers import FIRST_LOOK_S, LIVE, LOOK_S
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.tape.ingest.asker import Answer
from tapedeck.tape.ingest.leases import Beside
from tapedeck.topics.catalogue import Layout

log = logging.getLogger("tapedeck.ingest.bars")

STAGE = LIVE
_TAKE_S = 0.2


class Writer(LogWriter, Protocol):
    """A log writer that also takes records as they are."""

    def write(self, wires: Iterable[Wire]) -> None: ...


class Rest(Protocol):
    """Where questions go; ``Asker`` is one."""

    @property
    def waiting(self) -> int: ...

    def ask(self, ask: Ask) -> None: ...

    def answers(self) -> list[Answer]: ...


class BarsIngest:
    """Connects queue, core, REST and log. ``wanted`` gives the symbols, looked up once a minute.

    ``about``: what a heartbeat says of this process beside its progress: code version, config digest.
    ``alone`` gets the labels of all watermarks written here, and raises if another process writes some.
    ``clock`` is the market's time, ``wall`` this machine's: a data server over a tape has a time of its own.
    """

    def __init__(
        self,
        core: Ingest,
        queue: FrameQueue,
        rest: Rest,
        writer: Writer,
        health: Health,
        *,
        layout: Layout,
        clock: Clock,
        wall: Clock | None = None,
        about: About,
        openings: Openings | None = None,
        wanted: Callable[[], list[str]] | None = None,
        alone: Callable[[Collection[int]], None] | None = None,
        stream: MarketStream | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core, self._queue, self._rest, self._writer, self._health = core, queue, rest, writer, health
        self._layout, self._clock, self._about, self._openings = layout, clock, about, openings
        self._wall = wall or SystemClock()
        self._wanted, self._alone, self._stream, self._monotonic = wanted, alone, stream, monotonic
        self._beat_at = self._look_at = monotonic()
        self._alone_at = self._look_at + FIRST_LOOK_S - LOOK_S
        self._marked: set[int] = set()
        self.written: Counter[str] = Counter()

    def begin(self, *, level: bool = False) -> None:
        """The first watermark and the backfill. ``level``: every partition has that watermark already."""
        steps = self._core.begin(self._clock.now())
        self._do([step for step in steps if not (level and isinstance(step, Mark))])
        self._writer.flush()

    def run(self, stop: threading.Event, beside: Sequence[Beside] = ()) -> None:
        """Work until ``stop``. Raises what ended a thread ``beside``: the process starts anew."""
        while not stop.is_set():
            self.turn(_TAKE_S)
            for each in beside:
                if each.failed is not None:
                    raise each.failed
        self._writer.flush()

    def turn(self, wait_s: float) -> None:
        """One look at everything: what has come is written and acknowledged when it returns."""
        for arrival in self._queue.take(wait_s):
            now = self._clock.now()
            if isinstance(arrival.content, Gap):
                log.info("asks REST for what may be missing: %s", arrival.content.why)
                self._do(self._core.on_gap(now))
                continue
            for value in frames.read(arrival.content):
                self._do(self._core.on_value(value, now))
        for answer in self._rest.answers():
            self._do(self._answered(answer))
        if self._stream is not None:
            self._core.lacks(self._stream.missing)
        self._do(self._core.on_tick(self._clock.now()))
        self._writer.flush()
        tick = self._monotonic()
        self.beat_if_due()
        if self._wanted is not None and tick - self._look_at >= LOOK_S:
            self._look_at = tick
            self._look(self._wanted())
        if self._alone is not None and tick - self._alone_at >= LOOK_S:
            self._alone_at = tick
            self._alone(self._marked)

    def beat_if_due(self) -> None:
        """Write a heartbeat, unless the last was less than a second ago. A wait may call this."""
        if self._monotonic() - self._beat_at >= BEAT_S:
            self._beat_at = self._monotonic()
            self._beat()

    def _look(self, wanted: list[str]) -> None:
        if self._stream is not None:
            self._stream.want(wanted)
        self._do(self._core.want(wanted, self._clock.now()))

    def _answered(self, answer: Answer) -> list[Step]:
        now = self._clock.now()
        if answer.rows is None:
            return self._core.on_failed(answer.ask, now)
        return self._core.on_answer(answer.ask, answer.rows, now)

    def _do(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step:
                case Write():
                    self._write(step)
                case Mark():
                    self._mark(step.label)
                case Ask():
                    self._rest.ask(step)
                case Refuse():
                    self._refuse(step.reason, step.error, step.raw)

    def _write(self, step: Write) -> None:
        try:
            self._writer.send(step.topic, step.body)
            self.written[step.topic] += 1
        except DeadLetter as error:
            self._refuse(error.reason, str(error), repr(step.body).encode(errors="replace"))

    def _mark(self, label: int) -> None:
        self._marked.add(label)
        for name in SOURCES:
            self._writer.watermark(name, label)
        if self._openings is not None:
            self._writer.flush()
            self._openings.open(label)

    def _refuse(self, reason: str, said: str, raw: bytes) -> None:
        self.written["dead_letters"] += 1
        message = Message("bars", 0, -1, self._wall.now() // 1000, None, raw, ())
        self._writer.write([dead_letter(self._layout, message, STAGE, DeadLetter(said, reason=reason))])

    def _beat(self) -> None:
        core, now = self._core, self._wall.now()
        counts: dict[str, int] = {
            "IN": sum(core.counts[kind] for kind in ("Bar", "Quote", "Status")),
            **{f"OUT:{name}": count for name, count in self.written.items()},
            **{name: count for name, count in core.counts.items() if name.isupper() or "." in name},
            **{f"STATE_{state}": times for state, times in self._health.seen.items()},
            f"{NOW}{self._health.state}": max(1, round(self._health.for_s)),
            "DELAY_MS": round(1000 * self._queue.longest_delay_s()),
            "DROPPED_FRAMES": self._queue.dropped,
            "COLD_SYMBOLS": len(core.cold),
        }
        lag = self._queue.depth + self._rest.waiting
        records = sum(self.written.values())
        self._writer.write(
            [beat(STAGE, now, marked=core.ended, lag=lag, records=records, counts=counts, about=self._about)]
        )
