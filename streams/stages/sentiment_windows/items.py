"""What a symbol's state knows of its items: the newest version of each, and what was replaced.

An item is kept until the newest event time of its versions is an hour old. Until then a replaced version that
comes again is recognized; after that it is too old to count.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.base import pack_state, unpack_state
from tapedeck.streams.stages.sentiment_windows.reasons import SentimentDrop
from tapedeck.streams.stages.sentiment_windows.rule import WATCHLIST_MINUTES, Item, Label, Scope

STATE_VERSION = 1
CAP = 256
"""Items of one symbol that are kept: about 50 KB of state."""
KEPT_US = WATCHLIST_MINUTES * MINUTE_US
"""An item as old as this counts in no window."""
_IDS = 8
"""Scores of one version, by different models, that are known again."""
_NOTHING = 0


class Kept(NamedTuple):
    """The newest version of an item.

    ``newest_at``: the newest event time of all its versions. ``event_ids``: the scores of this version, the
    one in force last. ``item``: None if this version does not count.
    """

    updated_at: int
    newest_at: int
    event_ids: tuple[str, ...]
    item: Item | None


class Items:
    """The items of one symbol, which ``take`` changes."""

    def __init__(self, state: bytes | None) -> None:
        fields = unpack_state(STATE_VERSION, state) if state else {"items": {}}
        self._kept = {name: _read(row) for name, row in fields["items"].items()}
        self._since = -KEPT_US

    def counting(self) -> dict[str, Item]:
        """The items that may count, by the event_id of the score in force."""
        return {each.event_ids[-1]: each.item for each in self._kept.values() if each.item is not None}

    def pack(self) -> bytes:
        """The state value; empty if no item is kept."""
        if not self._kept:
            return b""
        last = max(
            (each.item.event_time for each in self._kept.values() if each.item is not None), default=_NOTHING
        )
        rows = {name: _row(each) for name, each in self._kept.items()}
        return pack_state(STATE_VERSION, {"items": rows, "last_at": last})

    def take(self, body: Mapping[str, Any], item: Item | None, now: int) -> SentimentDrop | None:
        """Take a version, of which ``item`` may count. The reason if nothing changes."""
        since = now - KEPT_US
        name = f"{body['source']}|{body['native_id']}"
        version, event_id, newest_at = body["updated_at"], body["event_id"], body["event_time"]
        known = self._kept.get(name)
        earlier: tuple[str, ...] = ()
        if known is None or known.newest_at <= since:
            if newest_at <= since:
                return SentimentDrop.TOO_OLD
        else:
            if version < known.updated_at:
                return SentimentDrop.SUPERSEDED
            if version == known.updated_at:
                if event_id in known.event_ids:
                    return SentimentDrop.DUPLICATE
                if newest_at <= since:  # it may have come before, when it was too old to be kept
                    return SentimentDrop.TOO_OLD
                earlier = known.event_ids
            newest_at = max(newest_at, known.newest_at)
        self._prune(since)
        self._kept[name] = Kept(version, newest_at, (*earlier, event_id)[-_IDS:], item)
        return None

    def _prune(self, since: int) -> None:
        """Forget what is too old. Only what changes the state does so: a repeat leaves it as it is."""
        if since > self._since:
            self._kept = {name: each for name, each in self._kept.items() if each.newest_at > since}
            self._since = since

    def cut(self) -> int:
        """Forget the oldest items beyond the cap; returns how many.

        Until it is too old, a version of a forgotten item that comes again is the oldest one again.
        """
        beyond = len(self._kept) - CAP
        if beyond <= 0:
            return 0
        oldest = sorted(self._kept, key=lambda name: (self._kept[name].newest_at, name))[:beyond]
        for name in oldest:
            del self._kept[name]
        return beyond


def last_at(state: bytes) -> int:
    """The newest event time of the items in ``state`` that may count; 0 without any.

    It is the last field, so that thousands of states need not be unpacked to see that nothing in them counts.
    """
    return int(state[state.rfind(b":") + 1 : -2])


def _row(kept: Kept) -> list[Any]:
    return [kept.updated_at, kept.newest_at, list(kept.event_ids), kept.item and list(kept.item)]


def _read(row: Sequence[Any]) -> Kept:
    updated_at, newest_at, event_ids, item = row
    if item is not None:
        event_time, score, confidence, label, scope = item
        item = Item(event_time, score, confidence, Label(label), Scope(scope))
    return Kept(updated_at, newest_at, tuple(event_ids), item)
