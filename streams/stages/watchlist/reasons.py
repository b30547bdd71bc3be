"""Why a symbol is on the list or off it."""

from collections.abc import Mapping
from enum import StrEnum


class WatchlistReason(StrEnum):
    """Where a symbol stands after one evaluation, and how it got there."""

    ENTER_SCORE = "ENTER_SCORE"
    BACKFILL = "BACKFILL"
    UNIVERSE_REMOVED = "UNIVERSE_REMOVED"
    STALE = "STALE"
    SCORE_BELOW_EXIT = "SCORE_BELOW_EXIT"
    CAPPED = "CAPPED"
    BACKFILL_ENDED = "BACKFILL_ENDED"
    NOT_SELECTED_CAP = "NOT_SELECTED_CAP"
    NOT_IN_UNIVERSE = "NOT_IN_UNIVERSE"
    NO_FRESH_BAR = "NO_FRESH_BAR"
    NOT_SCORED = "NOT_SCORED"
    SCORE_BELOW_ENTRY = "SCORE_BELOW_ENTRY"


class WatchlistDrop(StrEnum):
    """Why an input of the watchlist stage changed nothing."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    NO_UNIVERSE = "NO_UNIVERSE"


WORDS: Mapping[StrEnum, str] = {
    WatchlistReason.ENTER_SCORE: "the score is high enough to be on the list",
    WatchlistReason.BACKFILL: "the symbol fills the list up, with a score below entry",
    WatchlistReason.UNIVERSE_REMOVED: "the symbol left the universe, and so the list",
    WatchlistReason.STALE: "the symbol left the list: its newest bar is too old",
    WatchlistReason.SCORE_BELOW_EXIT: "the symbol left the list: its score was below exit for too long",
    WatchlistReason.CAPPED: "the symbol left the list: others with a better score fill it",
    WatchlistReason.BACKFILL_ENDED: "the symbol no longer fills the list up: others do, or its score is "
    "too low",
    WatchlistReason.NOT_SELECTED_CAP: "the score is high enough, but the list is full of better ones",
    WatchlistReason.NOT_IN_UNIVERSE: "the symbol is not in the universe",
    WatchlistReason.NO_FRESH_BAR: "the symbol's newest bar is too old to be listed",
    WatchlistReason.NOT_SCORED: "the score cannot be computed: a feature that it needs is unknown",
    WatchlistReason.SCORE_BELOW_ENTRY: "the score is too low to enter the list",
}


DROP_WORDS: Mapping[StrEnum, str] = {
    WatchlistDrop.DUPLICATE: "the same score or universe was there already",
    WatchlistDrop.SUPERSEDED: "a newer score or universe was there already",
    WatchlistDrop.NO_UNIVERSE: "there is no universe yet, so there is no list",
}


class Unstated(StrEnum):
    """Outcomes that no record states: something that should exist is missing."""

    NO_LIST = "NO_LIST"


UNSTATED_WORDS: Mapping[StrEnum, str] = {
    Unstated.NO_LIST: "no watchlist that knows the symbol has been made yet",
}
