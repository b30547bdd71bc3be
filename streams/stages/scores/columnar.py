"""features -> scores in columns: between two evaluations only a symbol's newest feature is stepped.

Sentiment windows are few, and each is stepped.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tapedeck.schemas.columns import Columns
from tapedeck.streams.blocks import Ints
from tapedeck.streams.columnar.arrays import Interner
from tapedeck.streams.columnar.block_columns import bodies_of, read_columns
from tapedeck.streams.columnar.job import Job, Result
from tapedeck.streams.columnar.join import BlockMerge, Piece, Stretch
from tapedeck.streams.frame import Value
from tapedeck.streams.protocol import MINUTE_US, Out
from tapedeck.streams.shell import Effects, Forward, Produced
from tapedeck.streams.stages.base import Body
from tapedeck.streams.stages.scores.stage import EMPTY, KEPT, WINDOW, WINDOWS, Held, ScoresStage
from tapedeck.topics.catalogue import WATERMARK_KEY

_FIELDS = (*KEPT, "feed")
Key = tuple[int, bytes]


@dataclass
class _Symbol:
    """One key of the table: what it holds, its cursors by (input rank, partition), its epoch."""

    held: Held
    cursors: dict[tuple[int, int], int]
    epoch: int


class _New(NamedTuple):
    """A record to be stepped: its input and key, and the offset of the last one that it stands for."""

    topic: str
    partition: int
    key: bytes
    cursor: int
    body: Body


class ScoresFold:
    """The scores stage over all partitions."""

    def __init__(self, stage: ScoresStage, job: Job) -> None:
        self._stage, self._job = stage, job
        self._counts = job.result.counts
        self._symbols = {
            at: _Symbol(stage.open(value.body), dict(value.cursors), value.epoch)
            for at, value in job.stored().items()
            if at[1] != WATERMARK_KEY
        }
        self._ranks = {name: rank for rank, name in enumerate(job.spec.inputs)}
        self._keys, self._feeds = Interner(), Interner([stage.feed.encode()])

    def run(self) -> Result:
        """Fold everything up to the cut."""
        merge = BlockMerge.of(self._job)
        for stretch in merge.stretches():
            self._fold(stretch)
        return merge.finish(self._job, self._table())

    def _fold(self, stretch: Stretch) -> None:
        """Step the rows between two evaluations, evaluate, and go on; pass on the watermarks in between."""
        forwards = [forward for _, forward in stretch.forwards]
        due = [
            at
            for at, forward in enumerate(forwards)
            if forward.absent is None and self._stage.evaluates(forward.label)
        ]
        new = self._new_before(stretch, [forwards[at].label for at in due])
        first = 0
        for at, before in zip(due, new, strict=False):
            self._step(before)
            self._pass(forwards[first : at + 1], is_due=True)
            first = at + 1
        self._step(new[-1])
        if forwards[first:]:
            self._pass(forwards[first:], is_due=False)

    def _pass(self, forwards: list[Forward], *, is_due: bool) -> None:
        """Forward ``forwards``; the last of them is an evaluation where ``is_due``."""
        effects = Effects(watermark=forwards[-1].label)
        effects.outputs += forwards
        if is_due:
            outs = self._scores(forwards[-1].label)
            effects.outputs[-1:] = [*(Produced(out, None) for out in outs), forwards[-1]]
            effects.counts["OUT:scores"] += len(outs)
        self._job.perform(effects)

    def _new_before(self, stretch: Stretch, due: list[int]) -> list[list[_New]]:
        """The new records before each of the evaluations ``due``, and after the last."""
        found: list[list[_New]] = [[] for _ in range(len(due) + 1)]
        labels = np.array(due, dtype=np.int64)
        for piece in stretch.trigger:
            self._thin(piece.placed(self._counts), labels, found)
        for piece in stretch.joins.get(WINDOWS, ()):
            self._add_windows(piece, labels, found)
        return found

    def _add_windows(self, piece: Piece, due: Ints, found: list[list[_New]]) -> None:
        """Add each window to what is new: those of an evaluation's own minute come before it."""
        block = piece.block
        windows, rows = read_columns(block, piece.rows, self._counts)
        stretch = np.searchsorted(due, piece.minutes[np.searchsorted(piece.rows, rows)], side="left")
        names = [self._keys.texts[key] for key in self._keys.ids_of(block.data, block.keys[rows]).tolist()]
        offsets = block.offsets[rows].tolist()
        bodies = bodies_of(windows, WINDOW)
        for at, key, offset, body in zip(stretch.tolist(), names, offsets, bodies, strict=True):
            found[at].append(_New(WINDOWS, block.partition, key, offset, body))
        self._counts["IN"] += len(rows)

    def _thin(self, piece: Piece, due: Ints, found: list[list[_New]]) -> None:
        """Add the newest row of each key between two evaluations to what is new."""
        block = piece.block
        features, rows = read_columns(block, piece.rows, self._counts)
        if not len(rows):
            return
        stretch = np.searchsorted(due, piece.minutes[np.searchsorted(piece.rows, rows)], side="right")
        keys, offsets, ints = (
            self._keys.ids_of(block.data, block.keys[rows]),
            block.offsets[rows],
            features.ints,
        )
        # among equals the first counts; those of another feed only where there is no other
        order = np.lexsort(
            (-rows, ints["revision"], ints["event_time"], self._selected(features), keys, stretch)
        )
        group = stretch[order] * len(self._keys.texts) + keys[order]
        last = np.flatnonzero(np.diff(group, append=-1))
        cursors = np.maximum.reduceat(offsets[order], np.concatenate([[0], last[:-1] + 1]))
        newest = order[last]
        bodies = bodies_of(features.take(newest), _FIELDS)
        numbers = stretch[newest].tolist(), keys[newest].tolist(), cursors.tolist()
        for at, key, cursor, body in zip(*numbers, bodies, strict=True):
            found[at].append(_New(block.topic, block.partition, self._keys.texts[key], cursor, body))
        self._counts["IN"] += len(rows)

    def _selected(self, features: Columns) -> Ints:
        """1 where a row is of the feed that scores are computed from."""
        feeds: Ints = self._feeds.ids_of(features.data, features.spans["feed"])
        return -np.minimum(feeds, 1) + 1

    def _step(self, new: list[_New]) -> None:
        for topic, partition, key, cursor, body in new:
            at, place = (partition, key), (self._ranks[topic], partition)
            symbol = self._symbols.get(at)
            if symbol is None:
                symbol = self._symbols[at] = _Symbol(EMPTY, {}, self._job.epoch)
            if cursor <= symbol.cursors.get(place, -1):
                self._counts["DUPLICATE"] += 1
                continue
            symbol.cursors[place] = cursor
            symbol.held, reason = self._stage.hold(symbol.held, topic, body)
            if reason is not None:
                self._counts[reason] += 1

    def _scores(self, label: int) -> list[Out]:
        """The scores that are due at ``label``, by symbol."""
        known = {key: each.held for (_, key), each in self._symbols.items() if each.held.feature}
        return [self._stage.score(key.decode(), known[key], label + MINUTE_US) for key in sorted(known)]

    def _table(self) -> dict[Key, Value]:
        return {
            at: Value(each.epoch, each.cursors, self._stage.close(each.held))
            for at, each in self._symbols.items()
        }
