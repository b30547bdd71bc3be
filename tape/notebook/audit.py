"""What a topic held as of a moment, from the audit store, for moments that the log no longer holds."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from tapedeck.connectors.postgres.base import table_name
from tapedeck.connectors.postgres.connection import connect
from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.guard import is_record_union
from tapedeck.tape.notebook import frames, times
from tapedeck.tape.notebook.fields import logical, without_null
from tapedeck.tape.notebook.query import Query


def newest(url: str, prefix: str, query: Query, at: int) -> pl.DataFrame:
    """The newest record of each record key with a time of ``at`` (microseconds) or before.

    Raises Fatal if the store starts later or does not hold the topic, Retry if it does not answer.
    """
    name = query.topic.name
    if not query.topic.audited:
        raise Fatal("this topic is not in the audit store", value=name, remedy="ask for a later moment")
    # The reader role sees only ledgers, which omit fields.
    with connect(url, prefix) as connection:
        connection.read_only = True
        try:
            rows = connection.execute(_statement(name, query.topic.key), [times.as_utc(at)]).fetchall()
        except psycopg.errors.UndefinedTable:
            remedy = "fill it with `tape sink`, or ask for a later moment"
            raise Fatal("the audit store has no tables of this prefix", value=prefix, remedy=remedy) from None
    if not rows:
        raise Fatal(
            f"neither the log nor the audit store holds {name} as of that moment",
            value=times.shown(at),
            remedy="ask for a later one; the sink stores what is in the log when it first runs",
        )
    document = load_schema(query.schema)
    bodies = [_read(document, payload) for payload, *_ in rows]
    made = frames.of_bodies(query.schema, bodies, [(p, o) for _, p, o in rows], query.wanted, query.zone)
    return made.sort(query.time, frames.PARTITION, frames.OFFSET).select(query.columns)


def _statement(name: str, key: Sequence[str]) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, key))
    newest_first = sql.SQL("event_time DESC, first_offset DESC")
    return sql.SQL("SELECT {only} payload, first_partition, first_offset FROM {table}"
                   " WHERE event_time <= %s ORDER BY {order} {limit}").format(
        only=sql.SQL("DISTINCT ON ({})").format(columns) if key else sql.SQL(""),
        table=sql.Identifier(table_name(name)),
        order=sql.SQL("{}, {}").format(columns, newest_first) if key else newest_first,
        limit=sql.SQL("") if key else sql.SQL("LIMIT 1"),
    )  # fmt: skip


def _read(node: Any, value: Any) -> Any:
    """A value of the store's JSON as ``schemas.codec.decode`` gives it."""
    if value is None:
        return None
    if is_record_union(node):
        raise Fatal("the audit store cannot represent a union of records", value=str(value)[:64])
    node = without_null(node)
    if logical(node) == "decimal":
        return Decimal(value)
    if node == "double":
        return float(value)
    if not isinstance(node, dict):
        return value
    match node["type"]:
        case "record":
            return {field["name"]: _read(field["type"], value[field["name"]]) for field in node["fields"]}
        case "array":
            return [_read(node["items"], item) for item in value]
    return value
