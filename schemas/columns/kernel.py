"""The Avro interpreter: numba functions that run a schema's program over all rows of a batch.

A program is an int64 array (fields, 4): kind, place in the block of its kind, which branch of the union is
null (-1: no union), number of symbols. It is an argument, and every constant the code is compiled with
stands in this file: numba keys its disk cache on this file alone.

Only bytes that ``schemas.codec.encode`` would write are read, and strings only of ASCII: each other row is
rejected and left to ``schemas.codec``. So an accepted row, encoded again, gives the very same bytes.
"""

from typing import Any

import numpy as np
from numba import njit

# ruff: noqa: PLR0917  (numba knows no keyword-only arguments)

KIND, SLOT, NULL_BRANCH, SYMBOLS = 0, 1, 2, 3
LONG, INT, BOOLEAN, ENUM, DECIMAL, DOUBLE, STRING, STRINGS = 0, 1, 2, 3, 4, 5, 6, 7
PREFIX_SIZE = 5

NULL = -(2**63)
"""The integer that stands for null. A record that holds it as a number is rejected."""

_NULL_BITS = np.uint64(0x7FF8_0000_0000_0000)
_SIGN = np.uint64(0x8000_0000_0000_0000)
_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)
_ASCII, _ANY_BYTE = 0x7F, 0xFF
_MAX_INT, _MIN_INT = 2**31 - 1, -(2**31)

_jit = njit(error_model="numpy")


@_jit
def put_varint(out: Any, at: int, number: Any) -> int:
    """Write an Avro long, the count of a block or the length of a string; returns the next place."""
    left = np.uint64((number << 1) ^ (number >> 63))
    while left >= np.uint64(0x80):
        out[at] = np.uint8(left & np.uint64(0x7F)) | np.uint8(0x80)
        left >>= np.uint64(7)
        at += 1
    out[at] = left
    return at + 1


@_jit
def _varint_size(number: Any) -> int:
    left = np.uint64((number << 1) ^ (number >> 63))
    size = 1
    while left >= np.uint64(0x80):
        left >>= np.uint64(7)
        size += 1
    return size


@_jit
def _get_varint(data: Any, at: int, end: int) -> tuple[Any, int]:
    """(number, next place) of a zigzag varint; (0, -1) where it is cut or not the shortest."""
    if at >= end:
        return 0, -1
    byte = np.int64(data[at])
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    raw = np.uint64(byte & 0x7F)
    shift = 7
    while at < end:
        byte = np.int64(data[at])
        at += 1
        if byte == 0 or (shift == 63 and byte > 1):
            return 0, -1
        raw |= np.uint64(byte & 0x7F) << np.uint64(shift)
        if byte < 0x80:
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), at
        shift += 7
    return 0, -1


@_jit
def _decimal_size(value: Any) -> int:
    """Bytes that fastavro gives an unscaled decimal: one more than needed at negative powers of two."""
    left = np.uint64(abs(value))
    size = 1
    while left >= np.uint64(0x80):
        left >>= np.uint64(8)
        size += 1
    return size


@_jit
def _get_decimal(data: Any, at: int, end: int) -> tuple[Any, int]:
    """(unscaled number, next place) of a decimal that fits in 8 bytes; (0, -1) where it does not."""
    size, at = _get_varint(data, at, end)
    if at < 0 or size < 1 or size > 8 or size > end - at:
        return 0, -1
    value = np.int64(data[at])
    if value >= 0x80:
        value -= 0x100
    for k in range(1, size):
        value = (value << 8) | np.int64(data[at + k])
    if value == NULL or _decimal_size(value) != size:
        return 0, -1
    return value, at + size


@_jit
def _get_string(data: Any, at: int, end: int, highest: int) -> tuple[Any, int]:
    """(start, size) of a string without a byte above ``highest``; (-1, 0) where it is anything else."""
    size, at = _get_varint(data, at, end)
    if at < 0 or size < 0 or size > end - at:
        return -1, 0
    seen = np.uint8(0)
    for k in range(at, at + size):
        seen |= data[k]
    return at if seen <= highest else -1, size


@_jit
def _skip_strings(data: Any, at: int, end: int, highest: int) -> int:
    """Where an array of strings in one block, or an empty one, ends; -1 where it is anything else."""
    count, at = _get_varint(data, at, end)
    if at < 0 or count < 0 or count > end - at:
        return -1
    if count == 0:
        return at
    for _ in range(count):
        start, size = _get_string(data, at, end, highest)
        if start < 0:
            return -1
        at = start + size
    return at + 1 if at < end and data[at] == 0 else -1


@_jit
def _get_bits(data: Any, at: int) -> np.uint64:
    """The eight bytes at ``at``, lowest first."""
    bits = np.uint64(data[at])
    for k in range(1, 8):
        bits |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return bits


@_jit
def _set_null(kind: int, slot: int, row: int, ints: Any, bits: Any, spans: Any) -> None:
    if kind == DOUBLE:
        bits[slot, row] = _NULL_BITS
    elif kind >= STRING:
        spans[slot, row, 0] = 0
        spans[slot, row, 1] = -1
    else:
        ints[slot, row] = NULL


@_jit
def _is_in_range(value: Any, kind: int, symbols: int) -> Any:
    """Whether an integer is one that its kind has; NULL is in no range."""
    if kind == INT:
        return _MIN_INT <= value <= _MAX_INT
    if kind == ENUM:
        return 0 <= value < symbols
    if kind == BOOLEAN:
        return 0 <= value <= 1
    return value != NULL


@_jit
def _get_integer(data: Any, at: int, end: int, kind: int, symbols: int) -> tuple[Any, int]:
    """(value, next place) of a field that is kept in the block of integers; (0, -1) where it is refused."""
    if kind == DECIMAL:
        return _get_decimal(data, at, end)
    value, at = _get_varint(data, at, end)
    return value, at if _is_in_range(value, kind, symbols) else -1


@_jit
def _read_row(program: Any, data: Any, at: int, end: int, row: int, ints: Any, bits: Any, spans: Any) -> bool:
    """Read one body into the columns; whether all of it was read and nothing is left."""
    for k in range(len(program)):
        kind, slot = program[k, KIND], program[k, SLOT]
        null_branch = program[k, NULL_BRANCH]
        if null_branch >= 0:
            if at >= end:
                return False
            branch = data[at]
            at += 1
            if branch == 2 * null_branch:
                _set_null(kind, slot, row, ints, bits, spans)
                continue
            if branch != 2 - 2 * null_branch:
                return False
        if kind == DOUBLE:
            if end - at < 8:
                return False
            number = _get_bits(data, at)
            if number & _EXPONENT == _EXPONENT:
                return False
            bits[slot, row] = number
            at += 8
        elif kind == STRING:
            start, size = _get_string(data, at, end, _ASCII)
            if start < 0:
                return False
            spans[slot, row, 0], spans[slot, row, 1] = start, size
            at = start + size
        elif kind == STRINGS:
            after = _skip_strings(data, at, end, _ASCII)
            if after < 0:
                return False
            spans[slot, row, 0], spans[slot, row, 1] = at, after - at
            at = after
        elif kind == BOOLEAN:
            if at >= end or data[at] > 1:
                return False
            ints[slot, row] = data[at]
            at += 1
        else:
            value, at = _get_integer(data, at, end, kind, program[k, SYMBOLS])
            if at < 0:
                return False
            ints[slot, row] = value
    return at == end


@_jit
def _has_prefix(data: Any, start: int, size: int, prefix: Any) -> Any:
    """Whether the span lies in ``data`` and begins as it must."""
    if start < 0 or size < PREFIX_SIZE or size > len(data) - start:
        return False
    differing = np.uint8(0)
    for k in range(PREFIX_SIZE):
        differing |= data[start + k] ^ prefix[k]
    return differing == 0


@njit(cache=True, error_model="numpy")
def decode(program: Any, prefix: Any, data: Any, values: Any, ints: Any, bits: Any, spans: Any) -> Any:
    """Read n values into columns; returns the rows that were not read, int64.

    ``prefix`` uint8 (5). ``data`` uint8; ``values`` int64 (n, 2): start and length of each value in it.
    Written: ``ints`` int64 (fields, at least n), ``bits`` uint64 likewise (the doubles), ``spans`` int64
    (fields, at least n, 2). Every field of a row that was not read is null.
    """
    rejected = np.empty(len(values), dtype=np.int64)
    count = 0
    for row in range(len(values)):
        start, size = values[row, 0], values[row, 1]
        if _has_prefix(data, start, size, prefix) and _read_row(
            program, data, start + PREFIX_SIZE, start + size, row, ints, bits, spans
        ):
            continue
        for k in range(len(program)):
            _set_null(program[k, KIND], program[k, SLOT], row, ints, bits, spans)
        rejected[count] = row
        count += 1
    return rejected[:count].copy()


@_jit
def _is_null(kind: int, slot: int, row: int, ints: Any, bits: Any, spans: Any) -> Any:
    if kind == DOUBLE:
        return bits[slot, row] & ~_SIGN > _EXPONENT
    if kind >= STRING:
        return spans[slot, row, 1] == -1
    return ints[slot, row] == NULL


@_jit
def _value_size(
    kind: int, slot: int, symbols: int, row: int, data: Any, ints: Any, bits: Any, spans: Any
) -> Any:
    """Bytes of a value that is not null; 0 where the schema refuses it."""
    if kind == DOUBLE:
        return 8 if bits[slot, row] & _EXPONENT != _EXPONENT else 0
    if kind >= STRING:
        start, size = spans[slot, row, 0], spans[slot, row, 1]
        if start < 0 or size < 0 or size > len(data) - start:
            return 0
        if kind == STRING:
            return _varint_size(size) + size
        return size if _skip_strings(data, start, start + size, _ANY_BYTE) == start + size else 0
    value = ints[slot, row]
    if not _is_in_range(value, kind, symbols):
        return 0
    # A decimal's bytes stand behind their count, which takes one byte.
    return 1 + _decimal_size(value) if kind == DECIMAL else _varint_size(value) if kind != BOOLEAN else 1


@_jit
def _copy(out: Any, at: int, data: Any, start: int, size: int) -> int:
    for k in range(size):
        out[at + k] = data[start + k]
    return at + size


@_jit
def _put_value(
    out: Any, at: int, kind: int, slot: int, row: int, data: Any, ints: Any, bits: Any, spans: Any
) -> int:
    """Write a value that ``_value_size`` let pass; returns the next place."""
    if kind == DOUBLE:
        number = bits[slot, row]
        for k in range(8):
            out[at + k] = np.uint8((number >> np.uint64(8 * k)) & np.uint64(0xFF))
        return at + 8
    if kind >= STRING:
        start, size = spans[slot, row, 0], spans[slot, row, 1]
        if kind == STRING:
            at = put_varint(out, at, size)
        return _copy(out, at, data, start, size)
    value = ints[slot, row]
    if kind == DECIMAL:
        size = _decimal_size(value)
        at = put_varint(out, at, size)
        for k in range(size):
            out[at + k] = np.uint8((value >> (8 * (size - 1 - k))) & 0xFF)
        return at + size
    if kind == BOOLEAN:
        out[at] = value
        return at + 1
    return put_varint(out, at, value)


@_jit
def _row_size(program: Any, data: Any, row: int, ints: Any, bits: Any, spans: Any) -> Any:
    """Bytes of one body; -1 - k where field number k is refused."""
    total = 0
    for k in range(len(program)):
        kind, slot = program[k, KIND], program[k, SLOT]
        if program[k, NULL_BRANCH] >= 0:
            total += 1
            if _is_null(kind, slot, row, ints, bits, spans):
                continue
        size = _value_size(kind, slot, program[k, SYMBOLS], row, data, ints, bits, spans)
        if size == 0:
            return -1 - k
        total += size
    return total


@njit(cache=True, error_model="numpy")
def encode(program: Any, prefix: Any, data: Any, values: Any, ints: Any, bits: Any, spans: Any) -> Any:
    """Write n records; returns (their bytes one after the other, first row refused or -1, its field).

    The arguments are those of ``decode``, but that ``values`` is written: start and length of each record.
    """
    total = 0
    for row in range(len(values)):
        size = _row_size(program, data, row, ints, bits, spans)
        if size < 0:
            return np.empty(0, dtype=np.uint8), row, -1 - size
        values[row, 0], values[row, 1] = total, PREFIX_SIZE + size
        total += PREFIX_SIZE + size
    out = np.empty(total, dtype=np.uint8)
    at = 0
    for row in range(len(values)):
        at = _copy(out, at, prefix, 0, PREFIX_SIZE)
        for k in range(len(program)):
            kind, slot = program[k, KIND], program[k, SLOT]
            null_branch = program[k, NULL_BRANCH]
            if null_branch >= 0:
                null = _is_null(kind, slot, row, ints, bits, spans)
                out[at] = 2 * null_branch if null else 2 - 2 * null_branch
                at += 1
                if null:
                    continue
            at = _put_value(out, at, kind, slot, row, data, ints, bits, spans)
    return out, -1, -1
