"""The scorer's loop: read, score, write, commit. What it reads and writes is a port: Kafka, or memory.

The order of effects is outputs first, progress second: a crash between the two repeats work, and what the
output holds already is not made again, whatever engine scores by then.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.scoring.order import INPUTS, Item, Mark, Order, Position
from tapedeck.connectors.scoring.records import (
    TOPIC,
    Output,
    Record,
    Refused,
    judged,
    needs_score,
    outputs_of,
)
from tapedeck.connectors.sentiment.scorer import Scorer
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Headers, Origin, Wire, caused_by, record_wire, watermark_wires
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

STAGE = "scorer"
"""The name of its heartbeats, group, lease and login."""
LEAST_BACK = 500
"""Messages at a partition's end that are looked at in any case: a repeat of an item may follow soon."""
_WIDER = 8
Partition = int


class End(NamedTuple):
    """The last messages of a partition. ``whole``: there are none before them."""

    messages: Sequence[Message]
    whole: bool


class ScoringLog(Protocol):
    """What the loop reads and writes."""

    layout: Layout

    def committed(self) -> Mapping[str, Position | None]:
        """The position of each input; None where none is known for the topic as it is now."""
        ...

    def first(self, name: str) -> int:
        """The first offset that an input has."""
        ...

    def ends(self, back: Mapping[Partition, int]) -> Mapping[Partition, End]:
        """The end of these partitions of the output: about so many messages of each."""
        ...

    def begin(self, offsets: Mapping[str, int]) -> None:
        """Read the inputs from here on."""
        ...

    def read(self, names: Sequence[str], timeout_s: float) -> Sequence[Message]:
        """Messages of the inputs ``names``, of each in order; waits for one for so long."""
        ...

    def write(self, wires: Sequence[Wire]) -> None:
        """Append; returns when all are acknowledged. Raises Retry if they are not."""
        ...

    def commit(self, positions: Mapping[str, Position]) -> None:
        """Keep how far the inputs are done."""
        ...


class _Found(NamedTuple):
    """What the output has: the last label by partition, and symbols by item."""

    labels: dict[Partition, int | None]
    written: dict[str, frozenset[str]]


class ScoringLoop:
    """One process's work on ``log``. ``engine`` makes the engine when there is a text to score.

    ``most``: the most texts of a call. ``pause`` is called before a text that failed is tried again,
    ``took`` with the seconds of each round that scored texts.
    """

    def __init__(
        self,
        log: ScoringLog,
        engine: Callable[[], Scorer],
        origin: Origin,
        *,
        most: int,
        now_us: Callable[[], int],
        pause: Callable[[], object] = lambda: None,
        took: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._log, self._engine, self._most, self._pause = log, engine, most, pause
        self._took = took
        self._static, self._digest, self._now_us = origin.static(), origin.config_digest, now_us
        self.counts: Counter[str] = Counter()
        self.by_model: Counter[str] = Counter()
        known = log.committed()
        found = _found(log, known)
        self._labels = found.labels
        labels = list(found.labels.values())
        marked = None if None in labels else min(label for label in labels if label is not None)
        starts = {name: known[name] or Position(log.first(name)) for name in INPUTS}
        self._order = Order(starts, marked, found.written)
        log.begin({name: start.offset for name, start in starts.items()})

    @property
    def marked(self) -> int | None:
        """The label of the last watermark that was written."""
        return self._order.marked

    @property
    def waiting(self) -> int:
        """Messages that were read and are not done yet."""
        return self._order.waiting

    def step(self, now: float, timeout_s: float) -> bool:
        """Read what is there and do what is due; whether there was anything. ``now``: seconds of any clock.

        Raises Retry if what was written is not acknowledged: then start again.
        """
        arrived = self._log.read(self._order.hungry, timeout_s)
        for message in arrived:
            self._order.put(message)
        before = self._order.positions()
        steps = self._order.turn(now, self._most)
        positions = self._order.positions()
        if positions == before:
            return bool(arrived)
        texts = [each.body["text"] for each in steps if isinstance(each, Item) and needs_score(each)]
        began = time.monotonic()
        outcomes = judged(self._engine, texts, self._most, self._pause)
        if texts:
            self._took(time.monotonic() - began)
        for outcome in outcomes:
            if outcome.score is not None:
                self.by_model[f"{outcome.score.engine}:{outcome.score.model_digest}"] += 1
        wires = list(self._wires(outputs_of(steps, outcomes, self._digest, self.counts)))
        if wires:
            self._log.write(wires)
        self._log.commit(positions)
        return True

    def _wires(self, outputs: Iterator[Output]) -> Iterator[Wire]:
        for each in outputs:
            if isinstance(each, Mark):
                behind = tuple(p for p, at in self._labels.items() if at is None or at < each.label)
                yield from watermark_wires(TOPIC, each.label, behind)
                self._labels.update(dict.fromkeys(behind, each.label))
            elif isinstance(each, Refused):
                yield dead_letter(self._log.layout, each.message, STAGE, each.error)
            else:
                yield self._wire(each)

    def _wire(self, each: Record) -> Wire:
        body = each.body
        headers: Headers = [
            *self._static,
            ("tape-ingest-time", str(self._now_us()).encode()),
            ("ce_id", str(body["event_id"]).encode()),
            ("ce_type", f"tapedeck.{TOPIC}".encode()),
            *caused_by(body["event_id"], each.cause),
        ]
        self.counts[f"OUT:{TOPIC}"] += 1
        return record_wire(TOPIC, topic(TOPIC).record_key(body), body, self._log.layout, headers)


def _found(log: ScoringLog, known: Mapping[str, Position | None]) -> _Found:
    """Look at the ends of the output, as far back as something may stand that no commit covers.

    What follows watermark(m) in an input is written after watermark(m). So nothing of it stands before the
    last label that was written when its position was kept.
    """
    since = [None if position is None else position.marked for position in known.values()]
    floor = None if None in since else min(label for label in since if label is not None)
    back = dict.fromkeys(range(log.layout.partitions(TOPIC)), LEAST_BACK)
    labels: dict[Partition, int | None] = dict.fromkeys(back)
    written: dict[str, set[str]] = {}
    while back:
        ends = log.ends(back)
        back = {
            part: back[part] * _WIDER
            for part, end in ends.items()
            if not end.whole and not _covers(end, floor)
        }
        for part in ends.keys() - back.keys():
            for message in ends[part].messages:
                label = readable_label(message)
                if label is not None:
                    labels[part] = max(label, labels[part] or label)
                elif message.key != WATERMARK_KEY:
                    _note(message, written)
    return _Found(labels, {item: frozenset(symbols) for item, symbols in written.items()})


def _covers(end: End, floor: int | None) -> bool:
    labels = map(readable_label, end.messages)
    return floor is not None and any(label is not None and label <= floor for label in labels)


def _note(message: Message, written: dict[str, set[str]]) -> None:
    with suppress(DeadLetter):
        body = decode(TOPIC, message.value)
        for item in body["inputs"]:
            written.setdefault(item, set()).add(body["symbol"])
