"""Text written into byte buffers by numba functions: the parts of event ids and arrays.

Each writes at ``at`` of ``out`` uint8 and returns the next index. The caller makes sure that there is room.
If this file changes, an entry point with ``cache=True`` that calls it is not recompiled: numba keys its disk
cache on the entry point's own file.
"""

from typing import Any

import numpy as np

from tapedeck.schemas.columns.kernel import jit, put_bytes

__all__ = ["put_bytes", "put_decimal", "put_hex"]


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
    """Write bytes (uint8; the 16 of an event id) as lower-case hexadecimal, two characters each."""
    to, two = np.uint64(at), np.uint64(2)
    for k in range(np.uint64(len(raw))):  # unsigned: no check for negative indices, so it is vectorised
        high, low = raw[k] >> 4, raw[k] & 15
        out[to + two * k] = high + (48 if high < 10 else 87)
        out[to + two * k + np.uint64(1)] = low + (48 if low < 10 else 87)
    return at + 2 * len(raw)
