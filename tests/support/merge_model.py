"""What a Merge must return, computed from whole logs: no queues, no arrival order, each minute anew.

Slow and plain on purpose. Also the logs that tests write, and a task that restarts.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tapedeck.streams.merge import Item, JoinMark, Mark, Merge, Opened, Part, Record, Resume
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.watermarks import headers_for, opening_headers
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY

MINUTE = 60_000_000
_MOST_RESTARTS = 6


class Entry(NamedTuple):
    """One thing in a partition: a ``record``, or ``mark`` or ``open`` of a minute with the ``absent``."""

    kind: str
    minute: int = 0
    absent: tuple[str, ...] = ()

    def message(self, part: Part, offset: int) -> Message:
        """As a message at ``offset``."""
        if self.kind == "record":
            return Message(*part, offset, 0, b"%d" % offset, b"x", ())
        label = self.minute * MINUTE
        headers = headers_for(label) if self.kind == "mark" else opening_headers(label, self.absent)
        return Message(*part, offset, 0, WATERMARK_KEY, None, tuple(headers))


Logs = Mapping[Part, Sequence[Entry]]
Step = tuple[str, int] | tuple[str, int, int]
"""("mark", minute), or (topic, partition, offset) of a record that is read."""


class _Stretch(NamedTuple):
    """A partition from one counting watermark to the next: its start and end."""

    minute: int
    start: int
    end: int


class Model:
    """The rule over ``logs``: the trigger's partitions minute by minute, the joins of each."""

    def __init__(self, spec: StageSpec, logs: Logs) -> None:
        self._spec, self._logs = spec, logs
        self._trigger = sorted(part for part in logs if part[0] == spec.trigger)
        names = sorted((join.topic for join in spec.joins), key=CATALOGUE.rank)
        self._joins = [part for name in names for part in sorted(logs) if part[0] == name]
        self._optional = {join.topic for join in spec.joins if join.optional}
        self._stretches = {part: self._stretches_of(part) for part in logs}
        self.opened: list[tuple[int, tuple[str, ...]]] = []
        self.absences = 0

    def steps(self) -> list[Step]:
        """What is processed, in order; records of one minute of the trigger partition by partition."""
        return list(self._steps())

    def _steps(self) -> Iterator[Step]:
        for part in self._trigger:
            first = self._stretches[part][0] if self._stretches[part] else None
            yield from self._records(part, 0, first.start if first else len(self._logs[part]))
        read = dict.fromkeys(self._joins, 0)
        reached: dict[Part, int] = {}
        for minute in self._complete():
            if self._spec.period is None:
                yield ("mark", minute)
            behind = [part for part in self._joins if reached.get(part, -1) < minute]
            here = [part for part in self._trigger if self._stretch(part, minute)]
            told = [self._opening(part, minute) for part in here]
            if any(part[0] in self._optional for part in behind) and None in told:
                return
            absent = self._optional & {name for _, names in filter(None, told) for name in names}
            for part in behind:
                if part[0] in absent:
                    self.absences += 1
                    continue
                found = next((s for s in self._stretches[part] if s.minute >= minute), None)
                end = found.start if found else len(self._logs[part])
                yield from self._records(part, read[part], end)
                if found is None:
                    return
                read[part], reached[part] = end, found.minute
            if self._spec.period is not None:
                yield ("mark", minute)
            complete = None not in told
            placed = [each for each in told if each and each[0] >= 0]
            if complete and placed:
                self.opened.append((minute, tuple(sorted({n for _, names in placed for n in names}))))
            for part in here:
                stretch = self._stretch(part, minute)
                assert stretch is not None
                opening = self._opening(part, minute)
                held = opening is not None and opening[0] >= 0 and not complete
                yield from self._records(part, stretch.start, opening[0] if held and opening else stretch.end)

    def _complete(self) -> Iterator[int]:
        """The minutes that every partition of the trigger reaches, the lowest each time."""
        at = dict.fromkeys(self._trigger, 0)
        while all(at[part] < len(self._stretches[part]) for part in self._trigger):
            minute = min(self._stretches[part][at[part]].minute for part in self._trigger)
            yield minute
            for part in self._trigger:
                at[part] += self._stretches[part][at[part]].minute == minute

    def _stretches_of(self, part: Part) -> list[_Stretch]:
        starts: list[tuple[int, int]] = []
        for place, entry in enumerate(self._logs[part]):
            if entry.kind == "mark" and (not starts or entry.minute > starts[-1][0]):
                starts.append((entry.minute, place))
        ends = ([place for _, place in starts] + [len(self._logs[part])])[1:]
        return [_Stretch(minute, place, end) for (minute, place), end in zip(starts, ends, strict=True)]

    def _stretch(self, part: Part, minute: int) -> _Stretch | None:
        return next((each for each in self._stretches[part] if each.minute == minute), None)

    def _opening(self, part: Part, minute: int) -> tuple[int, tuple[str, ...]] | None:
        """(place, names) of the first one in its minute; place -1 if there is none, None for not yet."""
        stretch = self._stretch(part, minute)
        assert stretch is not None
        for place in range(stretch.start, stretch.end):
            entry = self._logs[part][place]
            if entry.kind == "open" and entry.minute == minute:
                return place, entry.absent
        return None if stretch.end == len(self._logs[part]) else (-1, ())

    def _records(self, part: Part, start: int, end: int) -> Iterator[Step]:
        for place in range(start, end):
            if self._logs[part][place].kind == "record":
                yield (*part, place)


@dataclass
class Run:
    """A task over ``logs`` that reads in any order and batch size, and restarts when ``rng`` says so.

    A restart may lose the last batch, and delivers some messages again.
    """

    spec: StageSpec
    logs: Logs
    rng: random.Random
    restart_share: float = 0.15
    applied: dict[Part, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    opened: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    restarts: int = 0
    _labels: dict[Part, int] = field(default_factory=dict)
    _opened: dict[Part, int] = field(default_factory=dict)
    _absent: dict[str, int] = field(default_factory=dict)

    def go(self) -> "Run":
        """To the end of the logs."""
        self._start(rewind=0)
        while self._fed != {part: len(entries) for part, entries in self.logs.items()} or self._merge.ready():
            part = self.rng.choice(sorted(self.logs))
            for _ in range(self.rng.randint(1, 4)):
                if self._fed[part] < len(self.logs[part]):
                    self._merge.put(self.logs[part][self._fed[part]].message(part, self._fed[part]))
                    self._fed[part] += 1
            stop = self.spec.period is not None
            ready = self._merge.ready()
            items = self._merge.take(self.rng.choice((1, 2, 5, 100)), stop_at_mark=stop)
            assert ready or not items
            lost = self.restarts < _MOST_RESTARTS and self.rng.random() < self.restart_share
            if not lost or self.rng.random() < 0.5:
                self._apply(items)
            if lost:
                self._start(rewind=self.rng.choice((0, 0, 1, 5)))
                self.restarts += 1
        return self

    def lacking(self) -> list[Part]:
        """What it still waits for at the end."""
        return self._merge.lacking()

    def _start(self, rewind: int) -> None:
        parts: dict[str, list[int]] = {}
        for name, partition in sorted(self.logs):
            parts.setdefault(name, []).append(partition)
        resume = Resume(dict(self._labels), dict(self._opened), dict(self._absent))
        self._merge = Merge(self.spec, parts, resume)
        self._fed = {part: max(0, self.applied.get(part, 0) - rewind) for part in self.logs}

    def _apply(self, items: list[Item]) -> None:
        for item in items:
            messages = item.messages if isinstance(item, Mark | Opened) else (item.message,)
            if isinstance(item, Record):
                self._note((*_part(item.message), item.message.offset))
            elif isinstance(item, Mark):
                self.steps.append(("mark", item.label // MINUTE))
                for message in item.messages:
                    self._labels[_part(message)] = self._minute_of(message)
            elif isinstance(item, JoinMark):
                self._labels[_part(item.message)] = item.label
            elif isinstance(item, Opened):
                self.opened.append((item.label // MINUTE, item.absent))
                self._opened |= {_part(message): item.label for message in item.messages}
                optional = {join.topic for join in self.spec.joins if join.optional}
                self._absent |= dict.fromkeys(optional & set(item.absent), item.label)
            for message in messages:
                part = _part(message)
                self.applied[part] = max(self.applied.get(part, 0), message.offset + 1)

    def _minute_of(self, message: Message) -> int:
        return self.logs[_part(message)][message.offset].minute * MINUTE

    def _note(self, step: tuple[str, int, int]) -> None:
        """A record, unless its offset shows that it is a repeat, as with a key's cursor."""
        if step[2] >= self.applied.get((step[0], step[1]), 0):
            self.steps.append(step)


def _part(message: Message) -> Part:
    return message.topic, message.partition


def in_order(steps: Sequence[Step], trigger: str) -> list[Step]:
    """``steps`` with neighboring records of the trigger partition by partition: they come side by side."""
    ordered: list[Step] = []
    together: list[Step] = []
    for step in steps:
        if step[0] == trigger:
            together.append(step)
        else:
            ordered += [*sorted(together), step]
            together = []
    return [*ordered, *sorted(together)]
