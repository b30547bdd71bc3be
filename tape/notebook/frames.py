"""Records as polars frames: by columns if the schema allows it, else row by row."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tapedeck.schemas.codec import Body
from tapedeck.schemas.columns import NULL, Columns
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import Message
from tapedeck.tape.notebook.fields import columns_of, logical
from tapedeck.tape.notebook.spans import lists, texts
from tapedeck.tape.notebook.types import SCALE, UTC, Kind, dtype, plain, schema_of, stored

PARTITION, OFFSET = "_partition", "_offset"
LOG_COLUMNS: dict[str, Kind] = {PARTITION: pl.Int32(), OFFSET: pl.Int64()}
_UNIT = Decimal(1).scaleb(-SCALE)


def empty(schema: str, wanted: Sequence[str], zone: str = UTC) -> pl.DataFrame:
    """No rows, with the columns that a frame of ``wanted`` fields has."""
    kinds = schema_of(schema, zone) | LOG_COLUMNS
    return pl.DataFrame(schema={name: kinds[name] for name in (*wanted, *LOG_COLUMNS)})


def of_bodies(
    schema: str, bodies: Sequence[Body], places: Iterable[tuple[int, int]], wanted: Sequence[str], zone: str
) -> pl.DataFrame:
    """The frame of decoded bodies; ``places`` are their (partition, offset)."""
    nodes = {column.name: column.node for column in columns_of(schema)}
    made = {}
    for name in wanted:
        node = nodes[name]
        values = [plain(node, body[name]) for body in bodies]
        made[name] = pl.Series(name, values, dtype=stored(node)).cast(dtype(node, zone))
    partitions, offsets = zip(*places, strict=True) if bodies else ((), ())
    made[PARTITION] = pl.Series(partitions, dtype=pl.Int32)
    made[OFFSET] = pl.Series(offsets, dtype=pl.Int64)
    return pl.DataFrame(made)


def of_columns(
    columns: Columns, partition: int, offsets: NDArray[np.int64], wanted: Sequence[str], zone: str
) -> pl.DataFrame:
    """The frame of ``columns``, whose rows are at ``offsets`` of one partition."""
    nodes = {column.name: column for column in columns_of(columns.name)}
    made = [_column(columns, name, nodes[name].node, nodes[name].nullable, zone) for name in wanted]
    log = [
        pl.lit(pl.Series(PARTITION, np.full(len(offsets), partition, dtype=np.int32))),
        pl.lit(pl.Series(OFFSET, offsets)),
    ]
    return pl.select(*made, *log)


def _column(columns: Columns, path: str, node: Any, nullable: bool, zone: str) -> pl.Expr:
    """One column, named by the end of ``path``: an expression over no column."""
    name = path.rpartition(".")[2]
    if path in columns.floats:
        return pl.lit(pl.Series(name, columns.floats[path], nan_to_null=nullable))
    if path in columns.spans:
        read = texts if node == "string" else lists
        return read(columns.data, columns.spans[path]).alias(name)
    if path in columns.ints:
        return _typed(columns.ints[path], node, nullable, zone).alias(name)
    inner = (
        _column(columns, f"{path}.{field['name']}", field["type"], True, zone) for field in node["fields"]
    )
    return pl.struct(*inner).alias(name)


def _typed(numbers: NDArray[np.int64], node: Any, nullable: bool, zone: str) -> pl.Expr:
    kind = dtype(node, zone)
    made = pl.lit(pl.Series(numbers))
    if nullable:
        made = pl.when(made != NULL).then(made)
    if logical(node) == "decimal":
        return (made.cast(pl.Decimal(38, 0)) * _UNIT).cast(kind)
    if isinstance(kind, pl.Enum):
        return pl.lit(pl.Series(kind.categories.to_list(), dtype=kind)).gather(made)
    return made if kind == pl.Int64 else made.cast(kind)


RAW: dict[str, Kind] = {
    "time": pl.Datetime("us", UTC),
    "key": pl.Binary(),
    "value": pl.Binary(),
    "headers": pl.List(pl.Struct({"name": pl.String(), "content": pl.Binary()})),
    **LOG_COLUMNS,
}
"""The columns of raw records: watermarks included, nothing decoded."""


def of_messages(messages: Iterable[Message], zone: str = UTC) -> pl.DataFrame:
    """The frame of records as they are: Kafka time, key, value and headers."""
    rows = [
        (
            m.timestamp * 1000,
            m.key,
            m.value,
            [{"name": name, "content": content} for name, content in m.headers],
            m.partition,
            m.offset,
        )
        for m in messages
    ]
    made = pl.DataFrame(rows, schema={**RAW, "time": pl.Int64()}, orient="row")
    return made.with_columns(pl.col("time").cast(pl.Datetime("us", zone)))


def chosen(block: Block, rows: NDArray[Any]) -> Block:
    """The records of ``block`` at ``rows`` (a mask or places), over the same bytes."""
    return Block(
        block.topic, block.partition, block.data, block.offsets[rows], block.timestamps[rows],
        block.keys[rows], block.values[rows], block.headers[rows],
    )  # fmt: skip
