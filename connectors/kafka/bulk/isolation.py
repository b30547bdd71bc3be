"""Which batches of a fetch are committed, and which offsets of the log no batch covers.

A broker that is asked for committed records still sends the batches of aborted transactions, with a list of
those transactions. The reader must leave them out. Source: KIP-98, "Consumer".
"""

import struct
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.schemas import varint
from tapedeck.streams.blocks import Bytes, Ints

_ABORT = 0
_MARK = struct.Struct(">hh")
"""The key of a control record: version, then what it ends."""
_MARK_BYTES = 64
"""An upper bound on a control record's bytes up to the end of its key."""

Span = tuple[int, int]
"""Offsets [a, b)."""


def committed(data: Bytes, table: Ints, aborted: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which batches of one answer count: those that are neither control batches nor aborted.

    ``aborted``: (producer id, first offset) of the answer's aborted transactions.
    """
    wanted: NDArray[np.bool_] = table[:, K.ATTRIBUTES] & K.CONTROL == 0
    if not aborted:
        return wanted
    begin = sorted(aborted, key=lambda each: each[1], reverse=True)
    gone = set[int]()
    columns = table[:, (K.ATTRIBUTES, K.PRODUCER, K.LAST)].tolist()
    for row, (attributes, producer, last) in enumerate(columns):
        if not attributes & K.TRANSACTIONAL:
            continue
        while begin and begin[-1][1] <= last:
            gone.add(begin.pop()[0])
        if not attributes & K.CONTROL:
            wanted[row] = producer not in gone
        elif _is_abort(data, table[row]):
            gone.discard(producer)
    return wanted


def _is_abort(data: Bytes, batch: Ints) -> bool:
    """Whether a control batch ends an aborted transaction; an empty one ends nothing."""
    at = int(batch[K.AT]) + K.HEADER
    record = data[at : min(at + _MARK_BYTES, int(batch[K.AT] + batch[K.SIZE]))].tobytes()
    if not batch[K.COUNT]:
        return False
    _, at = varint.get(record, 0)
    at += 1  # the record's attributes
    for _ in range(3):  # its time, its offset, the length of its key
        _, at = varint.get(record, at)
    return bool(_MARK.unpack_from(record, at)[1] == _ABORT)


def uncovered(start: int, table: Ints) -> list[Span]:
    """The offsets from ``start`` on that are before or between the batches of ``table``."""
    reached = np.maximum(np.concatenate(([start], table[:-1, K.LAST] + 1)), start)
    rows = np.flatnonzero(table[:, K.BASE] > reached)
    return [(int(reached[row]), int(table[row, K.BASE])) for row in rows]


def is_whole(table: Ints) -> NDArray[np.bool_]:
    """Which batches have a record at every offset that they cover."""
    found: NDArray[np.bool_] = table[:, K.COUNT] == table[:, K.LAST] - table[:, K.BASE] + 1
    return found


def absent(offsets: Ints, start: int, end: int) -> list[Span]:
    """The offsets of [start, end) that are not in ``offsets``, which are ascending and within it."""
    edges = [start - 1, *offsets.tolist(), end]
    return [(before + 1, after) for before, after in pairwise(edges) if after > before + 1]


def joined(spans: list[Span]) -> list[Span]:
    """The same offsets as ascending spans that do not touch."""
    found = list[Span]()
    for start, end in sorted(spans):
        if found and found[-1][1] >= start:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
