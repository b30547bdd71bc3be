"""The audit store's tables for one test, and records to fill them with."""

from decimal import Decimal
from typing import Any

from tapedeck.connectors.postgres.connection import READ_ROLE, connect
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.store import Store, Written
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import topic

# 2023-11-14 22:14 UTC: the evening of a New York session.
T = 1_700_000_040_000_000
SECOND = 1_000_000


def schema_of(name: str) -> str:
    """The record that a topic holds."""
    schema = topic(name).schema
    assert schema is not None
    return schema


class Schema:
    """One test's tables, and short ways to fill and read them."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix
        self.offset = 0

    def put(self, name: str, *rows: dict[str, Any]) -> Written:
        target, written = maps([name])[name], Written()
        with connect(self.url, self.prefix) as connection, connection.transaction():
            Store(connection).write(target, [self._message(name, body) for body in rows], written)
        return written

    def _message(self, name: str, body: dict[str, Any]) -> Message:
        self.offset += 1
        return Message(name, 0, self.offset, 0, b"k", encode(schema_of(name), body), ())

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        with connect(self.url, self.prefix, role=READ_ROLE) as connection:
            return connection.execute(statement.encode()).fetchall()

    def names(self, kind: str) -> set[str]:
        with connect(self.url, self.prefix, role=None) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
                " AND relkind = %s",
                (kind,),
            )
            return {row[0] for row in found}


def record(name: str, **given: Any) -> dict[str, Any]:
    """A record of ``name`` whose other fields are null, empty or the first symbol."""

    def blank(kind: Any) -> Any:
        if isinstance(kind, list):
            return None if "null" in kind else blank(kind[0])
        kind_name = kind["type"] if isinstance(kind, dict) else kind
        if kind_name == "enum":
            return kind["symbols"][0]
        if kind_name == "record":
            return {field["name"]: blank(field["type"]) for field in kind["fields"]}
        empty = {"string": "", "int": 0, "long": 0, "double": 0.0, "boolean": False, "array": []}
        return empty.get(kind_name, Decimal(0))

    fields = load_schema(name)["fields"]
    body = {field["name"]: blank(field["type"]) for field in fields} | {"event_time": T} | given
    if "event_id" not in given:
        body["event_id"] = "|".join(str(given[key]) for key in sorted(given))
    if "config_digest" in body and "config_digest" not in given:
        body["config_digest"] = "cafe"
    return body
