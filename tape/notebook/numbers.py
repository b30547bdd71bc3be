"""Which texts a column of a block has, and which records have one of some keys, without polars."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tapedeck.streams.blocks import Block

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

FEW = 128
"""With at most this many different texts in a column, each is created once and referenced by number."""

_TABLE = 1024  # a power of two, several times FEW, so that probes stay short
_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)


@njit(nogil=True)
def _same(data: Any, one: int, other: int, size: int) -> bool:
    first, second = np.uint64(one), np.uint64(other)
    unlike = np.uint8(0)
    for k in range(np.uint64(size)):  # unsigned indexes and no early exit, so that it is vectorized
        unlike |= data[first + k] ^ data[second + k]
    return bool(unlike == 0)


@njit(cache=True, nogil=True)
def _number(data: Any, spans: Any, few: int) -> Any:
    """(number of each row's text int32, the first row of each text); no numbers if there are many texts."""
    n = len(spans)
    codes = np.empty(n, dtype=np.int32)
    firsts = np.empty(few, dtype=np.int64)
    table = np.full(_TABLE, -1, dtype=np.int64)
    count, before = 0, -1
    for row in range(n):
        start, size = spans[row, 0], spans[row, 1]
        if size < 0:
            codes[row] = -1
            continue
        if before >= 0 and spans[before, 1] == size and _same(data, start, spans[before, 0], size):
            codes[row] = codes[before]
            continue
        seen = _BASIS
        for k in range(start, start + size):
            seen = (seen ^ np.uint64(data[k])) * _PRIME
        place = np.int64((seen ^ (seen >> np.uint64(32))) & np.uint64(_TABLE - 1))
        while True:
            code = table[place]
            if code < 0:
                if count == few:
                    return codes[:0], firsts[:0]
                table[place] = code = count
                firsts[count] = row
                count += 1
                break
            first = firsts[code]
            if spans[first, 1] == size and _same(data, start, spans[first, 0], size):
                break
            place = (place + 1) & (_TABLE - 1)
        codes[row] = code
        before = row
    return codes, firsts[:count]


def numbered(data: Bytes, spans: Ints) -> tuple[NDArray[np.int32], list[bytes]] | None:
    """(number of each row's text, -1 for null; the texts by number), or None if they are many."""
    if not len(spans):
        return np.empty(0, dtype=np.int32), []
    codes, firsts = _number(data, spans, FEW)
    if not len(codes):
        return None
    places = spans[firsts].tolist()
    return codes, [data[start : start + size].tobytes() for start, size in places]


def of_keys(block: Block, keys: frozenset[bytes]) -> NDArray[np.bool_]:
    """Which records of ``block`` have one of ``keys``."""
    few = numbered(block.data, block.keys)
    if few is None:
        return np.array([block.key(row) in keys for row in range(len(block))], dtype=np.bool_)
    codes, texts = few
    # The last entry is for rows without a key, whose number is -1.
    wanted = np.array([text in keys for text in texts] + [False])
    found: NDArray[np.bool_] = wanted[codes]
    return found
