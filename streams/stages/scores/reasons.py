"""Why a feature gave no score."""

from collections.abc import Mapping
from enum import StrEnum


class ScoreReason(StrEnum):
    """Why a feature or a sentiment window did not become the symbol's newest one."""

    FEED_NOT_SELECTED = "FEED_NOT_SELECTED"
    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"


WORDS: Mapping[StrEnum, str] = {
    ScoreReason.FEED_NOT_SELECTED: "the feature is of another feed than the configured one",
    ScoreReason.DUPLICATE: "the same feature or window was there already",
    ScoreReason.SUPERSEDED: "a newer feature or window was there already",
}


class Unstated(StrEnum):
    """Outcomes that no record states: something that should exist is missing."""

    NO_SCORE = "NO_SCORE"


UNSTATED_WORDS: Mapping[StrEnum, str] = {
    Unstated.NO_SCORE: "no score of the symbol has been computed yet",
}
