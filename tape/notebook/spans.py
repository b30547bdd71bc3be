"""Strings of a block as polars columns, without one Python object per row."""

from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from tapedeck.schemas.columns import varint
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


@njit(cache=True, nogil=True)
def _counts(data: Any, spans: Any) -> Any:
    """How many strings each array has, of the raw Avro bytes of arrays in one block."""
    found = np.zeros(len(spans), dtype=np.int64)
    for row in range(len(spans)):
        if spans[row, 1] > 0:
            found[row], _ = varint.get(data, spans[row, 0])
    return found


@njit(cache=True, nogil=True)
def _items(data: Any, spans: Any, counts: Any, total: int) -> Any:
    found = np.empty((total, 2), dtype=np.int64)
    at_item = 0
    for row in range(len(spans)):
        if counts[row] == 0:
            continue
        _, at = varint.get(data, spans[row, 0])
        for _ in range(counts[row]):
            size, at = varint.get(data, at)
            found[at_item, 0], found[at_item, 1] = at, size
            at_item += 1
            at += size
    return found


@njit(cache=True, nogil=True)
def _pack(data: Any, spans: Any) -> Any:
    """(the bytes of all spans in sequence, where each begins): polars copies what it is given."""
    starts = np.empty(len(spans), dtype=np.int64)
    total = 0
    for row in range(len(spans)):
        starts[row] = total
        total += max(0, spans[row, 1])
    packed = np.empty(total, dtype=np.uint8)
    for row in range(len(spans)):
        start, to = np.uint64(spans[row, 0]), np.uint64(starts[row])
        for k in range(np.uint64(max(0, spans[row, 1]))):
            packed[to + k] = data[start + k]
    return packed, starts


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


def texts(data: Bytes, spans: Ints) -> pl.Expr:
    """String; ``spans`` int64 (n, 2) of UTF-8 bytes in ``data``, length -1 for null.

    An expression over no column: polars evaluates all columns of a block at once, which is much cheaper.
    """
    few = numbered(data, spans)
    if few is not None:
        codes, known = few
        made = pl.lit(pl.Series([text.decode() for text in known], dtype=pl.String))
        picks = pl.Series(codes)
        return made.gather(picks.set(picks < 0, None) if (codes < 0).any() else picks)
    packed, starts = _pack(data, spans)
    sizes = spans[:, 1]
    whole = pl.lit(packed.tobytes(), dtype=pl.Binary)
    cut = whole.bin.slice(pl.lit(pl.Series(starts)), pl.lit(pl.Series(np.maximum(sizes, 0)))).cast(pl.String)
    return pl.when(pl.lit(pl.Series(sizes >= 0))).then(cut) if (sizes < 0).any() else cut


def lists(data: Bytes, spans: Ints) -> pl.Expr:
    """List of String; ``spans`` int64 (n, 2) of the raw Avro bytes of arrays of strings, length -1 for null.

    Like ``texts``.
    """
    there = spans[:, 1] >= 0
    made = _lists(data, spans)
    return made if there.all() else pl.when(pl.lit(pl.Series(there))).then(made)


def _lists(data: Bytes, spans: Ints) -> pl.Expr:
    """``lists``, null as an empty list."""
    counts = _counts(data, spans)
    n, total = len(spans), int(counts.sum())
    if not total:
        return pl.lit(pl.Series([[]] * n, dtype=pl.List(pl.String)))
    items = texts(data, _items(data, spans, counts, total))
    if bool((counts == counts[0]).all()):
        return items.reshape((n, int(counts[0]))).arr.to_list()
    starts = pl.lit(pl.Series(np.cumsum(counts) - counts))
    return items.implode().list.slice(starts, pl.lit(pl.Series(counts)))
