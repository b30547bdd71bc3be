"""From the fields of a record's schema to the columns of a frame."""

from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from tapedeck.tape.notebook.fields import columns_of, logical, without_null

UTC = "UTC"
SCALE = 6
NAMESPACE = "tapedeck."
KIND = "kind"
Kind = pl.DataType | DataTypeClass


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
