"""Why a symbol is on the list or off it, and why a bar became a signal or a HOLD."""

from enum import StrEnum


class ScoreReason(StrEnum):
    """Why a feature record did not become the symbol's newest one."""

    FEED_NOT_SELECTED = "FEED_NOT_SELECTED"
    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"


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


class SignalReason(StrEnum):
    """The reason of every decision: five that act, the others hold."""

    OPTION_DAY_TRADE = "OPTION_DAY_TRADE"
    OPTION_SWING_TRADE = "OPTION_SWING_TRADE"
    STOCK_WEAK_TREND = "STOCK_WEAK_TREND"
    STOCK_HIGH_VOL = "STOCK_HIGH_VOL"
    GAP_FADE = "GAP_FADE"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    NOT_ON_WATCHLIST = "NOT_ON_WATCHLIST"
    NOT_READY = "NOT_READY"
    NO_FEATURES = "NO_FEATURES"
    STALE_BAR = "STALE_BAR"
    STRETCHED = "STRETCHED"
    NO_SETUP = "NO_SETUP"
    VOLUME_TOO_LOW = "VOLUME_TOO_LOW"
    VOLUME_UNKNOWN = "VOLUME_UNKNOWN"
    OPTIONS_CONFIDENCE_TOO_LOW = "OPTIONS_CONFIDENCE_TOO_LOW"
    STOCK_CONFIDENCE_TOO_LOW = "STOCK_CONFIDENCE_TOO_LOW"
    COOLDOWN = "COOLDOWN"
    FEED_NOT_SELECTED = "FEED_NOT_SELECTED"
    SUSPECT_SPLIT = "SUSPECT_SPLIT"
    RULE_ERROR = "RULE_ERROR"


class SignalDrop(StrEnum):
    """Why an input of the signal stage gave no decision."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    SAME_ACTION = "SAME_ACTION"
    TOO_OLD = "TOO_OLD"
