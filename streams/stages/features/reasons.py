"""Why a bar gave no feature event."""

from enum import StrEnum


class FeatureReason(StrEnum):
    """Why a bar gave no output."""

    BAD_BAR = "BAD_BAR"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    CALENDAR_UNKNOWN = "CALENDAR_UNKNOWN"
    DUPLICATE_BAR = "DUPLICATE_BAR"
