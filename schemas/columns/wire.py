"""Wire bytes to columns and back, in batches: what ``schemas.codec`` does record by record."""

import numpy as np

from tapedeck.schemas.codec import prefix_of
from tapedeck.schemas.columns import kernel
from tapedeck.schemas.columns.layout import Field
from tapedeck.schemas.columns.table import ABSENT, Bytes, Columns, Ints, frozen
from tapedeck.schemas.errors import DeadLetter, Fatal


def decode_columns(name: str, data: Bytes, spans: Ints) -> tuple[Columns, Ints]:
    """The records whose wire bytes are at ``spans`` of ``data``, and the rows (int64) that were not read.

    ``data`` uint8; ``spans`` int64 (n, 2): start and length, length -1 for null. A row is not read, and is
    null in every field, if its schema id is not the current one, if ``schemas.codec.encode`` would not write
    its bytes, or if it has text that is not ASCII, a number at NULL or a decimal beyond 8 bytes. The caller
    passes it to ``schemas.codec.decode``, which reads it or raises its DeadLetter. Raises Fatal if
    ``supports`` is False.
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


def encode_columns(name: str, columns: Columns) -> tuple[Bytes, Ints]:
    """The wire bytes of all records, one after the other, and the span of each: int64 (n, 2).

    The bytes are those of ``schemas.codec.encode``. The caller makes sure that strings are UTF-8.
    Raises DeadLetter (NOT_ENCODABLE or NOT_FINITE) naming the first field that does not fit, and its row.
    """
    if columns.name != name:
        raise Fatal(f"these are not columns of {name}", value=columns.name)
    spans = np.empty((columns.n, 2), dtype=np.int64)
    out = np.empty(_room(columns), dtype=np.uint8)
    size, row, field = kernel.encode(
        columns.layout.program,
        _prefix(name),
        frozen(columns.data, np.uint8),
        spans,
        columns.int_block,
        columns.float_block.view(np.uint64),
        columns.span_block,
        out,
    )
    if row >= 0:
        raise _refused(columns, columns.layout.fields[field], row)
    return out[:size], spans


def _room(columns: Columns) -> int:
    """An upper bound on the records' bytes. An invalid span is rejected before it is written."""
    text = columns.span_block[:, : columns.n, 1].clip(0, len(columns.data)).sum()
    fixed = kernel.PREFIX_SIZE + kernel.WIDEST * len(columns.layout.fields)
    return int(text) + fixed * columns.n


def _refused(columns: Columns, field: Field, row: int) -> DeadLetter:
    value = columns.column(field)[row].tolist()
    path = f"{columns.name}.{field.name} of row {row}"
    if field.kind == kernel.DOUBLE:
        what = "is not a finite number; unknown is null, where the field takes null"
        return DeadLetter(f"{path} {what}", value=value, reason="NOT_FINITE")
    if value == kernel.NULL or (isinstance(value, list) and value[1] == ABSENT):
        return DeadLetter(f"{path} is null, and the field is never null", reason="NOT_ENCODABLE")
    wanted = {
        kernel.INT: "an integer of 32 bits",
        kernel.BOOLEAN: "0 or 1",
        kernel.ENUM: f"the index of one of {', '.join(field.symbols)}",
        kernel.STRING: "a span (start, length) of the bytes in data",
        kernel.STRINGS: "the span of an array of strings in Avro, one block and a 0",
    }
    return DeadLetter(f"{path} is not {wanted[field.kind]}", value=value, reason="NOT_ENCODABLE")


def _prefix(name: str) -> Bytes:
    return np.frombuffer(prefix_of(name), dtype=np.uint8)
