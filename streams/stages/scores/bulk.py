"""features -> scores in bulk: between two evaluations only a symbol's newest feature is stepped.

A fan-in over all partitions, as ``streams.merge`` orders it: watermark(c) is complete when every partition
has reached a label at or above c; a row counts at c when its log minute lies before c.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tapedeck.schemas.columns import Columns
from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.bulk.arrays import Interner
from tapedeck.streams.bulk.job import Job, Result
from tapedeck.streams.bulk.reading import NEVER, bodies_of, minutes_of, placed, read_columns
from tapedeck.streams.contract import MINUTE_US, Out
from tapedeck.streams.frame import Value
from tapedeck.streams.shell import Effects, Forward, Produced
from tapedeck.streams.stages.base import Body
from tapedeck.streams.stages.scores.stage import KEPT, ScoresStage
from tapedeck.topics.catalogue import WATERMARK_KEY

_FIELDS = (*KEPT, "feed")
Key = tuple[int, bytes]


@dataclass
class _Piece:
    """Rows of one block; the first ``done`` of them are folded.

    ``minutes``, ``offsets``, ``keys`` int64 (n): log minutes, offsets, numbers of the record keys.
    """

    minutes: Ints
    offsets: Ints
    keys: Ints
    features: Columns
    done: int = 0


@dataclass
class _Input:
    """One partition: what was read of it and not folded yet. ``labels``: (label, offset) in log order."""

    partition: int
    blocks: Iterator[Block]
    last: int
    labels: deque[tuple[int, int]] = field(default_factory=deque)
    pieces: deque[_Piece] = field(default_factory=deque)
    ended: bool = False


@dataclass
class _Held:
    """One key of the table: its newest feature, its cursors by (input rank, partition), its epoch."""

    newest: Body | None
    cursors: dict[tuple[int, int], int]
    epoch: int


class _News(NamedTuple):
    """The newest feature of a key in one stretch, and the offset of the last."""

    partition: int
    key: bytes
    cursor: int
    body: Body


class ScoresFold:
    """The scores stage over all partitions."""

    def __init__(self, stage: ScoresStage, job: Job) -> None:
        self._stage, self._job = stage, job
        self._counts = job.result.counts
        self._held = {
            at: _Held(stage.open(value.body), dict(value.cursors), value.epoch)
            for at, value in job.stored().items()
            if at[1] != WATERMARK_KEY
        }
        self._keys, self._feeds = Interner(), Interner([stage.feed.encode()])
        known = job.labels()
        self._labels = {part: known.get((0, part), NEVER) for _, part in job.inputs}
        self._inputs = [_Input(p, job.stream((n, p)), self._labels[p]) for n, p in job.inputs]
        self._complete = min(self._labels.values())

    def run(self) -> Result:
        """Fold everything up to the cut."""
        while (behind := self._behind()) is not None:
            self._read(behind)
            reached = min(each.last for each in self._inputs)
            if reached > self._complete:
                self._fold_until(reached)
        (rest,) = self._stretches(self._complete + 1, [])  # of the minute that no watermark has ended yet
        self._step(rest)
        labels = {(0, part): label for part, label in self._labels.items() if label != NEVER}
        return self._job.finish(self._table(), labels)

    def _behind(self) -> _Input | None:
        """The input to read next: none where all have ended, or one that has ended holds the others."""
        open_ones = [each for each in self._inputs if not each.ended]
        if not open_ones:
            return None
        behind = min(open_ones, key=lambda each: each.last)
        return behind if behind.last <= min(each.last for each in self._inputs) else None

    def _read(self, source: _Input) -> None:
        block = next(source.blocks, None)
        if block is None:
            source.ended = True
            return
        minutes = minutes_of(block, source.last)
        there, log_minutes = placed(minutes, self._counts)
        features, rows = read_columns(block, there, self._counts)
        if len(rows):
            log_minutes = log_minutes[np.searchsorted(there, rows)]
            keys = self._keys.ids_of(block.data, block.keys[rows])
            source.pieces.append(_Piece(log_minutes, block.offsets[rows], keys, features))
        source.labels += [(label, int(block.offsets[place])) for place, label in minutes.marks]
        if minutes.marks:
            source.last = minutes.marks[-1][1]

    def _fold_until(self, reached: int) -> None:
        """Fold every watermark up to ``reached``, a stretch between two evaluations at a time."""
        labels = sorted({label for each in self._inputs for label, _ in each.labels if label <= reached})
        due = [label for label in labels if self._stage.evaluates(label)]
        stretches = self._stretches(reached, due)
        at = 0
        for label, news in zip(due, stretches, strict=False):
            self._step(news)
            end = labels.index(label, at) + 1
            self._pass(labels[at:end], is_due=True)
            at = end
        self._step(stretches[len(due)])
        if at < len(labels):
            self._pass(labels[at:], is_due=False)
        self._complete = reached
        for each in self._inputs:
            self._reach(each)

    def _pass(self, labels: list[int], *, is_due: bool) -> None:
        """Forward ``labels``, of which the last is an evaluation where ``is_due``."""
        effects = Effects(watermark=labels[-1])
        effects.outputs += [Forward(label) for label in labels]
        if is_due:
            outs = self._scores(labels[-1])
            effects.outputs[-1:] = [*(Produced(out, None) for out in outs), Forward(labels[-1])]
            effects.counts["OUT:scores"] += len(outs)
        self._job.perform(effects)

    def _reach(self, source: _Input) -> None:
        """The partition's watermarks up to its first at or above the complete one are applied."""
        while source.labels and self._labels[source.partition] < self._complete:
            self._labels[source.partition], offset = source.labels.popleft()
            self._applied(source.partition, offset)

    def _applied(self, partition: int, offset: int) -> None:
        applied = self._job.result.applied
        applied["features", partition] = max(applied["features", partition], offset + 1)

    def _stretches(self, before: int, due: list[int]) -> list[list[_News]]:
        """What is new in each stretch that ends at one of ``due``, and behind the last, of rows that count.

        Those are the rows whose log minute lies before ``before``.
        """
        found: list[list[_News]] = [[] for _ in range(len(due) + 1)]
        ends = np.array(due, dtype=np.int64)
        for source in self._inputs:
            while source.pieces and source.pieces[0].minutes[source.pieces[0].done] < before:
                piece = source.pieces[0]
                start, piece.done = piece.done, int(np.searchsorted(piece.minutes, before))
                self._thin(source.partition, piece, start, ends, found)
                if piece.done < len(piece.minutes):
                    break
                source.pieces.popleft()
        return found

    def _thin(self, partition: int, piece: _Piece, start: int, due: Ints, found: list[list[_News]]) -> None:
        """Add the newest row of each key and stretch of ``piece`` from ``start`` to what is done."""
        rows = np.arange(start, piece.done)
        keys, offsets, ints = piece.keys[rows], piece.offsets[rows], piece.features.ints
        stretch = np.searchsorted(due, piece.minutes[rows], side="right")
        selected = self._selected(piece.features)[rows]
        # of equal ones the first counts; those of another feed only where there is no other
        order = np.lexsort((-rows, ints["revision"][rows], ints["event_time"][rows], selected, keys, stretch))
        group = stretch[order] * len(self._keys.texts) + keys[order]
        last = np.flatnonzero(np.diff(group, append=-1))
        cursors = np.maximum.reduceat(offsets[order], np.concatenate([[0], last[:-1] + 1]))
        newest = order[last]
        bodies = bodies_of(piece.features.take(rows[newest]), _FIELDS)
        numbers = stretch[newest].tolist(), keys[newest].tolist(), cursors.tolist()
        for at, key, cursor, body in zip(*numbers, bodies, strict=True):
            found[at].append(_News(partition, self._keys.texts[key], cursor, body))
        self._applied(partition, int(offsets[-1]))
        self._counts["IN"] += len(rows)

    def _selected(self, features: Columns) -> Ints:
        """1 where a row is of the feed that is scored."""
        feeds: Ints = self._feeds.ids_of(features.data, features.spans["feed"])
        return -np.minimum(feeds, 1) + 1

    def _step(self, news: list[_News]) -> None:
        for partition, key, cursor, body in news:
            at = partition, key
            held = self._held.get(at)
            if held is None:
                held = self._held[at] = _Held(None, {}, self._job.epoch)
            if cursor <= held.cursors.get((0, partition), -1):
                self._counts["DUPLICATE"] += 1
                continue
            held.cursors[0, partition] = cursor
            reason = self._stage.refuses(body, held.newest)
            if reason is None:
                held.newest = {name: body[name] for name in KEPT}
            else:
                self._counts[reason] += 1

    def _scores(self, label: int) -> list[Out]:
        """The scores that are due at ``label``, by symbol."""
        known = sorted((key, held.newest) for (_, key), held in self._held.items() if held.newest)
        return [self._stage.score(key.decode(), newest, label + MINUTE_US) for key, newest in known]

    def _table(self) -> dict[Key, Value]:
        return {
            at: Value(held.epoch, held.cursors, self._stage.close(held.newest))
            for at, held in self._held.items()
        }
