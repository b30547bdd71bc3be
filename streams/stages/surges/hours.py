"""The state of one symbol: its mentions by hour and scope, as far back as a baseline goes.

Layout: version u8, newest hour u32; then by hour and scope: hour u32, scope u8, as_of u32, mentions u32,
authors u32, event_id 16 bytes. Hours and minutes are whole ones since the epoch.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.surges.reasons import SurgeReason

STATE_VERSION = 1
HOUR_US = 60 * MINUTE_US
SCOPES = ("NEWS", "SOCIAL")
_HEAD = struct.Struct("<BI")
_ROW = struct.Struct("<IBIII16s")


class Mentioned(NamedTuple):
    """The mentions of one hour and scope, as a record gave them. ``scope`` is an index of SCOPES."""

    hour: int
    scope: int
    as_of: int
    mentions: int
    authors: int
    event_id: bytes


class Hours:
    """The hours of one symbol."""

    def __init__(self, state: bytes | None) -> None:
        self._rows: dict[tuple[int, int], Mentioned] = {}
        if state:
            newest_hour(state)
            rows = (Mentioned(*row) for row in _ROW.iter_unpack(state[_HEAD.size :]))
            self._rows = {(row.hour, row.scope): row for row in rows}

    def packed(self) -> bytes:
        """The state; empty without an hour."""
        if not self._rows:
            return b""
        rows = sorted(self._rows.values())
        return _HEAD.pack(STATE_VERSION, rows[-1].hour) + b"".join(_ROW.pack(*row) for row in rows)

    def of(self, hour: int) -> list[Mentioned]:
        """The mentions in ``hour``, by scope."""
        places = ((hour, scope) for scope in range(len(SCOPES)))
        return [self._rows[place] for place in places if place in self._rows]

    def from_to(self, first: int, until: int) -> Iterator[int]:
        """The hours of ``first`` to ``until`` that have records, in order."""
        yield from sorted({hour for hour, _ in self._rows if first <= hour < until})

    def apply(self, body: dict[str, Any], floor: int) -> SurgeReason | None:
        """Take a ``mentions`` record; the reason if it changes nothing. Hours before ``floor`` are let go."""
        row = Mentioned(
            body["hour"] // HOUR_US,
            SCOPES.index(body["scope"]),
            body["as_of"] // MINUTE_US,
            body["mentions"],
            body["authors"],
            bytes.fromhex(body["event_id"]),
        )
        place = row.hour, row.scope
        known = self._rows.get(place)
        if row.hour < floor:
            return SurgeReason.TOO_OLD
        if known is not None and row.as_of <= known.as_of:
            return SurgeReason.DUPLICATE if row.as_of == known.as_of else SurgeReason.SUPERSEDED
        self._rows[place] = row
        self._rows = {at: each for at, each in self._rows.items() if each.hour >= floor}
        return None


def newest_hour(state: bytes) -> int:
    """The newest hour with a record: read without the rows."""
    version, newest = _HEAD.unpack_from(state)
    if version != STATE_VERSION:
        raise Fatal(
            "a state value of the surges has another format version",
            value=version,
            remedy=f"this code reads version {STATE_VERSION}: run the release that wrote it, or rebuild it",
        )
    return int(newest)
