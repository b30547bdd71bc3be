"""The names of the fields in which two values of one key, or two bodies of one record, differ."""

from typing import Any

import orjson

from tapedeck.schemas.readable import readable
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.frame import OPENED, unpack
from tapedeck.streams.topology import definition_of
from tapedeck.topics.catalogue import WATERMARK_KEY

_SHOWN = 60


def value_difference(task: TaskId, key: bytes, live: bytes, rebuilt: bytes) -> str | None:
    """How two framed values of a table differ; None if they do not. The epoch is not compared."""
    ours, other = unpack(live), unpack(rebuilt)
    if ours.cursors != other.cursors:
        inputs = task.spec.inputs
        told = "watermark label" if key == WATERMARK_KEY else "cursor"
        for rank, part in sorted(ours.cursors.keys() | other.cursors.keys()):
            here, there = ours.cursors.get((rank, part)), other.cursors.get((rank, part))
            if here != there:
                what = told if rank < OPENED else "opening" if rank == OPENED else "absence"
                place = rank % OPENED
                name = inputs[place] if place < len(inputs) else f"input {place}"
                return f"{what} of {name}/{part}: live {here}, rebuilt {there}"
    if ours.body != other.body:
        return body_difference(task, ours.body, other.body)
    return None


def body_difference(task: TaskId, live: bytes, rebuilt: bytes) -> str:
    """The first field of a state's body that differs."""
    named = definition_of(task.spec).difference
    if named is not None and len(live) == len(rebuilt):
        return named(live, rebuilt)
    try:
        found = json_difference(orjson.loads(live)[1], orjson.loads(rebuilt)[1])
    except (orjson.JSONDecodeError, ValueError, TypeError, LookupError):
        found = None
    return found or _bytes_difference(live, rebuilt)


def record_difference(schema: str, live: dict[str, Any], rebuilt: dict[str, Any]) -> str:
    """The fields of two bodies of one schema that differ, with both values."""
    ours, other = readable(schema, live), readable(schema, rebuilt)
    return json_difference(ours, other) or "the record keys, or bytes that decode to the same values"


def json_difference(live: Any, rebuilt: Any) -> str | None:
    """Every path at which two JSON values differ, a few of them."""
    found = list(_paths(live, rebuilt, ""))
    told = "; ".join(f"{path or 'value'}: live {_short(a)}, rebuilt {_short(b)}" for path, a, b in found[:4])
    more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
    return told + more if found else None


def _paths(live: Any, rebuilt: Any, path: str) -> Any:
    if isinstance(live, dict) and isinstance(rebuilt, dict):
        for key in sorted(live.keys() | rebuilt.keys()):
            inner = f"{path}.{key}" if path else str(key)
            yield from _paths(live.get(key), rebuilt.get(key), inner)
    elif isinstance(live, list) and isinstance(rebuilt, list) and len(live) == len(rebuilt):
        for place, (a, b) in enumerate(zip(live, rebuilt, strict=True)):
            yield from _paths(a, b, f"{path}[{place}]")
    elif live != rebuilt:
        yield path, live, rebuilt


def _short(value: Any) -> str:
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _bytes_difference(live: bytes, rebuilt: bytes) -> str:
    if len(live) != len(rebuilt):
        return f"length: live {len(live)} bytes, rebuilt {len(rebuilt)}"
    at = next((k for k, (a, b) in enumerate(zip(live, rebuilt, strict=True)) if a != b), 0)
    return f"byte {at}: live {live[at : at + 8].hex()}, rebuilt {rebuilt[at : at + 8].hex()}"
