"""A decoded record as people read it: ISO 8601 times, decimals as text, unions by their record's name."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tapedeck.schemas.codec import Body, load_schema
from tapedeck.schemas.guard import is_record_union

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(micros: int) -> str:
    """UTC microseconds as ISO 8601 with Z."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def iso_date(days: int) -> str:
    """Days since the epoch as an ISO 8601 date."""
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()


def readable(name: str, body: Body) -> dict[str, Any]:
    """``body`` of schema ``name`` as JSON values. A union of records is ``{"RecordName": {...}}``."""
    result: dict[str, Any] = _readable(load_schema(name), body)
    return result


def _readable(node: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(node, list):
        if is_record_union(node):
            name, inner = value
            branch = next(b for b in node if isinstance(b, dict) and f"tapedeck.{b['name']}" == name)
            return {branch["name"]: _readable(branch, inner)}
        return _readable(next(branch for branch in node if branch != "null"), value)
    if not isinstance(node, dict):
        return value
    if "logicalType" in node:
        return _logical(node["logicalType"], value)
    match node["type"]:
        case "record":
            return {field["name"]: _readable(field["type"], value[field["name"]]) for field in node["fields"]}
        case "array":
            return [_readable(node["items"], item) for item in value]
        case "map":
            return {key: _readable(node["values"], item) for key, item in value.items()}
    return value


def _logical(kind: str, value: Any) -> Any:
    try:
        if kind == "timestamp-micros":
            return iso_time(value)
        if kind == "date":
            return iso_date(value)
    except OverflowError:
        return value
    return str(value) if isinstance(value, Decimal) else value
