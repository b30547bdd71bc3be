"""Why a score counts in no window."""

from collections.abc import Mapping
from enum import StrEnum


class SentimentDrop(StrEnum):
    """Why a score of an item does not count in its symbol's windows."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    RETRACTED = "RETRACTED"
    EMPTY_TEXT = "EMPTY_TEXT"
    FOLDED = "FOLDED"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    TOO_OLD = "TOO_OLD"
    TOO_MANY_ITEMS = "TOO_MANY_ITEMS"


WORDS: Mapping[StrEnum, str] = {
    SentimentDrop.DUPLICATE: "the same score was there already",
    SentimentDrop.SUPERSEDED: "a newer version of the item was there already, or came before it counted",
    SentimentDrop.RETRACTED: "this version of the item no longer names the symbol",
    SentimentDrop.EMPTY_TEXT: "this version of the item has no text to score",
    SentimentDrop.FOLDED: "an earlier item tells the same story, and counts for it",
    SentimentDrop.OUT_OF_SCOPE: "neither signals nor the watchlist count items of its kind",
    SentimentDrop.LOW_CONFIDENCE: "only signals count items of its kind, and it is not sure enough for them",
    SentimentDrop.TOO_OLD: "the item was older than a window when its score came",
    SentimentDrop.TOO_MANY_ITEMS: "the symbol has too many newer items in this hour",
}


class Unstated(StrEnum):
    """Outcomes that no record states: what may still come."""

    NOT_YET = "NOT_YET"


UNSTATED_WORDS: Mapping[StrEnum, str] = {
    Unstated.NOT_YET: "the minute in which the item counts has not ended yet",
}
