"""The fields of a record's schema, without polars."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.guard import is_record_union


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a record: its node in the schema (without null), whether it may be null, its doc."""

    name: str
    node: Any
    nullable: bool
    doc: str


@cache
def columns_of(schema: str) -> tuple[Column, ...]:
    """The fields of ``schema`` in their order."""
    return tuple(
        Column(f["name"], without_null(f["type"]), _nullable(f["type"]), f.get("doc", ""))
        for f in load_schema(schema)["fields"]
    )


def time_field(schema: str) -> str:
    """The field that a record's Kafka time is taken from: ``event_time``, or its first time."""
    names = [column.name for column in columns_of(schema) if logical(column.node) == "timestamp-micros"]
    return "event_time" if "event_time" in names else names[0]


def _nullable(node: Any) -> bool:
    return isinstance(node, list) and "null" in node


def without_null(node: Any) -> Any:
    """The one branch of a union with null; a union of records stays a list."""
    if not isinstance(node, list) or is_record_union(node):
        return node
    return next(branch for branch in node if branch != "null")


def logical(node: Any) -> str | None:
    """The logical type of a node, if it has one."""
    found = node.get("logicalType") if isinstance(node, dict) else None
    return None if found is None else str(found)
