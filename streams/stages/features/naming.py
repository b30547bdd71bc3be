"""Where two feature windows differ, by the name of the slot."""

from typing import Any

import numpy as np

from tapedeck.streams.stages.features import layout as L

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


def window_difference(live: bytes, rebuilt: bytes) -> str:
    """The first slot in which two states of one length differ, with both values."""
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
