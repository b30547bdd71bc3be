"""Why a version of an article was not linked, or counts for no symbol."""

from collections.abc import Mapping
from enum import StrEnum

from tapedeck.streams.stages.links.reasons import LinkReason


class StoryDrop(StrEnum):
    """Why a version of an article changed nothing, or what a full memory cost."""

    DUPLICATE = LinkReason.DUPLICATE
    SUPERSEDED = LinkReason.SUPERSEDED
    MEMORY_FULL = LinkReason.MEMORY_FULL


class StoryOutcome(StrEnum):
    """Why a linked version of an article counts for no symbol."""

    NO_SYMBOL = LinkReason.NO_SYMBOL
    LIST_POST = LinkReason.LIST_POST
    FOLDED = LinkReason.FOLDED


DROP_WORDS: Mapping[StrEnum, str] = {
    StoryDrop.DUPLICATE: "the same version of the article was there already",
    StoryDrop.SUPERSEDED: "a newer version of the article was there already",
    StoryDrop.MEMORY_FULL: "the oldest article was forgotten early, to make room for a newer one",
}

WORDS: Mapping[StrEnum, str] = {
    StoryOutcome.NO_SYMBOL: "the article names no symbol",
    StoryOutcome.LIST_POST: "the article names so many symbols that it says nothing of any",
    StoryOutcome.FOLDED: "the article tells a story that an earlier one began",
}
