"""What ``streams.merge`` does record by record, for whole blocks: what may be processed, and in which order.

Time is counted in labels, doubled: watermark(m) is at 2m and the opening after it at 2m + 1. The trigger's
partitions advance together: a time is complete once every one of them has reached it, and what stands at it
may be processed from then on. At each complete watermark the joins are read first, each up to and including
its first watermark at or above it, without those that the openings of the minute declare absent.
"""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from operator import itemgetter
from typing import Literal, NamedTuple, Self

import numpy as np

from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.bulk.job import Job, Result
from tapedeck.streams.bulk.reading import NEVER, Point, Times, label_at, labels_at, time_of, times_of
from tapedeck.streams.contract import StageSpec
from tapedeck.streams.frame import OPENED, Value
from tapedeck.streams.merge import Part
from tapedeck.streams.shell import NO_WATERMARK, Forward
from tapedeck.topics.catalogue import CATALOGUE

Cursors = Mapping[tuple[int, int], int]
"""What the ``~watermark`` value holds, see ``streams.frame``."""


class Piece(NamedTuple):
    """Records of one block that may be processed now.

    ``rows`` int64 (n): places in ``block``; ``minutes`` int64 (n): the trigger's minute in which each is
    processed, for the trigger's own records their log minute, NEVER before the first watermark.
    """

    block: Block
    rows: Ints
    minutes: Ints

    @property
    def offsets(self) -> Ints:
        return self.block.offsets[self.rows]

    def placed(self, counts: Counter[str]) -> "Piece":
        """The trigger's records without those before the first watermark, which are counted."""
        known = self.minutes != NEVER
        counts[NO_WATERMARK] += int((~known).sum())
        return self if known.all() else Piece(self.block, self.rows[known], self.minutes[known])


class Stretch(NamedTuple):
    """What may be processed next.

    ``trigger``: by partition in log order; of a sole partition one block's piece. ``joins``: by topic, by
    partition in log order; what is joined in a minute comes before the trigger's records of it. ``forwards``:
    what to forward, with its place in the block where the trigger has one partition.
    """

    trigger: list[Piece]
    joins: dict[str, list[Piece]]
    forwards: list[tuple[int, Forward]]

    def __bool__(self) -> bool:
        return bool(self.joins or self.forwards or any(len(piece.rows) for piece in self.trigger))


class _Held:
    """A block of which ``done`` records are processed."""

    def __init__(self, block: Block, times: Times) -> None:
        self.block, self.due, self.rows = block, times.due, times.rows
        self.done = 0

    def take(self, n: int) -> Ints:
        """The rows among the records before place ``n``, which are done with that."""
        first, last = np.searchsorted(self.rows, [self.done, n])
        self.done = n
        return self.rows[first:last]


class _Input:
    """One input partition: what was read of it and not processed yet.

    ``time``: how far it was read; ``label``: the last watermark that is applied; ``applied``: the offset
    behind the last record that is, 0 for none.
    """

    def __init__(self, part: Part, blocks: Iterator[Block], label: int) -> None:
        self.part, self._blocks = part, blocks
        self.label, self.time = label, time_of(label)
        self.applied = 0
        self.held: deque[_Held] = deque()
        self.points: deque[Point] = deque()
        self.ended = False

    def read(self, *, opens: bool) -> list[Point]:
        """Read a block; gives its points."""
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
            return []
        times = times_of(block, self.time, opens=opens)
        self.held.append(_Held(block, times))
        self.points += times.points
        self.time = int(times.due[-1])
        return times.points

    def release(self, time: int, side: Literal["left", "right"]) -> Iterator[tuple[_Held, Ints]]:
        """Each block with its rows before ``time`` (left), or up to it (right), that are not done yet."""
        while self.held:
            held = self.held[0]
            n = int(np.searchsorted(held.due, time, side))
            if n > held.done:
                self._apply(int(held.block.offsets[n - 1]))
            yield held, held.take(max(n, held.done))
            if n < len(held.block):
                return
            self.held.popleft()

    def reach(self, point: Point) -> None:
        """``point`` is applied."""
        self.label = label_at(point.time)
        self._apply(point.offset)

    def _apply(self, offset: int) -> None:
        self.applied = max(self.applied, offset + 1)


class _Trigger(_Input):
    """A partition of the trigger. ``opened``: the label of the last opening that is applied."""

    def __init__(self, part: Part, blocks: Iterator[Block], label: int, opened: int) -> None:
        super().__init__(part, blocks, label)
        self.opened = opened

    def apply(self, marked: int) -> None:
        """Apply what is complete at ``marked``: the watermarks up to the first at or above it."""
        last = None
        while self.points and self.points[0].time <= marked:
            last = self.points.popleft()
            if last.absent is not None:
                self.opened = label_at(last.time)
        if last is not None:
            self.reach(last)
        if self.points and self.points[0].absent is None and self.label < label_at(marked):
            self.reach(self.points[0])  # it says that this partition is further than the others

    def take(self, passed: int) -> Iterator[tuple[int, Piece]]:
        """Per block its last time, and what stands in it at the times up to ``passed`` and was not taken."""
        for held, rows in self.release(passed, "right"):
            yield int(held.due[-1]), Piece(held.block, rows, labels_at(held.due[rows]))


class _Join(_Input):
    """A partition of a join."""

    def __init__(self, part: Part, blocks: Iterator[Block], label: int) -> None:
        super().__init__(part, blocks, label)
        self._minutes: list[int] = []

    def read_to(self, label: int) -> bool:
        """Read up to the first watermark at or above ``label``; False where the log ends before it."""
        if self.label >= label:
            return True
        while self.time < time_of(label) and not self.ended:
            self.read(opens=False)
        last = None
        while self.points and (last is None or label_at(last.time) < label):
            last = self.points.popleft()
        if last is not None:
            self.reach(last)
        self._minutes.append(label)
        return self.label >= label

    def take(self, most: int | None) -> Iterator[Piece]:
        """What was read in the minutes up to ``most``, or in all, and was not taken yet."""
        minutes = np.array([m for m in self._minutes if most is None or m <= most], dtype=np.int64)
        if not len(minutes):
            return
        self._minutes = self._minutes[len(minutes) :]
        for held, rows in self.release(time_of(int(minutes[-1])), "left"):
            if len(rows):
                at = np.searchsorted(minutes, labels_at(held.due[rows]), side="right")
                yield Piece(held.block, rows, minutes[at])


class BlockMerge:
    """The inputs of one task, as far as they may be processed.

    ``inputs``: the partitions to read, of a trigger that carries watermarks and of its joins; ``start``: what
    the task goes on from.
    """

    def __init__(
        self,
        spec: StageSpec,
        inputs: Sequence[Part],
        stream: Callable[[Part], Iterator[Block]],
        start: Cursors,
    ) -> None:
        self._period, self._start = spec.period is not None, start
        self._ranks = ranks = {name: rank for rank, name in enumerate(spec.inputs)}
        self._optional = frozenset(join.topic for join in spec.joins if join.optional)
        labels = {(name, p): start.get((ranks[name], p), NEVER) for name, p in inputs}
        self._trigger = [
            _Trigger(part, stream(part), labels[part], start.get((OPENED, part[1]), NEVER))
            for part in inputs
            if part[0] == spec.trigger
        ]
        joined = (part for part in inputs if part[0] != spec.trigger)
        joins = sorted(joined, key=lambda part: CATALOGUE.rank(part[0]))
        self._joins = [_Join(part, stream(part), labels[part]) for part in joins]
        self._absent: dict[int, set[str]] = {}
        self._declared: dict[str, int] = {}
        self._stuck = False
        # the last times that were forwarded, and up to which everything was given
        self._marked, self._passed = self._resumed(), NEVER

    @classmethod
    def of(cls, job: Job) -> Self:
        """The inputs of ``job``."""
        return cls(job.spec, job.inputs, job.stream, job.labels())

    def _resumed(self) -> int:
        complete = min(each.label for each in self._trigger)
        if complete != NEVER and any(each.opened == complete for each in self._trigger):
            for each in self._trigger:  # one has its opening: the others had theirs or have none
                each.time = max(each.time, time_of(complete) + 1)
        self._ahead = sorted({time_of(each.label) for each in self._trigger if each.label > complete})
        return min(each.time for each in self._trigger)

    @property
    def applied(self) -> dict[Part, int]:
        """The offset behind the last record applied, by partition of which any was."""
        return {each.part: each.applied for each in self._inputs() if each.applied}

    def cursors(self) -> dict[tuple[int, int], int]:
        """What the ``~watermark`` value holds once all that was given is applied."""
        found = {(self._ranks[each.part[0]], each.part[1]): each.label for each in self._inputs()}
        found |= {(OPENED, each.part[1]): each.opened for each in self._trigger}
        found |= {(OPENED + self._ranks[name], 0): label for name, label in self._declared.items()}
        return {**self._start, **{at: label for at, label in found.items() if label != NEVER}}

    def finish(self, job: Job, values: Mapping[tuple[int, bytes], Value]) -> Result:
        """The result of ``job`` with the table's ``values``, once everything was given and folded."""
        job.result.applied |= self.applied
        return job.finish(values, self.cursors())

    def stretches(self) -> Iterator[Stretch]:
        """Everything up to the cut, as far as the inputs reach."""
        yield from self._advance()
        while not self._stuck and (behind := self._behind()) is not None:
            for point in behind.read(opens=True):
                if point.absent is not None:
                    self._absent.setdefault(point.time, set()).update(point.absent)
            yield from self._advance()
        if rest := self._taken_joins(None):
            yield Stretch([], rest, [])

    def _inputs(self) -> Iterator[_Input]:
        return chain(self._trigger, self._joins)

    def _behind(self) -> _Trigger | None:
        """The input to read next: none where all have ended, or one that has ended holds the others."""
        open_ones = [each for each in self._trigger if not each.ended]
        behind = min(open_ones, key=lambda each: each.time, default=None)
        return behind if behind and behind.time <= min(each.time for each in self._trigger) else None

    def _advance(self) -> Iterator[Stretch]:
        """What may be processed of all that was read."""
        forwards = self._complete()
        if len(self._trigger) == 1:
            made = list(self._by_block(self._trigger[0], forwards))
        else:
            taken = chain.from_iterable(each.take(self._passed) for each in self._trigger)
            pieces = [piece for _, piece in taken if len(piece.rows)]
            joins = self._taken_joins(label_at(self._passed))
            made = [Stretch(pieces, joins, [(place, forward) for _, place, forward in forwards])]
        for each in self._trigger:
            each.apply(self._marked)
        yield from filter(None, made)

    def _by_block(self, source: _Trigger, forwards: list[tuple[int, int, Forward]]) -> Iterator[Stretch]:
        at = 0
        for end, piece in source.take(self._passed):
            first, at = at, bisect_right(forwards, end, lo=at, key=itemgetter(0))
            joins = self._taken_joins(label_at(min(end, self._passed)))
            yield Stretch([piece], joins, [(place, forward) for _, place, forward in forwards[first:at]])

    def _taken_joins(self, most: int | None) -> dict[str, list[Piece]]:
        found: dict[str, list[Piece]] = {}
        for each in self._joins:
            if pieces := list(each.take(most)):
                found.setdefault(each.part[0], []).extend(pieces)
        return found

    def _complete(self) -> list[tuple[int, int, Forward]]:
        """What is complete now, as (time, place, what to forward), as far as the joins let it."""
        made: list[tuple[int, int, Forward]] = []
        if self._passed < self._marked and not self._pass(self._marked):
            return made
        for time, place in self._reached():
            opens = time in self._absent
            if self._period and not opens and not self._pass(time):
                break  # the mark of a period stage stands behind the joins of its minute
            self._marked = time
            absent = tuple(sorted(self._absent.pop(time))) if opens else None
            made.append((time, place, Forward(label_at(time), absent)))
            self._declared |= dict.fromkeys(self._optional.intersection(absent or ()), label_at(time))
            if opens:
                self._passed = time
            elif not self._pass(time):
                break
        return made

    def _reached(self) -> list[tuple[int, int]]:
        """The times that every partition has reached by now and that were not forwarded, with a place."""
        reached = min(each.time for each in self._trigger)
        places = {time: 0 for time in self._ahead if self._marked < time <= reached}
        for each in self._trigger:
            places |= {p.time: p.place for p in takewhile(lambda p: p.time <= reached, each.points)}
        return sorted(item for item in places.items() if item[0] > self._marked)

    def _pass(self, time: int) -> bool:
        """Read the joins of the minute; True where all are read that are there."""
        if self._passed < time and (not self._joins or self._read_joins(label_at(time))):
            self._passed = time
        return self._passed >= time

    def _read_joins(self, label: int) -> bool:
        absent: set[str] = set()
        if self._optional and any(
            each.part[0] in self._optional and each.label < label for each in self._joins
        ):
            if any(each.time == time_of(label) for each in self._trigger):
                return False  # its opening may stand in what is not read yet
            absent |= self._absent.get(time_of(label) + 1, set())
            absent |= {n for n in self._optional if self._start.get((OPENED + self._ranks[n], 0)) == label}
        for each in self._joins:
            named = each.part[0] in self._optional and each.part[0] in absent
            if not named and not each.read_to(label):
                self._stuck = True
                return False
        return True
