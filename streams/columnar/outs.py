"""The outputs of a columnar fold, as columns."""

from dataclasses import dataclass

import numpy as np

from tapedeck.schemas.codec import PREFIX, encode
from tapedeck.schemas.columns import Columns, encode_columns, supports
from tapedeck.streams.blocks import Bytes, Ints
from tapedeck.streams.columnar.arrays import moved, rows_of
from tapedeck.streams.columnar.rows import raw_id
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Out
from tapedeck.topics.catalogue import topic


@dataclass(frozen=True, slots=True)
class Outs:
    """Outputs for one topic partition, in the order of their causes.

    ``data`` uint8 holds the bytes; ``keys``, ``values`` int64 (n, 2) spans of it; ``times`` int64 (n) event
    times, micros; ``ids`` uint8 (n, 16) raw event_ids; ``causes`` int64 (n): the index of the causing record
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
        """As ``streams.columnar.rows.Rows`` takes them."""
        return rows_of(self.ids, self.data, self.keys, self.values, PREFIX.size)


def encoded(part: Part, columns: Columns, key: str, ids: Bytes, causes: Ints) -> Outs:
    """``columns`` as outputs for topic partition ``part``; ``key`` names the column with the record keys.

    Raises DeadLetter if one does not fit its schema.
    """
    values, spans = encode_columns(columns.name, columns)
    shift = len(columns.data)
    data = np.concatenate([columns.data, values])
    times = columns.ints["event_time"]
    return Outs(*part, data, columns.spans[key], moved(spans, shift), times, ids, causes)


def in_columns(outs: list[Out], schema: str, partition: int) -> Outs:
    """Outputs of one topic partition, encoded together where their schema has columns."""
    if not supports(schema):
        return one_by_one(outs, partition)
    made = Columns.of(schema, [out.body for out in outs])
    keys = b"".join(out.record_key for out in outs)
    lengths = np.array([len(out.record_key) for out in outs], dtype=np.int64)
    values, spans = encode_columns(schema, made)
    return Outs(
        outs[0].topic,
        partition,
        np.concatenate([np.frombuffer(keys, dtype=np.uint8), values]),
        np.stack([np.cumsum(lengths) - lengths, lengths], axis=1),
        moved(spans, len(keys)),
        made.ints["event_time"],
        _ids_of(outs),
        np.array([out.cause for out in outs], dtype=np.int64),
    )


def one_by_one(outs: list[Out], partition: int) -> Outs:
    """Outputs of one topic, encoded record by record."""
    name, size = outs[0].topic, 0
    schema = topic(name).schema
    assert schema is not None
    parts: list[bytes] = []
    keys, values = [], []
    for out in outs:
        value = encode(schema, out.body)
        keys.append((size, len(out.record_key)))
        values.append((size + len(out.record_key), len(value)))
        parts += [out.record_key, value]
        size += len(out.record_key) + len(value)
    return Outs(
        name,
        partition,
        np.frombuffer(b"".join(parts), dtype=np.uint8),
        np.array(keys, dtype=np.int64),
        np.array(values, dtype=np.int64),
        np.array([out.body["event_time"] for out in outs], dtype=np.int64),
        _ids_of(outs),
        np.array([out.cause for out in outs], dtype=np.int64),
    )


def _ids_of(outs: list[Out]) -> Bytes:
    raw = b"".join(raw_id(out.event_id) for out in outs)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 16)
