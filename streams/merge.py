"""Holding and joining of input partitions by watermark: the one implementation for all drivers.

The trigger's partitions advance minute by minute together. After watermark(m) on the trigger, every
join is read up to and including its first watermark with a label at or above m; then the trigger goes
on. What may not be read yet is held, unacknowledged.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.contract import Message, StageSpec
from tapedeck.streams.watermarks import label_of
from tapedeck.topics.catalogue import CATALOGUE, topic

Part = tuple[str, int]


class Record(NamedTuple):
    """A record in its log minute; ``log_minute`` is None before the partition's first watermark."""

    message: Message
    log_minute: int | None


class Mark(NamedTuple):
    """Every trigger partition has reached watermark(label); ``messages`` are the records that said so."""

    label: int
    messages: tuple[Message, ...]


class JoinMark(NamedTuple):
    """A join partition was read up to and including watermark(label)."""

    label: int
    message: Message


class Skip(NamedTuple):
    """A watermark at or below the last one of its partition: dropped and not forwarded."""

    message: Message


class Unreadable(NamedTuple):
    """A watermark without a label: a dead letter."""

    message: Message
    error: DeadLetter


Item = Record | Mark | JoinMark | Skip | Unreadable


def parts_of(
    spec: StageSpec, parts: Sequence[int], partitions: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """The partitions of each input that a task over trigger partitions ``parts`` reads.

    A single stage reads all partitions of every input; a partitioned one its own, or partition 0 of
    topics that have only one.
    """
    if spec.scale == "single":
        return {name: tuple(range(partitions[name])) for name in spec.inputs}
    return {name: tuple(parts) if partitions[name] > 1 else (0,) for name in spec.inputs}


class Merge:
    """Takes messages per partition in log order and gives items in processing order.

    ``labels`` are the last watermarks applied per partition (from the state store); a new task has none.
    """

    def __init__(
        self, spec: StageSpec, parts: Mapping[str, Sequence[int]], labels: Mapping[Part, int]
    ) -> None:
        self._watermarked = topic(spec.trigger).watermarked
        self._marks_after_joins = spec.period is not None
        self._trigger: list[Part] = [(spec.trigger, p) for p in parts[spec.trigger]]
        joins = sorted((join.topic for join in spec.joins), key=CATALOGUE.rank)
        self._joins: list[Part] = [(name, p) for name in joins for p in parts[name]]
        everything = (*self._trigger, *self._joins)
        self._queues: dict[Part, deque[Message]] = {part: deque() for part in everything}
        self._labels: dict[Part, int | None] = {part: labels.get(part) for part in everything}
        self._complete: int | None = self._lowest_trigger_label()
        self._arrivals: list[Message] = []
        self._pending_mark: Mark | None = None

    def put(self, message: Message) -> None:
        """Add the next message of its partition. Raises KeyError for a partition that is not an input."""
        self._queues[message.topic, message.partition].append(message)

    def held(self, part: Part) -> int:
        """How many messages of ``part`` wait."""
        return len(self._queues[part])

    def ready(self) -> bool:
        """Whether ``take`` would give anything now."""
        if self._pending_mark is not None and not self._joins_behind():
            return True
        if self._joins_behind():
            return any(self._queues[part] and self._behind(part) for part in self._joins)
        return any(self._queues[part] and self._readable(part) for part in self._trigger)

    @property
    def complete(self) -> int | None:
        """The last label that every trigger partition has reached."""
        return self._complete

    def lacking(self) -> list[Part]:
        """The partitions whose next watermark everything waits for; none where nothing is held up."""
        if self._joins_behind():
            return [part for part in self._joins if self._behind(part)]
        if not self._watermarked:
            return []
        furthest = max((self._labels[part] or 0) for part in self._trigger)
        return [part for part in self._trigger if (self._labels[part] or -1) < furthest]

    def label(self, part: Part) -> int | None:
        """The last watermark of ``part``, None before the first."""
        return self._labels[part]

    def take(self, n: int, *, stop_at_mark: bool = False) -> list[Item]:
        """Up to about ``n`` items that may be processed now, in order; ends at a Mark where asked."""
        items: list[Item] = []
        for item in self._items():
            items.append(item)
            if len(items) >= n or (stop_at_mark and isinstance(item, Mark)):
                break
        return items

    def _items(self) -> Iterator[Item]:
        while True:
            yield from self._read_joins()
            if self._joins_behind():
                return
            if self._pending_mark is not None:
                mark, self._pending_mark = self._pending_mark, None
                yield mark
            progressed = False
            for part in self._trigger:
                for item in self._read_trigger(part):
                    progressed = True
                    yield item
            mark_now = self._advance()
            if mark_now is not None:
                if self._marks_after_joins:
                    self._pending_mark = mark_now
                else:
                    yield mark_now
            elif not progressed:
                return

    def _joins_behind(self) -> bool:
        return self._complete is not None and any(self._behind(part) for part in self._joins)

    def _behind(self, part: Part) -> bool:
        label = self._labels[part]
        return self._complete is not None and (label is None or label < self._complete)

    def _read_joins(self) -> Iterator[Item]:
        for part in self._joins:
            queue = self._queues[part]
            while queue and self._behind(part):
                message = queue.popleft()
                try:
                    label = label_of(message.key, message.value, message.headers)
                except DeadLetter as error:
                    yield Unreadable(message, error)
                    continue
                if label is None:
                    yield Record(message, self._labels[part])
                elif self._is_repeat(part, label):
                    yield Skip(message)
                else:
                    self._labels[part] = label
                    yield JoinMark(label, message)

    def _read_trigger(self, part: Part) -> Iterator[Item]:
        queue = self._queues[part]
        while queue and self._readable(part):
            message = queue.popleft()
            try:
                label = label_of(message.key, message.value, message.headers)
            except DeadLetter as error:
                yield Unreadable(message, error)
                continue
            if label is None:
                yield Record(message, self._labels[part] if self._watermarked else 0)
            elif self._is_repeat(part, label):
                yield Skip(message)
            else:
                self._labels[part] = label
                self._arrivals.append(message)

    def _readable(self, part: Part) -> bool:
        """A trigger partition is held once it has reached a watermark that others have not."""
        label = self._labels[part]
        return label is None or label == self._complete

    def _is_repeat(self, part: Part, label: int) -> bool:
        last = self._labels[part]
        return last is not None and label <= last

    def _lowest_trigger_label(self) -> int | None:
        labels = [self._labels[part] for part in self._trigger]
        known = [label for label in labels if label is not None]
        return min(known) if len(known) == len(labels) else None

    def _advance(self) -> Mark | None:
        lowest = self._lowest_trigger_label()
        if lowest is None or lowest == self._complete:
            return None
        self._complete = lowest
        mark = Mark(lowest, tuple(self._arrivals))
        self._arrivals = []
        return mark
