"""Why a feature gave no score."""

from enum import StrEnum


class ScoreReason(StrEnum):
    """Why a feature record did not become the symbol's newest one."""

    FEED_NOT_SELECTED = "FEED_NOT_SELECTED"
    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
