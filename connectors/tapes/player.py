"""Plays a tape into the source topics. While it plays, it is the only writer of their watermarks."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.tapes.openings import Openings, OptionalInputs
from tapedeck.connectors.tapes.tape import Body, Minute, Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US

SOURCES = ("bars", "quotes", "universe")
"""The market's topics: they have one writer, and one log minute at a time."""
TEXTS = ("news", "posts")
PLAYED = (*TEXTS, *SOURCES)
"""What a tape is played into, in the order in which a minute is written."""
LastWatermarks = Mapping[tuple[str, int], int | None]
"""Label of the last watermark by (topic, partition), None if it has none; covers every source partition."""


@dataclass(frozen=True)
class Pace:
    """How fast a tape is played. ``speed`` 1 is real time; None waits for the pipeline after each minute."""

    speed: float | None

    @classmethod
    def parse(cls, text: str) -> "Pace":
        """``1x``, ``60x`` (any number) or ``max``. Raises Fatal for anything else."""
        if text == "max":
            return cls(None)
        try:
            speed = float(text.removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not text.endswith("x") or not 0 < speed < float("inf"):
            raise Fatal("not a speed", value=text, remedy="use 1x, 60x or max")
        return cls(speed)


@dataclass(frozen=True)
class Played:
    """What one run wrote. ``resumed_after``: the label that every partition had before the run, if any."""

    minutes: int
    bars: int
    quotes: int
    news: int
    posts: int
    resumed_after: int | None


class Standing(NamedTuple):
    """The part of a tape's warm-up that the topics already have.

    ``newest``: (feed, symbol) to the (minute, revision) of its newest bar, counting from the warm-up's first
    bar; ``universe`` is the newest one.
    """

    newest: Mapping[tuple[str, str], tuple[int, int]]
    universe: Body | None


def _nothing(label: int) -> None:
    pass


def _nothing_stands(since: int) -> Standing:
    return Standing({}, None)


class Player:
    """Writes a tape minute by minute: news and posts, their watermark(m), then bars, quotes and theirs.

    Every partition gets its watermark in every minute, also where the tape has no news at all.
    ``before_minute(m)`` is called just before the records of m are written. At pace max, ``wait_for(m)`` is
    called after its watermark and returns once the pipeline has caught up (lock-step). If the pipeline has
    ``optional`` inputs, each watermark of ``SOURCES`` is followed by an opening that says which are absent;
    otherwise no openings are written.
    """

    def __init__(
        self,
        tape: Tape,
        writer: LogWriter,
        pace: Pace,
        *,
        before_minute: Callable[[int], None] = _nothing,
        wait_for: Callable[[int], None] = _nothing,
        optional: OptionalInputs | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tape = tape
        self._writer = writer
        self._pace = pace
        self._before_minute = before_minute
        self._wait_for = wait_for
        self._optional = optional if optional and optional.names else None
        self._openings: Openings | None = None
        self._sleep = sleep
        self._monotonic = monotonic

    @property
    def absent(self) -> tuple[str, ...]:
        """The optional inputs that are absent in the minute being played."""
        return self._openings.absent if self._openings is not None else ()

    def play(
        self,
        last_watermarks: Callable[[], LastWatermarks],
        standing: Callable[[int], Standing] = _nothing_stands,
    ) -> Played:
        """Play what the topics do not have yet: everything after the lowest last watermark.

        A warm-up that is already there is not written again, only what is newer than each symbol's newest
        bar, and the universe if it changed. ``standing(t)`` looks at the bars since ``t``. What a crash left
        half written is written again; readers drop it by event_id and watermark label. Raises Fatal if the
        topics are already past this tape's end.
        """
        last = last_watermarks()
        after = resume_point(self._tape, last)
        if self._optional is not None:
            self._openings = Openings(self._optional, SOURCES, self._writer, monotonic=self._monotonic)
            self._openings.complete({part: label for part, label in last.items() if part[0] in SOURCES})
        if after is not None:
            for name in _without_marks(self._tape, last):
                self._writer.watermark(name, after)
        warm_up = 0
        if after is None or after < self._tape.first_live:
            first = min((body["t"] for body in self._tape.history), default=self._tape.first_live)
            warm_up = self._play_history(standing(first))
        left = [minute for minute in self._tape if after is None or minute.label > after]
        started = self._monotonic()
        for number, minute in enumerate(left, start=1):
            self._keep_pace(started, number)
            self._play_minute(minute)
        return Played(
            minutes=len(left),
            bars=sum(len(minute.bars) for minute in left) + warm_up,
            quotes=sum(len(minute.quotes) for minute in left),
            news=sum(len(minute.news) for minute in left),
            posts=sum(len(minute.posts) for minute in left),
            resumed_after=after,
        )

    def _play_history(self, standing: Standing) -> int:
        """Write the universe and the session before, within one log minute before the first live bar.

        Returns the number of bars.
        """
        self._mark_texts(self._tape.first_live - MINUTE_US)
        self._mark(self._tape.first_live - MINUTE_US)
        if (universe := universe_to_send(self._tape.universe, standing.universe)) is not None:
            self._writer.send("universe", universe)
        newest = standing.newest
        bars = [
            body
            for body in self._tape.history
            if (body["t"], body["revision"]) > newest.get((body["feed"], body["symbol"]), (0, 0))
        ]
        for body in bars:
            self._writer.send("bars", body)
        self._writer.flush()
        return len(bars)

    def _play_minute(self, minute: Minute) -> None:
        self._before_minute(minute.label)
        for name, bodies in (("news", minute.news), ("posts", minute.posts)):
            for body in bodies:
                self._writer.send(name, body)
        self._mark_texts(minute.label)
        for name, bodies in (("bars", minute.bars), ("quotes", minute.quotes)):
            for body in bodies:
                self._writer.send(name, body)
        self._mark(minute.label)
        self._writer.flush()
        if self._pace.speed is None:
            self._wait_for(minute.label)

    def _mark_texts(self, label: int) -> None:
        for name in TEXTS:
            self._writer.watermark(name, label)

    def _mark(self, label: int) -> None:
        for name in SOURCES:
            self._writer.watermark(name, label)
        if self._openings is not None:
            self._writer.flush()
            self._openings.open(label)

    def _keep_pace(self, started: float, number: int) -> None:
        """Sleep until the end of the run's minute ``number``, counted from 1."""
        if self._pace.speed is None:
            return
        due = started + number * 60.0 / self._pace.speed
        self._sleep(max(0.0, due - self._monotonic()))


def resume_point(tape: Tape, last: LastWatermarks) -> int | None:
    """The lowest last watermark; None if a partition has none, or only ones of an earlier tape.

    Topics of news that have none of this tape's do not count: what stands was written without them. Raises
    Fatal if the topics are already past this tape's end.
    """
    known = [label for label in last.values() if label is not None]
    if known and max(known) > tape.minutes[-1].label:
        raise Fatal(
            "the topics already hold a later tape: their watermarks cannot go back",
            value=tape.name,
            remedy="play into another TAPE_PREFIX or a fresh stack",
        )
    without = _without_marks(tape, last)
    labels = [label for (name, _), label in last.items() if name not in without]
    known = [label for label in labels if label is not None]
    if len(known) < len(labels) or not known or min(known) < tape.first_live - MINUTE_US:
        return None
    return min(known)


def is_over(tape: Tape, last: LastWatermarks) -> bool:
    """Whether nothing of ``tape`` is left to play."""
    ended = [label or 0 for (name, _), label in last.items() if name in SOURCES]
    end = tape.minutes[-1].label
    return min(ended, default=0) > end or resume_point(tape, last) == end


def _without_marks(tape: Tape, last: LastWatermarks) -> tuple[str, ...]:
    """The topics of news with a partition that has no watermark of this tape."""
    begins = tape.first_live - MINUTE_US
    return tuple(
        name
        for name in TEXTS
        if any(label is None or label < begins for (topic, _), label in last.items() if topic == name)
    )


def universe_to_send(universe: Body, standing: Body | None) -> Body | None:
    """The universe with the version after the existing one; None if it is the same universe."""
    if standing is None:
        return universe
    version = standing["version"] + 1
    identity = {name: standing[name] for name in ("event_id", "event_time", "created_at", "version")}
    if universe | identity == standing:
        return None
    return universe | {"version": version, "event_id": event_id("universe", (version,))}


def refuse_expired(tape: Tape, retention_ms: Callable[[str], int], now: int) -> None:
    """Raise Fatal if a source topic would delete the tape's oldest record at once.

    ``retention_ms`` returns a topic's time retention on the cluster, -1 forever; ``now`` UTC microseconds.
    """
    oldest = min((body["t"] for body in tape.history), default=tape.first_live)
    for name in PLAYED:
        keeps = retention_ms(name)
        if 0 <= keeps < (now - oldest) // 1000:
            raise Fatal(
                "the tape is older than the topic's retention, so its records would be deleted at once",
                value=f"{name}, retention {keeps / 86_400_000:g} days",
                remedy="set TAPE_PREFIX (prefixed topics keep records forever) or play into the local stack",
            )
