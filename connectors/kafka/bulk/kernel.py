"""Kafka's record batches, format v2, in numba: finding them in fetched bytes, and writing them.

A batch is a header of 61 bytes and its records; all fixed numbers are big-endian, all others zigzag varints:

    base offset 8, length 4, leader epoch 4, magic 1, crc 4, attributes 2, last offset delta 4,
    first timestamp 8, max timestamp 8, producer id 8, producer epoch 2, base sequence 4, count 4
    each record: length, attributes 1, timestamp delta, offset delta, key, value, headers

Source: the Kafka protocol guide, "Record Batch".
"""

from typing import Any

import numpy as np
from numba import njit

from tapedeck.schemas.columns import varint
from tapedeck.schemas.columns.text import put_bytes

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

HEADER = 61
LENGTH_END = 12
"""The start of the bytes that a batch's length counts."""
MAGIC = 2

AT, SIZE, BASE, LAST, ATTRIBUTES, FIRST_TIME, MAX_TIME, COUNT, CRC, PRODUCER = range(10)
"""Columns of a table of batches: place and size in bytes, offsets, and the header's fields."""
COLUMNS = 10

WHOLE, OLD_FORMAT, DAMAGED = range(3)
"""Why a scan stopped: end of the bytes or a batch cut off there, an old message format, invalid bytes."""

LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20

F_AT, F_COUNT, F_FIRST_TIME, F_MAX_TIME = range(4)
"""Slots of the batch being filled: bytes so far, records so far, the header's times."""
FILLING = 4

_ABSENT = -1

_jit = njit(error_model="numpy")


@_jit
def _number(data: Any, at: int, width: int) -> Any:
    """The unsigned big-endian number at ``at``; eight bytes give the signed one."""
    found = np.int64(0)
    for k in range(width):
        found = (found << 8) | np.int64(data[at + k])
    return found


@_jit
def _get_span(data: Any, at: int, stop: int, spans: Any, row: int) -> Any:
    """Record the span of the bytes at ``at`` that follow their length; returns the next index, or -1."""
    length, at = varint.get_within(data, at, stop)
    if at < 0 or length < _ABSENT or length > stop - at:
        return -1
    spans[row, 0] = at
    spans[row, 1] = length
    return at + max(length, 0)


@njit(cache=True, error_model="numpy")
def scan(data: Any, table: Any) -> tuple[int, int]:
    """Find the batches of ``data`` uint8; returns (their number, why the scan stopped).

    As many as fit are written to ``table`` int64 (rows, COLUMNS).
    """
    at = found = 0
    while at + HEADER <= len(data):
        size = _number(data, at + 8, 4) + LENGTH_END
        if data[at + 16] != MAGIC:
            return found, OLD_FORMAT if data[at + 16] < MAGIC else DAMAGED
        if size < HEADER:
            return found, DAMAGED
        if at + size > len(data):
            break
        if found < len(table):
            row = table[found]
            row[AT] = at
            row[SIZE] = size
            row[BASE] = _number(data, at, 8)
            row[LAST] = row[BASE] + _number(data, at + 23, 4)
            row[ATTRIBUTES] = _number(data, at + 21, 2)
            row[FIRST_TIME] = _number(data, at + 27, 8)
            row[MAX_TIME] = _number(data, at + 35, 8)
            row[PRODUCER] = _number(data, at + 43, 8)
            row[COUNT] = _number(data, at + 57, 4)
            row[CRC] = _number(data, at + 17, 4)
        found += 1
        at += size
    return found, WHOLE


@njit(cache=True, error_model="numpy")
def parse(
    data: Any,
    table: Any,
    start: int,
    end: int,
    offsets: Any,
    times: Any,
    keys: Any,
    values: Any,
    headers: Any,
) -> int:
    """Write the columns of the records with offsets in [start, end); returns how many.

    ``table``: batches of ``data``, uncompressed, as ``scan`` finds them. The columns are those of
    ``streams.blocks.Block``, long enough for every record. Returns -1 - its row for a batch that its records
    do not fill exactly. Control batches are left out.
    """
    n = 0
    for row in range(len(table)):
        batch = table[row]
        if batch[ATTRIBUTES] & CONTROL or batch[LAST] < start or batch[BASE] >= end:
            continue
        at, stop = batch[AT] + HEADER, batch[AT] + batch[SIZE]
        for _ in range(batch[COUNT]):
            length, at = varint.get_within(data, at, stop)
            if at < 0 or length < 1 or length > stop - at:
                return -1 - row
            last = at + length
            time, at = varint.get_within(data, at + 1, last)
            offset, at = varint.get_within(data, at, last)
            offset += batch[BASE]
            at = _get_span(data, at, last, keys, n)
            at = _get_span(data, at, last, values, n)
            if at < 0 or at >= last:
                return -1 - row
            headers[n, 0] = at
            headers[n, 1] = last - at
            at = last
            if offset < start or offset >= end:
                continue
            offsets[n] = offset
            times[n] = batch[MAX_TIME] if batch[ATTRIBUTES] & LOG_APPEND_TIME else batch[FIRST_TIME] + time
            n += 1
        if at != stop:
            return -1 - row
    return n


@njit(cache=True, error_model="numpy")
def fill(
    data: Any, times: Any, keys: Any, values: Any, headers: Any, row: int, out: Any, limit: int, filling: Any
) -> int:
    """Append records from ``row`` on to the batch in ``out`` uint8; returns the first row that did not fit.

    ``out`` has ``limit`` bytes or more; ``filling`` int64 (FILLING) is the state of the batch, changed in
    place: a new batch has HEADER bytes and no record. The header itself is not written.
    """
    while row < len(times):
        if filling[F_COUNT] == 0:
            filling[F_FIRST_TIME] = times[row]
            filling[F_MAX_TIME] = times[row]
        time, count = times[row] - filling[F_FIRST_TIME], filling[F_COUNT]
        key, value, header = keys[row, 1], values[row, 1], headers[row, 1]
        size = 1 + varint.size(time) + varint.size(count) + varint.size(key) + varint.size(value)
        size += max(key, 0) + max(value, 0) + (header if header > 0 else 1)
        at = filling[F_AT]
        if at + varint.size(size) + size > limit:
            break
        at = varint.put(out, at, size)
        out[at] = 0
        at = varint.put(out, at + 1, time)
        at = varint.put(out, at, count)
        at = put_bytes(out, varint.put(out, at, key), data, keys[row, 0], max(key, 0))
        at = put_bytes(out, varint.put(out, at, value), data, values[row, 0], max(value, 0))
        if header > 0:
            at = put_bytes(out, at, data, headers[row, 0], header)
        else:
            out[at] = 0
            at += 1
        filling[F_AT] = at
        filling[F_COUNT] = count + 1
        filling[F_MAX_TIME] = max(filling[F_MAX_TIME], times[row])
        row += 1
    return row
