"""Why a bar gave no feature event."""

from collections.abc import Mapping
from enum import StrEnum


class FeatureReason(StrEnum):
    """Why a bar gave no output."""

    BAD_BAR = "BAD_BAR"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    CALENDAR_UNKNOWN = "CALENDAR_UNKNOWN"
    DUPLICATE_BAR = "DUPLICATE_BAR"


WORDS: Mapping[StrEnum, str] = {
    FeatureReason.BAD_BAR: "the bar breaks a rule of valid bars; it lies in dead_letters",
    FeatureReason.OUTSIDE_SESSION: "the bar lies outside the regular session",
    FeatureReason.CALENDAR_UNKNOWN: "the calendar does not know the bar's date",
    FeatureReason.DUPLICATE_BAR: "the bar was there already, in this or a newer revision",
}


class Unstated(StrEnum):
    """Outcomes that no record states: something that should exist is missing."""

    NO_FEATURE = "NO_FEATURE"


UNSTATED_WORDS: Mapping[StrEnum, str] = {
    Unstated.NO_FEATURE: "the bar is on the log, its minute has ended, and features gave nothing",
}
