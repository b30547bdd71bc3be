"""The Avro interpreter: numba functions that run a schema's program over all rows of a batch.

A program is an int64 array (fields, 4): kind, place in the block of its kind, which branch of the union is
null (-1: no union), number of symbols. It is passed as an argument, and every constant that is compiled in
is defined in this file, because numba keys its disk cache on this file alone. The form of a ``varint`` is
Avro's and does not change.

It reads only bytes that ``schemas.codec.encode`` would write, with strings in ASCII. Any other row is
rejected and left to ``schemas.codec``. So an accepted row, encoded again, gives the very same bytes.
"""

from typing import Any

import numpy as np
from numba import njit

from tapedeck.schemas.columns import varint

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

KIND, SLOT, NULL_BRANCH, SYMBOLS = 0, 1, 2, 3
LONG, INT, BOOLEAN, ENUM, DECIMAL, DOUBLE, STRING, STRINGS = 0, 1, 2, 3, 4, 5, 6, 7
PREFIX_SIZE = 5
WIDEST = 11
"""The most bytes of a field, not counting its text: a union's branch and a varint."""

NULL = -(2**63)
"""The integer that means null. A record with it as a real number is rejected."""

_NULL_BITS = np.uint64(0x7FF8_0000_0000_0000)
_SIGN = np.uint64(0x8000_0000_0000_0000)
_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)
_ASCII, _ANY_BYTE = 0x7F, 0xFF
_MAX_INT, _MIN_INT = 2**31 - 1, -(2**31)

jit = njit(error_model="numpy")


@jit
def put_bytes(out: Any, at: int, data: Any, start: int, size: int) -> int:
    """Copy ``size`` bytes of ``data`` from ``start`` on; returns the next index."""
    to, begin = np.uint64(at), np.uint64(start)
    for k in range(np.uint64(size)):  # unsigned indices need no check for negative ones, so it is vectorised
        out[to + k] = data[begin + k]
    return at + size


@jit
def _decimal_size(value: Any) -> int:
    """Bytes that fastavro gives an unscaled decimal: one more than needed at negative powers of two."""
    left = np.uint64(abs(value))
    size = 1
    while left >= np.uint64(0x80):
        left >>= np.uint64(8)
        size += 1
    return size


@jit
def _get_decimal(data: Any, at: int, end: int) -> tuple[Any, int]:
    """(unscaled number, next index) of a decimal; the index is -1 if it does not fit in 8 bytes."""
    size, at = varint.get_shortest(data, at, end)
    value: Any = 0
    after = -1
    if at >= 0 and 1 <= size <= min(8, end - at):
        value = np.int64(np.int8(data[at]))
        for k in range(1, size):
            value = (value << 8) | np.int64(data[at + k])
        if value != NULL and _decimal_size(value) == size:
            after = at + size
    return value, after


@jit
def _get_string(data: Any, at: int, end: int, highest: int) -> tuple[Any, int]:
    """(start, size) of a string without a byte above ``highest``; (-1, 0) for anything else."""
    size, start = varint.get_shortest(data, at, end)
    if start >= 0 and 0 <= size <= end - start:
        seen = np.uint8(0)
        for k in range(start, start + size):
            seen |= data[k]
        if seen <= highest:
            return start, size
    return -1, 0


@jit
def _skip_strings(data: Any, at: int, end: int, highest: int) -> int:
    """The end of an array of strings that is one block, or empty; -1 for anything else."""
    count, at = varint.get_shortest(data, at, end)
    if at < 0 or count < 0:
        return -1
    for _ in range(count):
        start, size = _get_string(data, at, end, highest)
        if start < 0:
            return -1
        at = start + size
    if count == 0:
        return at
    return at + 1 if at < end and data[at] == 0 else -1


@jit
def _get_bits(data: Any, at: int) -> Any:
    """The eight bytes at ``at``, lowest first."""
    bits = np.uint64(data[at])
    for k in range(1, 8):
        bits |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return bits


@jit
def _set_null(kind: int, slot: int, row: int, ints: Any, bits: Any, spans: Any) -> None:
    if kind == DOUBLE:
        bits[slot, row] = _NULL_BITS
    elif kind >= STRING:
        spans[slot, row, 0] = 0
        spans[slot, row, 1] = -1
    else:
        ints[slot, row] = NULL


@jit
def _is_in_range(value: Any, kind: int, symbols: int) -> Any:
    """Whether an integer is valid for its kind; NULL is valid for none."""
    if kind == INT:
        return _MIN_INT <= value <= _MAX_INT
    if kind == ENUM:
        return 0 <= value < symbols
    if kind == BOOLEAN:
        return 0 <= value <= 1
    return value != NULL


@jit
def _get_integer(data: Any, at: int, end: int, kind: int, symbols: int) -> tuple[Any, int]:
    """(value, next index) of a field kept in the block of integers; (0, -1) if it is rejected."""
    if kind == DECIMAL:
        return _get_decimal(data, at, end)
    value, at = varint.get_shortest(data, at, end)
    return value, at if _is_in_range(value, kind, symbols) else -1


@jit
def _read_row(program: Any, data: Any, at: int, end: int, row: int, ints: Any, bits: Any, spans: Any) -> bool:
    """Read one body into the columns; returns whether it was read to its end with nothing left over."""
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


@jit
def _has_prefix(data: Any, start: int, size: int, prefix: Any) -> Any:
    """Whether the span is inside ``data`` and starts with ``prefix``."""
    if start < 0 or size < PREFIX_SIZE or size > len(data) - start:
        return False
    differing = np.uint8(0)
    for k in range(PREFIX_SIZE):
        differing |= data[start + k] ^ prefix[k]
    return differing == 0


@njit(cache=True, error_model="numpy")
def decode(program: Any, prefix: Any, data: Any, values: Any, ints: Any, bits: Any, spans: Any) -> Any:
    """Read n values into columns; returns the rows that could not be read, int64.

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


@jit
def _put_bits(out: Any, at: int, bits: Any) -> int:
    to = np.uint64(at)
    for k in range(np.uint64(8)):
        out[to + k] = np.uint8((bits >> (np.uint64(8) * k)) & np.uint64(0xFF))
    return at + 8


@jit
def _put_decimal(out: Any, at: int, value: Any) -> int:
    size = _decimal_size(value)
    out[at] = 2 * size
    for k in range(size):
        out[at + 1 + k] = np.uint8((value >> (8 * (size - 1 - k))) & 0xFF)
    return at + 1 + size


@jit
def _put_span(out: Any, at: int, data: Any, start: int, size: int, kind: int) -> int:
    """Write a string, or an array of strings as it is in ``data``; -1 for an invalid span."""
    after = -1
    if start >= 0 and 0 <= size <= len(data) - start:
        if kind == STRING:
            after = put_bytes(out, varint.put(out, at, size), data, start, size)
        elif _skip_strings(data, start, start + size, _ANY_BYTE) == start + size:
            after = put_bytes(out, at, data, start, size)
    return after


@jit
def _put_integer(out: Any, at: int, value: Any, kind: int, symbols: int) -> int:
    """Write a field of the block of integers; -1 for a value that is invalid for its kind."""
    after = -1
    if _is_in_range(value, kind, symbols):
        if kind == DECIMAL:
            after = _put_decimal(out, at, value)
        elif kind == BOOLEAN:
            out[at] = value
            after = at + 1
        else:
            after = varint.put(out, at, value)
    return after


@jit
def _write_row(program: Any, data: Any, row: int, ints: Any, bits: Any, spans: Any, out: Any, at: int) -> int:
    """Write one body; returns the next index, or -1 - k if field number k does not fit its schema."""
    for k in range(len(program)):
        kind, slot, null_branch = program[k, KIND], program[k, SLOT], program[k, NULL_BRANCH]
        if kind == DOUBLE:
            null = bits[slot, row] & ~_SIGN > _EXPONENT
        elif kind >= STRING:
            null = spans[slot, row, 1] == -1
        else:
            null = ints[slot, row] == NULL
        if null_branch >= 0:
            out[at] = 2 * null_branch if null else 2 - 2 * null_branch
            at += 1
        if null and null_branch >= 0:
            continue
        if kind == DOUBLE:
            number = bits[slot, row]
            at = _put_bits(out, at, number) if number & _EXPONENT != _EXPONENT else -1
        elif kind >= STRING:
            at = _put_span(out, at, data, spans[slot, row, 0], spans[slot, row, 1], kind)
        else:
            at = _put_integer(out, at, ints[slot, row], kind, program[k, SYMBOLS])
        if at < 0:
            return -1 - k
    return at


@njit(cache=True, error_model="numpy")
def encode(
    program: Any, prefix: Any, data: Any, values: Any, ints: Any, bits: Any, spans: Any, out: Any
) -> Any:
    """Write n records one after the other; returns (bytes written, first row refused or -1, its field).

    The arguments are those of ``decode``, except that ``values`` is written, and ``out``: uint8 with room for
    ``WIDEST`` bytes per field plus those of every string and array.
    """
    at = 0
    for row in range(len(values)):
        start = at
        at = _write_row(
            program, data, row, ints, bits, spans, out, put_bytes(out, at, prefix, 0, PREFIX_SIZE)
        )
        if at < 0:
            return start, row, -1 - at
        values[row, 0], values[row, 1] = start, at - start
    return at, -1, -1
