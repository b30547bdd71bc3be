"""Why a symbol is on the list or off it."""

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
