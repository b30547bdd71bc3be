"""Where two values of one key, or two bodies of one record, differ: by the name of the field."""

from typing import Any

import numpy as np
import orjson

from tapedeck.schemas.readable import readable
from tapedeck.streams.bulk.job import TaskId
from tapedeck.streams.frame import unpack
from tapedeck.streams.stages.features import layout as L
from tapedeck.topics.catalogue import WATERMARK_KEY

_SHOWN = 60

_BLOCK = {
    L.B_DATE: "date", L.B_OPEN: "open", L.B_CLOSE: "close", L.B_PREV_COUNT: "previous count",
    L.B_COUNT: "count", L.B_PREV_FIRST_OPEN: "previous first open",
    L.B_PREV_LAST_CLOSE: "previous last close",
    L.B_FIRST_OPEN: "first open", L.B_LAST_CLOSE: "last close", L.B_OR_HIGH: "opening range high",
    L.B_OR_LOW: "opening range low", L.B_VALUE_HI: "sum of value", L.B_VALUE_LO: "sum of value, low part",
    L.B_VOLUME_HI: "sum of volume", L.B_VOLUME_LO: "sum of volume, low part",
}  # fmt: skip
_RECURSIVE = ("gain", "loss", "fast", "slow", "signal", "ATR")
_HEAD = ("format", "fingerprint", "bars", "revision")
_RINGS = (
    (L.RING_T, "t"), (L.RING_REVISION, "revision"), (L.RING_CLOSE, "close"), (L.RING_VOLUME, "volume"),
    (L.RING_RETURN, "return"),
)  # fmt: skip
_EDGES = ((L.EDGE_HIGH, "high"), (L.EDGE_LOW, "low"), (L.EDGE_OPEN, "open"))
_WHOLE = (L.RING_T, L.RING_REVISION)


def value_difference(task: TaskId, key: bytes, live: bytes, rebuilt: bytes) -> str | None:
    """How two framed values of a table differ; None where they do not. The epoch is not compared."""
    ours, other = unpack(live), unpack(rebuilt)
    if ours.cursors != other.cursors:
        inputs = task.spec.inputs
        what = "watermark label" if key == WATERMARK_KEY else "cursor"
        for rank, part in sorted(ours.cursors.keys() | other.cursors.keys()):
            here, there = ours.cursors.get((rank, part)), other.cursors.get((rank, part))
            if here != there:
                name = inputs[rank] if rank < len(inputs) else f"input {rank}"
                return f"{what} of {name}/{part}: live {here}, rebuilt {there}"
    if ours.body != other.body:
        return body_difference(task, ours.body, other.body)
    return None


def body_difference(task: TaskId, live: bytes, rebuilt: bytes) -> str:
    """The first field of a state's body that differs."""
    if task.stage == "features" and len(live) == len(rebuilt) == L.STATE_BYTES:
        return _window_difference(live, rebuilt)
    try:
        found = json_difference(orjson.loads(live)[1], orjson.loads(rebuilt)[1])
    except (orjson.JSONDecodeError, ValueError, TypeError, LookupError):
        found = None
    return found or _bytes_difference(live, rebuilt)


def record_difference(schema: str, live: dict[str, Any], rebuilt: dict[str, Any]) -> str:
    """The fields of two bodies of one schema that differ, with both values."""
    ours, other = readable(schema, live), readable(schema, rebuilt)
    return json_difference(ours, other) or "the record keys, or bytes that decode alike"


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


def _window_difference(live: bytes, rebuilt: bytes) -> str:
    ours, other = (np.frombuffer(each, dtype=np.int64) for each in (live, rebuilt))
    slots = np.flatnonzero(ours != other)
    slot = int(slots[0])
    here, there = (_slot_value(slot, each) for each in (ours, other))
    more = f"; {len(slots)} slots differ" if len(slots) > 1 else ""
    return f"window slot {slot} ({slot_name(slot)}): live {here}, rebuilt {there}{more}"


def _slot_value(slot: int, values: Any) -> object:
    whole = slot < L.HEAD or any(start <= slot < start + L.RING for start in _WHOLE)
    block = (slot - L.FOLD) % L.BLOCK if L.FOLD <= slot < L.RING_T else None
    if whole or (block is not None and block < L.B_PREV_FIRST_OPEN):
        return int(values[slot])
    return float(values.view(np.float64)[slot])


def slot_name(slot: int) -> str:
    """What a slot of the feature window holds."""
    if slot < L.HEAD:
        return f"head, {_HEAD[slot]}"
    if slot < L.RING_T:
        block, at = divmod(slot - L.FOLD, L.BLOCK)
        where = "fold" if block == 0 else f"before bar {block - 1} of the newest {L.EDGE}"
        return f"{where}, {_block_name(at)}"
    for start, name in _RINGS:
        if start <= slot < start + L.RING:
            return f"ring of {name}, place {slot - start}"
    for start, name in _EDGES:
        if start <= slot < start + L.EDGE:
            return f"edge of {name}, place {slot - start}"
    return "unknown"


def _block_name(at: int) -> str:
    if at in _BLOCK:
        return _BLOCK[at]
    seeded = "previous" if at < L.B_NEW else "current"
    return f"{_RECURSIVE[(at - L.B_OLD) % L.RECURSIVE]} seeded at the {seeded} session"
