"""features -> scores in bulk: between two evaluations only a symbol's newest feature is stepped.

A fan-in over all partitions, as ``streams.merge`` orders it: watermark(c) is complete when every partition
has reached a label at or above c; a row counts at c when its log minute lies before c.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from schemas.columns import Columns
from streams.blocks import Block, Ints
from streams.bulk.arrays import Interner
from streams.bulk.job import Job, Result
from streams.bulk.reading import NEVER, bodies_of, minutes_of, placed, read_columns
from streams.contract import MINUTE_US, Row
from streams.frame import Value
from streams.shell import Effects, Forward, Produced
from streams.stages.scores import KEPT, ScoresStage
from topics.catalogue import WATERMARK_KEY

_FIELDS = (*KEPT, "feed")
Key = tuple[int, bytes]


@dataclass
class _Input:
    """One partition: what was read of it and not folded yet. ``labels``: (label, offset) in log order."""

    partition: int
    blocks: Iterator[Block]
    last: int
    labels: list[tuple[int, int]] = field(default_factory=list)
    pieces: list["_Piece"] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True)
class _Piece:
    """Rows of one block: log minutes, offsets, key numbers, and the features themselves."""

    minutes: Ints
    offsets: Ints
    keys: Ints
    features: Columns

    def split(self, at: Ints) -> "_Piece":
        return _Piece(self.minutes[at], self.offsets[at], self.keys[at], self.features.take(at))


class ScoresFold:
    """The scores stage over all partitions."""

    def __init__(self, stage: ScoresStage, job: Job) -> None:
        self._stage, self._job = stage, job
        self._counts = job.result.counts
        self._values: dict[Key, Value] = {k: v for k, v in job.stored().items() if k[1] != WATERMARK_KEY}
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
        self._step(self._rows(self._complete + 1))  # of the minute that no watermark has ended yet
        labels = {(0, part): label for part, label in self._labels.items() if label != NEVER}
        return self._job.finish(self._values, labels)

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
        waiting: list[int] = []
        for label in labels:
            waiting.append(label)
            if self._stage.evaluates(label):
                self._pass(waiting)
                waiting = []
        if waiting:
            self._pass(waiting)

    def _pass(self, labels: list[int]) -> None:
        """Fold the rows before the last of ``labels`` and forward them all."""
        self._step(self._rows(labels[-1]))
        effects = Effects(watermark=labels[-1])
        for label in labels:
            if self._stage.evaluates(label):
                step = self._stage.at_watermark(label, self._job.task.home, _Values(self._values))
                effects.outputs += [Produced(out, None) for out in step.outs]
                effects.counts["OUT:scores"] += len(step.outs)
            effects.outputs.append(Forward(label))
        self._job.perform(effects)
        self._complete = labels[-1]
        for each in self._inputs:
            self._reach(each)

    def _reach(self, source: _Input) -> None:
        """The partition's watermarks up to its first at or above the complete one are applied."""
        while source.labels and self._labels[source.partition] < self._complete:
            self._labels[source.partition], offset = source.labels.pop(0)
            self._applied(source.partition, offset)

    def _applied(self, partition: int, offset: int) -> None:
        applied = self._job.result.applied
        applied["features", partition] = max(applied["features", partition], offset + 1)

    def _rows(self, before: int) -> list[tuple[int, _Piece]]:
        """(partition, rows) whose log minute lies before ``before``, taken out of what waits."""
        found = []
        for source in self._inputs:
            while source.pieces and source.pieces[0].minutes[0] < before:
                piece = source.pieces.pop(0)
                n = int(np.searchsorted(piece.minutes, before))
                if n < len(piece.minutes):
                    source.pieces.insert(0, piece.split(np.arange(n, len(piece.minutes))))
                found.append((source.partition, piece.split(np.arange(n))))
        return found

    def _step(self, pieces: list[tuple[int, _Piece]]) -> None:
        for partition, piece in pieces:
            self._applied(partition, int(piece.offsets[-1]))
            event_time, revision = piece.features.ints["event_time"], piece.features.ints["revision"]
            place = np.arange(len(piece.offsets))
            selected = self._feeds.ids_of(piece.features.data, piece.features.spans["feed"]) == 0
            order = np.lexsort((-place, revision, event_time, selected, piece.keys))
            ends = np.flatnonzero(np.diff(piece.keys[order], append=-1))
            newest = order[ends]
            cursors = np.maximum.reduceat(piece.offsets[order], np.concatenate([[0], ends[:-1] + 1]))
            bodies = bodies_of(piece.features.take(newest), _FIELDS)
            for row, cursor, body in zip(newest.tolist(), cursors.tolist(), bodies, strict=True):
                self._step_key(partition, self._keys.texts[piece.keys[row]], cursor, body)
            self._counts["IN"] += len(place)

    def _step_key(self, partition: int, key: bytes, cursor: int, body: dict[str, object]) -> None:
        stored = self._values.get((partition, key), Value(self._job.epoch, {}, b""))
        if cursor <= stored.cursors.get((0, partition), -1):
            self._counts["DUPLICATE"] += 1
            return
        minute = int(str(body["event_time"])) - MINUTE_US
        step = self._stage.step(key, stored.body or None, [Row("features", key, body, minute, minute)])
        cursors = stored.cursors | {(0, partition): cursor}
        self._values[partition, key] = Value(stored.epoch, cursors, step.state)


class _Values:
    """What the stage reads at an evaluation."""

    def __init__(self, values: dict[Key, Value]) -> None:
        self.own: bytes | None = None
        self._found = values

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted((key, value.body) for (_, key), value in self._found.items() if value.body)
