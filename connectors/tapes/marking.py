"""Watermarks for bars whose producer writes none: decides which minutes are over, live and in a backlog."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.tapes.player import SOURCES, LastWatermarks
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import watermark_wires
from tapedeck.topics.catalogue import WATERMARK_KEY, topic

GRACE_S = 3.0
_MINUTE_S = 60.0
_MARKED_ONE_BY_ONE = 60
"""The most minutes without a bar that are each marked; a longer break, such as a night, is one step."""
_LATE_US = 16 * MINUTE_US
"""The roll-back depth: a bar that is later changes no feature."""
_RANK = {name: rank for rank, name in enumerate(("universe", "bars", "quotes"))}

Write = Callable[[Iterable[Message]], None]


def body_of(message: Message) -> dict[str, Any] | None:
    """A record of a source topic; None if it cannot be decoded."""
    try:
        return decode(topic(message.topic).schema or "", message.value)
    except DeadLetter:
        return None


def minute_of(body: dict[str, Any]) -> int:
    """The minute, UTC micros of its left edge, in which a record arrived according to its event time.

    Each revision of a bar arrives a minute after the previous one, as when a file is played.
    """
    event_time, revision = int(body["event_time"]), int(body.get("revision", 0))
    return ((event_time - 1) // MINUTE_US + revision) * MINUTE_US


def _nothing(label: int) -> None:
    pass


class Marker:
    """Writes watermark(m) into every partition of the sources once minute m is over.

    A minute is over ``grace_s`` after a bar of a later minute was seen anywhere, or if nothing came for a
    minute and ``grace_s``. ``last``: the last watermark of each source partition. No label is written at or
    below the last one of its partition. ``then`` is called with each label that was written.
    """

    def __init__(
        self,
        last: LastWatermarks,
        write: Write,
        *,
        grace_s: float = GRACE_S,
        monotonic: Callable[[], float] = time.monotonic,
        then: Callable[[int], None] = _nothing,
    ) -> None:
        self._last, self._write, self._grace_s, self._monotonic = dict(last), write, grace_s, monotonic
        self._then = then
        self._ours: set[int] = set()
        self._over: list[tuple[int, float]] = []
        self._newest: int | None = None
        self._newest_at = 0.0
        self.older = 0
        """Bars seen that are further behind the last watermark than a stage rolls back."""

    @property
    def marked(self) -> int | None:
        """The label that every partition has; None if a partition has none."""
        labels = [label for label in self._last.values() if label is not None]
        return min(labels) if len(labels) == len(self._last) else None

    def open(self, label: int) -> None:
        """Begin with watermark(label), or the last existing one: records before the first are refused."""
        self._mark(max([label, *(each for each in self._last.values() if each is not None)]))

    def see(self, message: Message) -> None:
        """Record an arrival. Raises Fatal if another process writes watermarks."""
        label = readable_label(message)
        if label is not None:
            self._refuse_another(message, label)
        body = body_of(message) if message.topic == "bars" and message.key != WATERMARK_KEY else None
        if body is None:
            return
        minute, now = body["t"], self._monotonic()
        marked = self.marked
        if marked is None:
            self.open(minute - MINUTE_US)
        elif minute < marked - _LATE_US:
            self.older += 1
        if self._newest is None or minute > self._newest:
            if self._newest is not None:
                self._over += [(each, now) for each in labels_between(self._newest, minute)]
            self._newest, self._newest_at = minute, now

    def mark(self) -> list[int]:
        """Write what is due; returns the labels that were written."""
        now, written = self._monotonic(), []
        if self._newest is not None and now - self._newest_at >= _MINUTE_S + self._grace_s:
            self._over.append((self._newest, now - self._grace_s))
            self._newest_at = now
        while self._over and now - self._over[0][1] >= self._grace_s:
            label, _ = self._over.pop(0)
            if self._mark(label):
                written.append(label)
        return written

    def _mark(self, label: int) -> bool:
        behind = [part for part, at in self._last.items() if at is None or at < label]
        self._ours.add(label)
        self._write(_mark(name, partition, label) for name, partition in behind)
        self._last.update(dict.fromkeys(behind, label))
        if behind:
            self._then(label)
        return bool(behind)

    def _refuse_another(self, message: Message, label: int) -> None:
        if label > (self._last.get((message.topic, message.partition)) or 0) and label not in self._ours:
            raise Fatal(
                "another process writes watermarks into this topic, but a topic has only one such writer",
                value=f"{message.topic}/{message.partition}@{message.offset}: {label}",
                remedy="stop `tape play` or the other `tape watermark`, or do not start this one",
            )


def labels_between(minute: int, later: int) -> range:
    """The minutes from ``minute`` until ``later`` to mark; of many, the first and the last alone."""
    count = (later - minute) // MINUTE_US
    return range(minute, later, MINUTE_US if count <= _MARKED_ONE_BY_ONE else later - minute - MINUTE_US)


def _mark(name: str, partition: int, label: int) -> Message:
    (wire,) = watermark_wires(name, label, (partition,))
    return Message(name, partition, 0, wire.timestamp, wire.key, wire.value, tuple(wire.headers))


class Copied(NamedTuple):
    """What a copy wrote, and how many records it left out because they cannot be decoded."""

    records: int
    minutes: int
    unreadable: int


def _untold(done: int, of: int) -> None:
    pass


def copy_with_marks(
    messages: Iterable[Message],
    writer: LogWriter,
    progress: Callable[[int, int], None] = _untold,
    absent: tuple[str, ...] = (),
) -> Copied:
    """Write the contents of the source topics in the order of event time, a watermark after every minute.

    ``messages``: partition by partition, in log order. A record that comes after a later one of its key in
    the log counts as arriving no earlier than that one. Records go to the partition of their key, wherever
    they were; within a minute they keep the order of their log. Watermarks among ``messages`` are left out.
    ``absent``: the optional inputs of the pipeline, which the copy has not. Keeps everything in memory.
    """
    by_minute: dict[int, list[Message]] = {}
    newest: dict[tuple[str, bytes], int] = {}
    unreadable = 0
    for message in messages:
        if message.key == WATERMARK_KEY:
            continue
        body = body_of(message)
        if body is None:
            unreadable += 1
            continue
        key = message.topic, topic(message.topic).record_key(body)
        newest[key] = max(minute_of(body), newest.get(key, 0))
        by_minute.setdefault(newest[key], []).append(message)
    _begin_with_bars(by_minute)
    minutes, done = sorted(by_minute), 0
    for number, minute in enumerate(minutes):
        if number == 0:
            _mark_all(writer, minute - MINUTE_US, absent)
        for message in sorted(by_minute[minute], key=_in_order):
            writer.send(message.topic, decode(topic(message.topic).schema or "", message.value))
            done += 1
        later = minutes[number + 1] if number + 1 < len(minutes) else minute + MINUTE_US
        for label in labels_between(minute, later):
            _mark_all(writer, label, absent)
        writer.flush()
        progress(number + 1, len(minutes))
    return Copied(done, len(minutes), unreadable)


def _begin_with_bars(by_minute: dict[int, list[Message]]) -> None:
    """Move records older than the first bar, mainly a universe, into that bar's minute."""
    with_bars = [at for at, held in by_minute.items() if any(m.topic == "bars" for m in held)]
    first = min(with_bars, default=0)
    for minute in sorted(at for at in by_minute if at < first):
        by_minute[first] += by_minute.pop(minute)


def _in_order(message: Message) -> tuple[int, int, int]:
    return _RANK[message.topic], message.partition, message.offset


def _mark_all(writer: LogWriter, label: int, absent: tuple[str, ...]) -> None:
    for name in SOURCES:
        writer.watermark(name, label)
        if absent:
            writer.opening(name, label, absent)
