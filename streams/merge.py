"""Holds and joins input partitions by watermark: the one implementation for all drivers.

The trigger's partitions advance together, minute by minute. After watermark(m) on the trigger, every join is
read up to and including its first watermark with a label at or above m, one join after the other in
catalogue order. Then the trigger continues. What may not be read yet is held, unacknowledged.

An optional join may be absent in minute m: the openings of the trigger say so, see ``streams.watermarks``.
Where an optional join is behind m, the trigger's partitions are checked first, as far as they have arrived:
each must have an opening(m) or its next watermark, and everything waits until it has. A join that the
openings name is not read for m and stays held. No other join is read before that is known. The Mark of a
period stage waits for this too, because it needs the joins of its minute.

An opening is taken at its place in the log. Its partition is held there until every other one is at its own
opening, or has passed m without one. Then a single Opened represents them all: a stage stores and forwards
it.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.watermarks import Opening, Watermark, punctuation_of, readable_punctuation
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, topic

Part = tuple[str, int]


class Record(NamedTuple):
    """A record in its log minute; ``log_minute`` is None before the partition's first watermark."""

    message: Message
    log_minute: int | None


class Mark(NamedTuple):
    """Every trigger partition has reached watermark(label); ``messages`` are the watermarks that say so."""

    label: int
    messages: tuple[Message, ...]


class JoinMark(NamedTuple):
    """A join partition was read up to and including watermark(label)."""

    label: int
    message: Message


class Opened(NamedTuple):
    """The opening after watermark(label): ``messages`` are the openings, ``absent`` all names in them."""

    label: int
    absent: tuple[str, ...]
    messages: tuple[Message, ...]


class Skip(NamedTuple):
    """A watermark or an opening at or below the last one of its partition: dropped and not forwarded."""

    message: Message


class Aside(NamedTuple):
    """An opening in a join's partition, which is ignored: only the trigger's say what is absent."""

    message: Message


class Unreadable(NamedTuple):
    """A watermark without a label, or an opening that does not follow its watermark: goes to dead letters."""

    message: Message
    error: DeadLetter


Item = Record | Mark | JoinMark | Opened | Skip | Aside | Unreadable


class Resume(NamedTuple):
    """Where a task resumes: what it has applied, from the state store.

    ``labels``: the last watermark by input partition; ``opened``: the last opening by partition of the
    trigger; ``absent``: the last label for which an optional input was declared absent, by its name.
    """

    labels: Mapping[Part, int] = {}
    opened: Mapping[Part, int] = {}
    absent: Mapping[str, int] = {}


NEW = Resume()


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


def broadcast_joins(spec: StageSpec, partitions: Mapping[str, int]) -> tuple[str, ...]:
    """The joins whose single partition is read by several tasks, each of which reads all of it."""
    if spec.scale == "single" or partitions[spec.trigger] == 1:
        return ()
    return tuple(join.topic for join in spec.joins if partitions[join.topic] == 1)


class Merge:
    """Takes messages per partition in log order and returns items in processing order."""

    def __init__(self, spec: StageSpec, parts: Mapping[str, Sequence[int]], resume: Resume = NEW) -> None:
        self._watermarked = topic(spec.trigger).watermarked
        self._marks_after_joins = spec.period is not None
        self._trigger: list[Part] = [(spec.trigger, p) for p in parts[spec.trigger]]
        joins = sorted((join.topic for join in spec.joins), key=CATALOGUE.rank)
        self._joins: list[Part] = [(name, p) for name in joins for p in parts[name]]
        self._optional = frozenset(join.topic for join in spec.joins if join.optional)
        everything = (*self._trigger, *self._joins)
        self._queues: dict[Part, deque[Message]] = {part: deque() for part in everything}
        self._labels: dict[Part, int | None] = {part: resume.labels.get(part) for part in everything}
        self._complete: int | None = self._lowest_trigger_label()
        self._arrivals: list[Message] = []
        self._pending_mark: Mark | None = None
        self._opened: dict[Part, int] = dict(resume.opened)
        self._openings: dict[Part, tuple[Message, Opening]] = {}
        self._ahead: dict[Part, deque[Watermark | Opening]] = {part: deque() for part in self._trigger}
        self._declared = {name for name, label in resume.absent.items() if label == self._complete}
        self._absent: frozenset[str] | None = None

    def put(self, message: Message) -> None:
        """Add the next message of its partition. Raises KeyError for a partition that is not an input."""
        part = (message.topic, message.partition)
        self._queues[part].append(message)
        if self._optional and message.key == WATERMARK_KEY and part in self._ahead:
            found = readable_punctuation(message)
            if found is not None:
                self._ahead[part].append(found)

    def held(self, part: Part) -> int:
        """How many messages of ``part`` wait for another partition; 0 if its own opening is missing."""
        return 0 if part in self._unopened() else len(self._queues[part])

    def ready(self) -> bool:
        """Whether ``take`` would return anything now."""
        if self._unopened():
            return False
        if self._joins_behind():
            return bool(self._queues[next(part for part in self._joins if self._behind(part))])
        if self._pending_mark is not None or self._all_opened():
            return True
        return any(self._queues[part] and self._readable(part) for part in self._trigger)

    @property
    def complete(self) -> int | None:
        """The last label that every trigger partition has reached."""
        return self._complete

    def lacking(self) -> list[Part]:
        """The partitions whose next watermark or opening everything waits for; none where nothing is held."""
        if unopened := self._unopened():
            return unopened
        if self._joins_behind():
            return [part for part in self._joins if self._behind(part)]
        if self._openings:
            return [part for part in self._trigger if not self._is_opened(part)]
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
            if self._all_opened():
                progressed = True
                yield self._open()
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
        if self._complete is None or (self._absent is not None and part[0] in self._absent):
            return False
        label = self._labels[part]
        return label is None or label < self._complete

    def _unopened(self) -> list[Part]:
        """The trigger partitions that must still say what is absent; none where that does not matter.

        It matters only where an optional join is behind, and is settled once per minute.
        """
        if self._absent is not None or not self._optional:
            return []
        if not any(name in self._optional and self._behind((name, p)) for name, p in self._joins):
            return []
        told = {part: self._told(part) for part in self._trigger}
        unopened = [part for part, names in told.items() if names is None]
        if not unopened:
            named = {name for names in told.values() for name in names or ()}
            self._absent = frozenset(self._optional & (named | self._declared))
        return unopened

    def _told(self, part: Part) -> tuple[str, ...] | None:
        """The names in this minute's opening of ``part``; None if it is not known yet."""
        label = self._labels[part]
        assert label is not None
        assert self._complete is not None
        if label > self._complete or self._opened.get(part) == self._complete:
            return ()
        for each in self._ahead[part]:
            if isinstance(each, Watermark):
                if each.label > self._complete:
                    return ()
            elif each.label == self._complete:
                return each.absent
        return None

    def _read_joins(self) -> Iterator[Item]:
        if self._unopened():
            return
        for part in self._joins:
            queue = self._queues[part]
            while queue and self._behind(part):
                message = queue.popleft()
                try:
                    found = punctuation_of(message.key, message.value, message.headers)
                except DeadLetter as error:
                    yield Unreadable(message, error)
                    continue
                if found is None:
                    yield Record(message, self._labels[part])
                elif isinstance(found, Opening):
                    yield Aside(message)
                elif self._is_repeat(part, found.label):
                    yield Skip(message)
                else:
                    self._labels[part] = found.label
                    yield JoinMark(found.label, message)
            if self._behind(part):
                return

    def _read_trigger(self, part: Part) -> Iterator[Item]:
        queue = self._queues[part]
        while queue and self._readable(part):
            message = queue.popleft()
            try:
                found = punctuation_of(message.key, message.value, message.headers)
            except DeadLetter as error:
                yield Unreadable(message, error)
                continue
            if found is None:
                yield Record(message, self._labels[part] if self._watermarked else 0)
                continue
            if self._ahead[part]:
                self._ahead[part].popleft()
            if isinstance(found, Opening):
                yield from self._read_opening(part, message, found)
            elif self._is_repeat(part, found.label):
                yield Skip(message)
            else:
                self._labels[part] = found.label
                self._arrivals.append(message)

    def _read_opening(self, part: Part, message: Message, found: Opening) -> Iterator[Item]:
        last, before = self._opened.get(part), self._labels[part]
        if before is None or (last is not None and found.label <= last):
            yield Skip(message)  # the first: its watermark was passed before, or retention took it
        elif found.label != before:
            told = "an opening does not follow its watermark"
            yield Unreadable(message, DeadLetter(told, value=list(message.headers), reason="BAD_WATERMARK"))
        else:
            self._openings[part] = (message, found)

    def _readable(self, part: Part) -> bool:
        """A trigger partition is held once it has reached a watermark or an opening that others have not."""
        label = self._labels[part]
        return (label is None or label == self._complete) and part not in self._openings

    def _is_opened(self, part: Part) -> bool:
        """Whether ``part`` is at its opening of the minute, or has none."""
        label = self._labels[part]
        passed = label is not None and self._complete is not None and label > self._complete
        return part in self._openings or passed or self._opened.get(part) == self._complete

    def _all_opened(self) -> bool:
        return bool(self._openings) and all(map(self._is_opened, self._trigger))

    def _open(self) -> Opened:
        found, self._openings = self._openings, {}
        assert self._complete is not None
        self._opened.update(dict.fromkeys(found, self._complete))
        names = {name for _, opening in found.values() for name in opening.absent}
        return Opened(self._complete, tuple(sorted(names)), tuple(message for message, _ in found.values()))

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
        self._complete, self._absent, self._declared = lowest, None, set()
        mark = Mark(lowest, tuple(self._arrivals))
        self._arrivals = []
        return mark
