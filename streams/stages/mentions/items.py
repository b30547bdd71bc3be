"""The state of one symbol: the newest version of each item of the last hours, in bytes.

Layout: version u8, first open hour u32, newest change u32; then per item, by hour and name: hour u32, name 8
bytes, scope and kind u8, version (updated_at) i64, score i32, author 8 bytes, change u32, event_id 16 bytes.
Hours and minutes are whole ones since the epoch; a change is the log minute in which an item last changed a
count, 0 if it never did. Names and authors are the first 8 bytes of their SHA-256.
"""

import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.mentions.reasons import MentionReason
from tapedeck.streams.stages.mentions.rule import MICRO, Adds, Kind, kind_of

STATE_VERSION = 1
HOUR_US = 60 * MINUTE_US
SCOPES = ("NEWS", "SOCIAL")
MOST_ITEMS = 12_000
"""Items of one symbol that are remembered: about 640 kB, so that a value fits into a Kafka record."""
_HEAD = struct.Struct("<BII")
_ITEM = struct.Struct("<I8sBqi8sI16s")
_NOBODY = bytes(8)
_KIND_BITS = 4


class Item(NamedTuple):
    """The newest version of one item. ``scope`` is an index of SCOPES."""

    hour: int
    name: bytes
    scope: int
    updated_at: int
    adds: Adds
    changed: int
    event_id: bytes

    @property
    def is_counted(self) -> bool:
        return self.adds.kind < Kind.FOLDED

    @property
    def counts_as(self) -> Adds | None:
        """What it adds to its hour; None if nothing."""
        return self.adds if self.is_counted else None


class Items:
    """The items of one symbol. ``kept_hours``: for how long an item may change its hour."""

    def __init__(self, state: bytes | None, kept_hours: int) -> None:
        self._kept_hours = kept_hours
        self._floor = 0
        self._by_name: dict[bytes, Item] = {}
        if state:
            _, self._floor, _ = _head(state)
            self._by_name = {item.name: item for item in _items(state)}

    def packed(self) -> bytes:
        """The state; empty without an item."""
        if not self._by_name:
            return b""
        items = sorted(self._by_name.values())
        head = _HEAD.pack(STATE_VERSION, self._floor, max(item.changed for item in items))
        return b"".join([head, *map(_bytes_of, items)])

    def __iter__(self) -> Iterator[Item]:
        return iter(self._by_name.values())

    def apply(self, body: dict[str, Any], log_minute: int) -> MentionReason | None:
        """Take a sentiment record; the reason why no count changed, None if one did."""
        name = _short(f"{body['source']}|{body['native_id']}")
        known = self._by_name.get(name)
        now = (log_minute + MINUTE_US) // HOUR_US
        hour = body["event_time"] // HOUR_US if known is None else known.hour
        floor = max(self._floor, now - self._kept_hours)
        reason = self._refusal(known, body["updated_at"], hour, floor)
        if reason is not None:
            return reason
        fresh = _item(body, name, hour, known)
        is_change = fresh.counts_as != (None if known is None else known.counts_as)
        if is_change:
            fresh = fresh._replace(changed=log_minute // MINUTE_US)
        self._close_before(floor)
        self._by_name[name] = fresh
        if is_change:
            return None
        return MentionReason.FOLDED if fresh.adds.kind is Kind.FOLDED else MentionReason.UNCHANGED

    def _refusal(self, known: Item | None, version: int, hour: int, floor: int) -> MentionReason | None:
        """Why a version is not taken. Nothing that is refused once may be taken when it is repeated later."""
        if hour < floor:
            return MentionReason.TOO_OLD
        if known is not None:
            if version > known.updated_at:
                return None
            return MentionReason.DUPLICATE if version == known.updated_at else MentionReason.SUPERSEDED
        return MentionReason.FULL if not self._has_room(hour) else None

    def _has_room(self, hour: int) -> bool:
        """Whether a new item of ``hour`` fits in, if need be in place of the items of the oldest hour."""
        if len(self._by_name) < MOST_ITEMS:
            return True
        oldest = min(item.hour for item in self._by_name.values())
        if oldest < hour:
            self._close_before(oldest + 1)
        return oldest < hour

    def _close_before(self, floor: int) -> None:
        if floor > self._floor:
            self._floor = floor
            self._by_name = {name: item for name, item in self._by_name.items() if item.hour >= floor}


def newest_change(state: bytes) -> int:
    """The log minute, in minutes since the epoch, in which a count last changed: read without the items."""
    return _head(state)[2]


def _head(state: bytes) -> tuple[int, int, int]:
    version, floor, changed = _HEAD.unpack_from(state)
    if version != STATE_VERSION:
        raise Fatal(
            "a state value of the mentions has another format version",
            value=version,
            remedy=f"this code reads version {STATE_VERSION}: run the release that wrote it, or rebuild it",
        )
    return version, floor, changed


def _items(state: bytes) -> Iterator[Item]:
    for hour, name, bits, version, score, author, changed, event_id in _ITEM.iter_unpack(state[_HEAD.size :]):
        kind = Kind(bits & (1 << _KIND_BITS) - 1)
        known_author = b"" if author == _NOBODY else author
        yield Item(
            hour, name, bits >> _KIND_BITS, version, Adds(kind, score, known_author), changed, event_id
        )


def _bytes_of(item: Item) -> bytes:
    kind, score, author = item.adds
    bits = item.scope << _KIND_BITS | kind
    return _ITEM.pack(
        item.hour, item.name, bits, item.updated_at, score, author or _NOBODY, item.changed, item.event_id
    )


def _item(body: dict[str, Any], name: bytes, hour: int, known: Item | None) -> Item:
    """The version in ``body``. It keeps the hour of the first one, and so changes no other."""
    score, author = body["score"], body["author_hash"]
    adds = Adds(
        kind_of(body), 0 if score is None else round(score * MICRO), _short(author) if author else b""
    )
    return Item(
        hour,
        name,
        SCOPES.index(body["scope"]),
        body["updated_at"],
        adds,
        0 if known is None else known.changed,
        bytes.fromhex(body["event_id"]),
    )


def _short(text: str) -> bytes:
    return sha256(text.encode()).digest()[:8]
