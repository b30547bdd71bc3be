"""Text written into byte buffers by numba functions: the parts that event ids and arrays are made of.

Each writes at ``at`` of ``out`` uint8 and returns the next place; that there is room is the caller's word.
An entry point with ``cache=True`` that calls them is not compiled anew when this file changes: numba keys
its disk cache on the entry point's own file.
"""

from typing import Any

import numpy as np

from tapedeck.schemas.columns.kernel import jit, put_bytes, put_varint

__all__ = ["put_bytes", "put_decimal", "put_hex", "put_varint"]


@jit
def put_decimal(out: Any, at: int, value: Any) -> int:
    """Write an int64 as ``str`` spells it: at most 20 bytes."""
    left = np.uint64(value)
    if value < 0:
        left = np.uint64(0) - left
        out[at] = ord("-")
        at += 1
    end, rest = at + 1, left // np.uint64(10)
    while rest > np.uint64(0):
        rest //= np.uint64(10)
        end += 1
    for place in range(end - 1, at - 1, -1):
        out[place] = np.uint8(48) + np.uint8(left % np.uint64(10))
        left //= np.uint64(10)
    return end


@jit
def put_hex(out: Any, at: int, raw: Any) -> int:
    """Write bytes (uint8; the 16 of an event id) as lower-case hexadecimal: two bytes for each."""
    to, two = np.uint64(at), np.uint64(2)
    for k in range(np.uint64(len(raw))):  # unsigned places: no look at negative ones, so it is vectorised
        high, low = raw[k] >> 4, raw[k] & 15
        out[to + two * k] = high + (48 if high < 10 else 87)
        out[to + two * k + np.uint64(1)] = low + (48 if low < 10 else 87)
    return at + 2 * len(raw)
