"""Why a bar became a signal or a HOLD."""

from collections.abc import Mapping
from enum import StrEnum


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


WORDS: Mapping[StrEnum, str] = {
    SignalReason.OPTION_DAY_TRADE: "an option for the day: setup, confidence and volume are enough",
    SignalReason.OPTION_SWING_TRADE: "an option for days: setup and confidence are enough, not for the day",
    SignalReason.STOCK_WEAK_TREND: "stock: the trend is too weak for an option",
    SignalReason.STOCK_HIGH_VOL: "stock: the volatility is too high for an option",
    SignalReason.GAP_FADE: "an option against a wide opening gap",
    SignalReason.OUTSIDE_SESSION: "the bar lies outside the regular session",
    SignalReason.NOT_ON_WATCHLIST: "the symbol is not on the watchlist",
    SignalReason.NOT_READY: "too few bars are in the window yet",
    SignalReason.NO_FEATURES: "a feature that the rule needs is unknown",
    SignalReason.STALE_BAR: "the bar was too old when its turn came",
    SignalReason.STRETCHED: "the close is too far from its short average",
    SignalReason.NO_SETUP: "price and trend point in different directions",
    SignalReason.VOLUME_TOO_LOW: "the volume is too low against its average",
    SignalReason.VOLUME_UNKNOWN: "the volume cannot be compared with its average",
    SignalReason.OPTIONS_CONFIDENCE_TOO_LOW: "the confidence is too low for an option",
    SignalReason.STOCK_CONFIDENCE_TOO_LOW: "the confidence is too low for stock",
    SignalReason.COOLDOWN: "the symbol's last signal is too recent",
    SignalReason.FEED_NOT_SELECTED: "the bar is of another feed than the configured one",
    SignalReason.SUSPECT_SPLIT: "the first open is so far from the last close that a split is suspected",
    SignalReason.RULE_ERROR: "the rule failed on this bar; it holds",
}


DROP_WORDS: Mapping[StrEnum, str] = {
    SignalDrop.DUPLICATE: "the bar was decided already, or the membership or window was there already",
    SignalDrop.SUPERSEDED: "a newer membership or window was there already",
    SignalDrop.SAME_ACTION: "the bar was decided before it was revised, and would be decided alike",
    SignalDrop.TOO_OLD: "the bar is older than the decided bars that are remembered",
}


class Unstated(StrEnum):
    """Outcomes that no record states: something that should exist is missing."""

    NO_DECISION = "NO_DECISION"


UNSTATED_WORDS: Mapping[StrEnum, str] = {
    Unstated.NO_DECISION: "the feature is on the log, its minute has ended, and signals gave nothing",
}
