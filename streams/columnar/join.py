"""``streams.merge`` for whole blocks instead of single records: what may be processed, in which order.

Time is counted in labels, doubled: watermark(m) is at 2m and the opening after it at 2m + 1. The trigger's
partitions advance together: a time is complete once every one of them has reached it, and the records at
that time may then be processed. At each complete watermark the joins are read first, each up to and including
its first watermark at or above it, except those that the openings of the minute declare absent.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Literal, NamedTuple, Self

import numpy as np

from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.columnar.block_columns import (
    NEVER,
    Points,
    Times,
    are_openings,
    label_at,
    labels_at,
    time_of,
    times_of,
)
from tapedeck.streams.columnar.job import Job, Result
from tapedeck.streams.frame import OPENED, Value
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.shell import NO_WATERMARK, Forward
from tapedeck.topics.catalogue import CATALOGUE

Cursors = Mapping[tuple[int, int], int]
"""The contents of the ``~watermark`` value, see ``streams.frame``."""

_EMPTY = np.empty(0, dtype=np.int64)


class Piece(NamedTuple):
    """Records of one block that may be processed now.

    ``rows`` int64 (n): indices into ``block``; ``minutes`` int64 (n): the trigger's minute in which each is
    processed. For the trigger's own records that is their log minute, NEVER before the first watermark.
    """

    block: Block
    rows: Ints
    minutes: Ints

    @property
    def offsets(self) -> Ints:
        return self.block.offsets[self.rows]

    def placed(self, counts: Counter[str]) -> "Piece":
        """Drop the trigger's records from before the first watermark, and count them."""
        known = self.minutes != NEVER
        counts[NO_WATERMARK] += int((~known).sum())
        return self if known.all() else Piece(self.block, self.rows[known], self.minutes[known])


class Stretch(NamedTuple):
    """The next batch that may be processed.

    ``trigger``: by partition in log order; with a single partition, the piece of one block. ``joins``: by
    topic, by partition in log order; records joined in a minute come before the trigger's records of it.
    ``forwards``: what to forward, with its index in the block where the trigger has one partition.
    """

    trigger: list[Piece]
    joins: dict[str, list[Piece]]
    forwards: list[tuple[int, Forward]]

    def __bool__(self) -> bool:
        return bool(self.joins or self.forwards or any(len(piece.rows) for piece in self.trigger))


class _Held:
    """A block whose first ``done`` records are processed."""

    def __init__(self, block: Block, times: Times) -> None:
        self.block, self.due, self.rows = block, times.due, times.rows
        self.done = 0

    def take(self, n: int) -> Ints:
        """The unprocessed rows before index ``n``, which then count as processed."""
        first, last = np.searchsorted(self.rows, [self.done, n])
        self.done = n
        return self.rows[first:last]


class _Input:
    """One input partition: what was read from it and is not processed yet.

    ``time``: how far it was read; ``points``: its watermarks and openings not yet applied; ``label``: the
    last applied watermark; ``applied``: the offset after the last applied record, 0 for none.
    """

    def __init__(self, part: Part, blocks: Iterator[Block], label: int) -> None:
        self.part, self._blocks = part, blocks
        self.label, self.time = label, time_of(label)
        self.applied = 0
        self.held: deque[_Held] = deque()
        self.points = Points(_EMPTY, _EMPTY, _EMPTY)
        self.ended = False

    def read(self, *, opens: bool) -> dict[int, tuple[str, ...]]:
        """Read a block; returns the names in its openings, by time."""
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
            return {}
        times = times_of(block, self.time, opens=opens)
        self.held.append(_Held(block, times))
        self.points = self.points.then(times.points)
        self.time = int(times.due[-1])
        return times.absent

    def release(self, time: int, side: Literal["left", "right"]) -> Iterator[tuple[_Held, Ints]]:
        """Each block with its unprocessed rows before ``time`` (left), or up to it (right)."""
        while self.held:
            held = self.held[0]
            n = int(np.searchsorted(held.due, time, side))
            if n > held.done:
                self._apply(int(held.block.offsets[n - 1]))
            yield held, held.take(max(n, held.done))
            if n < len(held.block):
                return
            self.held.popleft()

    def reach(self, n: int) -> None:
        """Mark the first ``n`` points as applied."""
        if n:
            self.label = label_at(int(self.points.times[n - 1]))
            self._apply(int(self.points.offsets[n - 1]))

    def _apply(self, offset: int) -> None:
        self.applied = max(self.applied, offset + 1)


class _Trigger(_Input):
    """A partition of the trigger. ``opened``: the label of the last opening that is applied."""

    def __init__(self, part: Part, blocks: Iterator[Block], label: int, opened: int) -> None:
        super().__init__(part, blocks, label)
        self.opened = opened

    def apply(self, marked: int) -> None:
        """Apply what is complete at ``marked``: the watermarks up to the first at or above it."""
        times = self.points.times
        n = int(np.searchsorted(times, marked, "right"))
        opened = times[:n][are_openings(times[:n])]
        if len(opened):
            self.opened = label_at(int(opened[-1]))
        self.reach(n)
        if n < len(times) and not are_openings(times[n:])[0] and self.label < label_at(marked):
            self.reach(n + 1)  # it puts this partition ahead of the others
        self.points = self.points.after(n)

    def take(self, passed: int) -> Iterator[tuple[int, Piece]]:
        """Per block, its last time and the rows at times up to ``passed`` that were not taken yet."""
        for held, rows in self.release(passed, "right"):
            yield int(held.due[-1]), Piece(held.block, rows, labels_at(held.due[rows]))


class _Join(_Input):
    """A partition of a join."""

    def __init__(self, part: Part, blocks: Iterator[Block], label: int) -> None:
        super().__init__(part, blocks, label)
        self._minutes = _EMPTY

    def read_to(self, labels: Ints) -> int:
        """Read up to the first watermark at or above the last of ``labels``; how many it found."""
        while self.time < time_of(int(labels[-1])) and not self.ended:
            self.read(opens=False)
        return int(np.searchsorted(labels, label_at(self.time), "right"))

    def join(self, labels: Ints) -> None:
        """Assign the rows up to the first watermark at or above each of ``labels`` to that minute."""
        self._minutes = np.concatenate([self._minutes, labels])
        if len(labels) and self.label < labels[-1]:
            n = 1 + int(np.searchsorted(self.points.times, time_of(int(labels[-1]))))
            self.reach(min(n, len(self.points.times)))
            self.points = self.points.after(n)

    def take(self, most: int | None) -> Iterator[Piece]:
        """The rows joined in minutes up to ``most`` (None: all) that were not taken yet."""
        n = len(self._minutes) if most is None else int(np.searchsorted(self._minutes, most, "right"))
        minutes, self._minutes = self._minutes[:n], self._minutes[n:]
        if not len(minutes):
            return
        for held, rows in self.release(time_of(int(minutes[-1])), "left"):
            if len(rows):
                at = np.searchsorted(minutes, labels_at(held.due[rows]), "right")
                yield Piece(held.block, rows, minutes[at])


class BlockMerge:
    """The inputs of one task, as far as they may be processed.

    ``inputs``: the partitions to read, of a trigger that carries watermarks and of its joins; ``start``:
    where the task resumes.
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
        # the last time that was forwarded, and the time up to which everything was returned
        self._marked, self._passed = self._resumed(), NEVER

    @classmethod
    def of(cls, job: Job) -> Self:
        """The inputs of ``job``."""
        return cls(job.spec, job.inputs, job.stream, job.labels())

    def _resumed(self) -> int:
        complete = min(each.label for each in self._trigger)
        if complete != NEVER and any(each.opened == complete for each in self._trigger):
            for each in self._trigger:  # one has applied its opening: so have the others, or they have none
                each.time = max(each.time, time_of(complete) + 1)
        ahead = [time_of(each.label) for each in self._trigger if each.label > complete]
        self._ahead = np.array(ahead, dtype=np.int64)
        return min(each.time for each in self._trigger)

    @property
    def applied(self) -> dict[Part, int]:
        """The offset after the last applied record, for each partition that has one."""
        return {each.part: each.applied for each in self._inputs() if each.applied}

    def cursors(self) -> dict[tuple[int, int], int]:
        """The contents of the ``~watermark`` value once everything returned so far is applied."""
        found = {(self._ranks[each.part[0]], each.part[1]): each.label for each in self._inputs()}
        found |= {(OPENED, each.part[1]): each.opened for each in self._trigger}
        found |= {(OPENED + self._ranks[name], 0): label for name, label in self._declared.items()}
        return {**self._start, **{at: label for at, label in found.items() if label != NEVER}}

    def finish(self, job: Job, values: Mapping[tuple[int, bytes], Value]) -> Result:
        """The result of ``job`` with the table's ``values``, once everything was returned and folded."""
        job.result.applied |= self.applied
        return job.finish(values, self.cursors())

    def stretches(self) -> Iterator[Stretch]:
        """Everything up to the cut, as far as the inputs allow."""
        yield from self._advance()
        while not self._stuck and (behind := self._behind()) is not None:
            for time, names in behind.read(opens=True).items():
                self._absent.setdefault(time, set()).update(names)
            yield from self._advance()
        if rest := self._taken_joins(None):
            yield Stretch([], rest, [])

    def _inputs(self) -> Iterator[_Input]:
        return chain(self._trigger, self._joins)

    def _behind(self) -> _Trigger | None:
        """The input to read next. None if all have ended, or one that has ended blocks the others."""
        open_ones = [each for each in self._trigger if not each.ended]
        behind = min(open_ones, key=lambda each: each.time, default=None)
        return behind if behind and behind.time <= min(each.time for each in self._trigger) else None

    def _advance(self) -> Iterator[Stretch]:
        """What may now be processed of everything that was read."""
        times, places = self._complete()
        forwards = list(zip(places.tolist(), self._forwards(times), strict=True))
        if len(self._trigger) == 1:
            made = list(self._by_block(self._trigger[0], times, forwards))
        else:
            taken = chain.from_iterable(each.take(self._passed) for each in self._trigger)
            pieces = [piece for _, piece in taken if len(piece.rows)]
            made = [Stretch(pieces, self._taken_joins(label_at(self._passed)), forwards)]
        for each in self._trigger:
            each.apply(self._marked)
        yield from filter(None, made)

    def _by_block(
        self, source: _Trigger, times: Ints, forwards: list[tuple[int, Forward]]
    ) -> Iterator[Stretch]:
        at = 0
        for end, piece in source.take(self._passed):
            first, at = at, int(np.searchsorted(times, end, "right"))
            yield Stretch([piece], self._taken_joins(label_at(min(end, self._passed))), forwards[first:at])

    def _taken_joins(self, most: int | None) -> dict[str, list[Piece]]:
        found: dict[str, list[Piece]] = {}
        for each in self._joins:
            if pieces := list(each.take(most)):
                found.setdefault(each.part[0], []).extend(pieces)
        return found

    def _complete(self) -> tuple[Ints, Ints]:
        """What is complete now, as far as the joins allow: times, and indices of what to forward."""
        times, places = self._reached()
        if self._passed < self._marked:
            if not self._join(np.array([label_at(self._marked)])):
                return times[:0], places[:0]
            self._passed = self._marked
        made = 0
        for run in self._runs(times):
            labels = labels_at(run[~are_openings(run)])
            joined = self._join(labels)
            held = joined < len(labels)
            passed = int(np.searchsorted(run, time_of(int(labels[joined])))) if held else len(run)
            if passed:
                self._passed = int(run[passed - 1])
            # a watermark whose joins are incomplete blocks what comes after it; that of a period stage
            # comes after its joins and is blocked itself
            made += passed + (held and not self._period)
            if held:
                break
        if made:
            self._marked = int(times[made - 1])
        return times[:made], places[:made]

    def _reached(self) -> tuple[Ints, Ints]:
        """The times that every partition has reached and that were not forwarded yet, with indices."""
        reached = min(each.time for each in self._trigger)
        found = np.concatenate([self._ahead, *(each.points.times for each in self._trigger)])
        times, first = np.unique(found, return_index=True)
        places = np.concatenate(
            [np.zeros_like(self._ahead), *(each.points.places for each in self._trigger)]
        )[first]
        start, end = np.searchsorted(times, [self._marked, reached], "right")
        return times[start:end], places[start:end]

    def _runs(self, times: Ints) -> list[Ints]:
        """``times`` in order, split into runs whose minutes join the same inputs.

        A minute is a run of its own where an optional input is absent, or may be: its opening may not be read
        yet, or was applied before the start.
        """
        if not self._optional or not len(times):
            return [times]
        odd_ones = [time - 1 for time, names in self._absent.items() if names & self._optional]
        odd_ones += [time_of(self._start.get(self._absence(name), NEVER)) for name in self._optional]
        alone = np.isin(times, [*odd_ones, min(each.time for each in self._trigger)])
        return np.split(times, np.flatnonzero(alone[1:] | alone[:-1]) + 1)

    def _forwards(self, times: Ints) -> list[Forward]:
        """What to forward at ``times``."""
        made = list(map(Forward, labels_at(times).tolist()))
        for at in np.flatnonzero(are_openings(times)).tolist():
            absent = self._absent.pop(int(times[at]))
            made[at] = Forward(made[at].label, tuple(sorted(absent)))
            self._declared |= dict.fromkeys(self._optional & absent, made[at].label)
        return made

    def _join(self, labels: Ints) -> int:
        """Read the joins of the minutes; only a single minute may lack some. Gives how many are complete."""
        if not self._joins or not len(labels):
            return len(labels)
        absent = self._absent_in(int(labels[-1]))
        if absent is None:
            return 0
        wanted = [each for each in self._joins if each.part[0] not in absent]
        found = [each.read_to(labels) for each in wanted]
        joined = min(found, default=len(labels))
        self._stuck |= joined < len(labels)
        mine = labels[: joined + 1]
        for each, n in zip(wanted, found, strict=True):
            each.join(mine)
            if n == joined:
                mine = labels[:joined]  # one that has ended blocks those after it
        return joined

    def _absent_in(self, label: int) -> Set[str] | None:
        """The optional inputs that are absent in the minute; None if that is not known yet."""
        optional = (each for each in self._joins if each.part[0] in self._optional)
        if all(each.label >= label for each in optional):
            return frozenset()
        if any(each.time == time_of(label) for each in self._trigger):
            return None  # its opening may not be read yet
        before = {name for name in self._optional if self._start.get(self._absence(name)) == label}
        return before | self._optional & self._absent.get(time_of(label) + 1, set())

    def _absence(self, name: str) -> tuple[int, int]:
        """Where the ``~watermark`` value stores the last minute in which an input was absent."""
        return OPENED + self._ranks[name], 0
