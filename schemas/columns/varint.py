"""Zigzag varints for functions that numba compiles: the bytes of ``schemas.varint``, in buffers of uint8.

Of the three readers ``get`` trusts its bytes, and the others check theirs: ``get_within`` that the number
ends in time, as in Kafka's log, and ``get_shortest`` also that it has its shortest form, as Avro's writers
give it, so that what was read is written again as it was. An index of -1 means refused; the number that
comes with it means nothing.

If this file changes, an entry point with ``cache=True`` that calls it is not recompiled: numba keys its disk
cache on the entry point's own file.
"""

from typing import Any

import numpy as np
from numba import njit

_MOST_BITS = 70  # ten bytes of seven bits hold an int64, with six bits left over

_jit = njit(error_model="numpy")


@_jit
def put(out: Any, at: int, number: Any) -> int:
    """Write an int64 in its shortest form, 1 to 10 bytes; returns the next index."""
    left = _zigzag(number)
    while left >= np.uint64(0x80):
        out[at] = np.uint8(left & np.uint64(0x7F)) | np.uint8(0x80)
        left >>= np.uint64(7)
        at += 1
    out[at] = left
    return at + 1


@_jit
def size(number: Any) -> int:
    """How many bytes ``put`` writes."""
    left, count = _zigzag(number), 1
    while left >= np.uint64(0x80):
        left >>= np.uint64(7)
        count += 1
    return count


@njit(inline="always")
def get(data: Any, at: int) -> Any:
    """(number, next index) of the number at ``at``, in any form; it must end within ``data``."""
    shift, raw = 0, np.uint64(0)
    while True:
        byte = np.int64(data[at])
        at += 1
        raw |= np.uint64(byte & 0x7F) << np.uint64(shift)
        if byte < 0x80:
            return _number(raw), at
        shift += 7


@_jit
def get_within(data: Any, at: int, stop: int) -> tuple[Any, int]:
    """(number, next index) of the number at ``at``, in any form of up to ten bytes.

    The index is -1 where it does not end before ``stop``, or ``at`` is negative.
    """
    if at < 0:
        return np.int64(0), -1
    raw, after, last, _ = _take(data, at, stop)
    return _number(raw), -1 if last >= 0x80 else after


@_jit
def get_shortest(data: Any, at: int, stop: int) -> tuple[Any, int]:
    """(number, next index) of the number at ``at``, in the form that ``put`` gives it.

    The index is -1 where it does not end before ``stop``, or has more bytes or bits than an int64 needs.
    ``at`` must not be negative.
    """
    raw, after, last, shift = _take(data, at, stop)
    refused = last >= 0x80 or (last == 0 and shift > 7) or (last > 1 and shift == _MOST_BITS)
    return _number(raw), -1 if refused else after


@_jit
def _take(data: Any, at: int, stop: int) -> tuple[Any, int, Any, int]:
    """(bits of the number, next index, last byte, bits taken); the last byte of one cut off is above 0x7F."""
    last: Any = np.int64(0x80)
    raw, shift = np.uint64(0), 0
    while last >= 0x80 and at < stop and shift < _MOST_BITS:
        last = np.int64(data[at])
        raw |= np.uint64(last & 0x7F) << np.uint64(shift)
        at += 1
        shift += 7
    return raw, at, last, shift


@_jit
def _zigzag(number: Any) -> Any:
    return np.uint64((number << 1) ^ (number >> 63))


@_jit
def _number(raw: Any) -> Any:
    return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))
