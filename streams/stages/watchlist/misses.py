"""How far a symbol was from being on the list."""

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Watchlist
from tapedeck.streams.misses import Body, Judged, Miss, over
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.watchlist.reasons import WatchlistReason


def miss(reason: str, at: Judged, config: Config) -> Miss | None:
    """How far the symbol was from being on the list; None if that is not a distance."""
    rules, membership, listed = config.watchlist, at.record, at.beside.get("watchlist")
    score = membership["score"]
    if reason in (WatchlistReason.NO_FRESH_BAR, WatchlistReason.STALE):
        newest = at.beside.get("scores")
        if newest is None:
            return None
        age = (membership["evaluation"] - newest["as_of"]) / SECOND_US
        return over("age of the newest bar", age, rules.fresh_s, "too old", "s")
    if reason == WatchlistReason.SCORE_BELOW_EXIT:
        return over("score", score, rules.exit, "short")
    if reason in (WatchlistReason.SCORE_BELOW_ENTRY, WatchlistReason.BACKFILL_ENDED):
        return over("score", score, _least_score(listed, rules), "short")
    if reason in (WatchlistReason.CAPPED, WatchlistReason.NOT_SELECTED_CAP):
        lowest = _lowest(listed, "SCORED")
        return None if lowest is None else over("score", score, lowest, "short")
    return None


def _least_score(listed: Body | None, rules: Watchlist) -> float:
    """The score that would have been enough: entry, or the lowest score that still got a place."""
    if not rules.backfill_enabled or listed is None:
        return rules.enter
    if len(listed["members"]) < min(rules.backfill_to, rules.cap):
        return rules.backfill_min
    lowest = _lowest(listed, "BACKFILL")
    return rules.enter if lowest is None else min(max(lowest, rules.backfill_min), rules.enter)


def _lowest(listed: Body | None, flag: str) -> float | None:
    """The lowest score on the list among those with ``flag``."""
    members = [] if listed is None else listed["members"]
    return min((m["score"] for m in members if m["flag"] == flag and m["score"] is not None), default=None)
