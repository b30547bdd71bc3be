"""What a bulk fold gives: outputs as columns."""

from dataclasses import dataclass

import numpy as np

from schemas.codec import PREFIX
from schemas.columns import Columns, encode_columns
from streams.blocks import Bytes, Ints
from streams.bulk.arrays import moved, rows_of
from streams.merge import Part


@dataclass(frozen=True, slots=True)
class Outs:
    """Outputs for one topic partition, in the order of their causes.

    ``data`` uint8 holds the bytes; ``keys``, ``values`` int64 (n, 2) spans of it; ``times`` int64 (n) event
    times, micros; ``ids`` uint8 (n, 16) raw event_ids; ``causes`` int64 (n): the place of the causing record
    in the block that was folded.
    """

    topic: str
    partition: int
    data: Bytes
    keys: Ints
    values: Ints
    times: Ints
    ids: Bytes
    causes: Ints

    def __len__(self) -> int:
        return len(self.causes)

    @classmethod
    def none(cls, topic: str, partition: int) -> "Outs":
        """No outputs."""
        nothing = np.empty(0, dtype=np.int64)
        spans = np.empty((0, 2), dtype=np.int64)
        data = np.empty(0, dtype=np.uint8)
        return cls(topic, partition, data, spans, spans, nothing, np.empty((0, 16), dtype=np.uint8), nothing)

    def rows(self) -> Bytes:
        """As ``streams.bulk.rows.Rows`` takes them."""
        return rows_of(self.ids, self.data, self.keys, self.values, PREFIX.size)


def encoded(part: Part, columns: Columns, key: str, ids: Bytes, causes: Ints) -> Outs:
    """The outputs for topic partition ``part`` that ``columns`` are; ``key`` names the column of record keys.

    Raises DeadLetter where one does not fit its schema.
    """
    values, spans = encode_columns(columns.name, columns)
    shift = len(columns.data)
    data = np.concatenate([columns.data, values])
    times = columns.ints["event_time"]
    return Outs(*part, data, columns.spans[key], moved(spans, shift), times, ids, causes)
