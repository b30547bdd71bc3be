"""Strings of a block as polars columns, without one Python object per row."""

from typing import Any

import numpy as np
import polars as pl
from numba import njit

from tapedeck.schemas.columns import varint
from tapedeck.tape.notebook.numbers import Bytes, Ints, numbered


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
