"""From the fields of a record's schema to the columns of a frame."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.guard import is_record_union

UTC = "UTC"
SCALE = 6
NAMESPACE = "tapedeck."
KIND = "kind"
Kind = pl.DataType | DataTypeClass


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


def dtype(node: Any, zone: str = UTC) -> Kind:
    """The polars type of a schema's node: what ``td.tap`` gives.

    Times are Datetime("us", zone), dates Date, decimals Decimal(38, 6), enums Enum, integers Int64, nested
    records Struct, arrays List, maps List of Struct(key, value). A union of records is a Struct: ``kind``
    names the branch, and each branch with fields is a Struct of its own, null unless it is the one.
    """
    node = without_null(node)
    match logical(node):
        case "timestamp-micros":
            return pl.Datetime("us", zone)
        case "date":
            return pl.Date()
        case "decimal":
            return pl.Decimal(38, SCALE)
    if isinstance(node, list):
        kinds = pl.Enum([branch["name"] for branch in node])
        inner = {branch["name"]: dtype(branch, zone) for branch in node if branch["fields"]}
        return pl.Struct({KIND: kinds, **inner})
    if isinstance(node, str):
        return _PLAIN[node]
    match node["type"]:
        case "enum":
            return pl.Enum(node["symbols"])
        case "record":
            return pl.Struct({field["name"]: dtype(field["type"], zone) for field in node["fields"]})
        case "array":
            return pl.List(dtype(node["items"], zone))
        case "map":
            return pl.List(pl.Struct({"key": pl.String(), "value": dtype(node["values"], zone)}))
    return _PLAIN[node["type"]]


def stored(node: Any) -> Kind:
    """The type in which Python values of a node are passed to polars: times and dates as integers."""
    return _as_stored(dtype(node))


def _as_stored(kind: Kind) -> Kind:
    match kind:
        case pl.Datetime() | pl.Date():
            return pl.Int64()
        case pl.Enum():
            return pl.String()
        case pl.List():
            return pl.List(_as_stored(kind.inner))
        case pl.Struct():
            return pl.Struct({field.name: _as_stored(field.dtype) for field in kind.fields})
    return kind


_PLAIN: dict[str, pl.DataType] = {
    "long": pl.Int64(),
    "int": pl.Int64(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
}


def plain(node: Any, value: Any) -> Any:
    """A decoded value in the form for polars: unions of records and maps become dicts and lists of dicts."""
    if value is None:
        return None
    node = without_null(node)
    if isinstance(node, list):
        name, inner = value
        short = name.removeprefix(NAMESPACE)
        branch = next(each for each in node if each["name"] == short)
        return {KIND: short, short: plain(branch, inner)} if branch["fields"] else {KIND: short}
    if not isinstance(node, dict):
        return value
    match node["type"]:
        case "record":
            return {field["name"]: plain(field["type"], value[field["name"]]) for field in node["fields"]}
        case "array":
            return [plain(node["items"], item) for item in value]
        case "map":
            return [{"key": key, "value": plain(node["values"], item)} for key, item in sorted(value.items())]
    return value


def schema_of(name: str, zone: str = UTC) -> dict[str, Kind]:
    """The columns that a frame of records of ``name`` has, in order, without those of the log."""
    return {column.name: dtype(column.node, zone) for column in columns_of(name)}
