"""Wire bytes to columns and back, a batch at a time: what ``schemas.codec`` does record by record."""

import numpy as np

from schemas.codec import prefix_of
from schemas.columns import kernel
from schemas.columns.table import Bytes, Columns, Ints, frozen


def decode_columns(name: str, data: Bytes, spans: Ints) -> tuple[Columns, Ints]:
    """The records whose wire bytes lie at ``spans`` of ``data``, and the rows (int64) that were not read.

    ``data`` uint8; ``spans`` int64 (n, 2): start and length, length -1 for null. Not read, and null in every
    field, is a row of another schema id than the current, of bytes that ``schemas.codec.encode`` would not
    write, with text that is not ASCII, with a number at NULL or a decimal beyond 8 bytes: the caller asks
    ``schemas.codec.decode``, which reads it or raises its DeadLetter. Raises Fatal where ``supports`` is
    False.
    """
    found = Columns(name, len(spans), frozen(data, np.uint8))
    rejected = kernel.decode(
        found.layout.program,
        _prefix(name),
        found.data,
        frozen(spans, np.int64).reshape(-1, 2),
        found.int_block,
        found.float_block.view(np.uint64),
        found.span_block,
    )
    return found, rejected


def _prefix(name: str) -> Bytes:
    return np.frombuffer(prefix_of(name), dtype=np.uint8)
