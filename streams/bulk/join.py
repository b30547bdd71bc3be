"""The join side of the signals fold: memberships, read as far as the features need them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tapedeck.schemas.columns import Columns
from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.bulk.arrays import Interner
from tapedeck.streams.bulk.reading import NEVER, minutes_of, read_columns


@dataclass(frozen=True)
class Piece:
    """Membership rows of one block: log minutes, offsets, numbers of their keys, and the records."""

    minutes: Ints
    offsets: Ints
    keys: Ints
    records: Columns

    def rows(self, at: Ints) -> "Piece":
        """The rows at ``at``."""
        return Piece(self.minutes[at], self.offsets[at], self.keys[at], self.records.take(at))


class Members:
    """The memberships of one partition, in log order.

    A row counts at watermark(c) of the features when its own log minute lies before c. ``label``: the last
    watermark read up to now, ``reached``: the first at or above the features' last one.
    """

    def __init__(
        self, blocks: Iterator[Block], last: int, after: int, keys: Interner, counts: Counter[str]
    ) -> None:
        self._blocks, self._keys, self._counts = blocks, keys, counts
        self.label = self.reached = last
        self.applied = after
        self._labels: list[tuple[int, int]] = []
        self._pieces: list[Piece] = []
        self._ended = False

    def read_to(self, label: int) -> bool:
        """Read on until a watermark at or above ``label``; False where the log ends before it."""
        while self.label < label and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                break
            minutes = minutes_of(block, self.label)
            records, rows = read_columns(block, minutes.rows, self._counts)
            if len(rows):
                log_minutes = minutes.minutes[np.searchsorted(minutes.rows, rows)]
                keys = self._keys.ids_of(block.data, block.keys[rows])
                self._pieces.append(Piece(log_minutes, block.offsets[rows], keys, records))
            self._labels += [(mark, int(block.offsets[place])) for place, mark in minutes.marks]
            if minutes.marks:
                self.label = minutes.marks[-1][1]
        return self.label >= label

    def take(self, complete: int) -> list[Piece]:
        """The rows that count once the features have reached watermark(``complete``)."""
        found = []
        while complete != NEVER and self._pieces and self._pieces[0].minutes[0] < complete:
            piece = self._pieces.pop(0)
            n = int(np.searchsorted(piece.minutes, complete))
            if n < len(piece.minutes):
                self._pieces.insert(0, piece.rows(np.arange(n, len(piece.minutes))))
                piece = piece.rows(np.arange(n))
            self.applied = max(self.applied, int(piece.offsets[-1]) + 1)
            found.append(piece)
        while self._labels and self.reached < complete:
            self.reached, offset = self._labels.pop(0)
            self.applied = max(self.applied, offset + 1)
        return found
