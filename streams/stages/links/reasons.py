"""Why an item's version gave no links that count."""

from collections.abc import Mapping
from enum import StrEnum


class LinkDrop(StrEnum):
    """Why a version changed nothing, or what a full memory cost."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    MEMORY_FULL = "MEMORY_FULL"


class LinkOutcome(StrEnum):
    """Why a linked version does not count as a mention of a symbol."""

    NO_SYMBOL = "NO_SYMBOL"
    LIST_POST = "LIST_POST"
    FOLDED = "FOLDED"
    REMOVED = "REMOVED"


DROP_WORDS: Mapping[StrEnum, str] = {
    LinkDrop.DUPLICATE: "the same version was there already",
    LinkDrop.SUPERSEDED: "a newer version was there already",
    LinkDrop.MEMORY_FULL: "the oldest remembered item was forgotten early, to make room for a newer one",
}

WORDS: Mapping[StrEnum, str] = {
    LinkOutcome.NO_SYMBOL: "the text names no symbol",
    LinkOutcome.LIST_POST: "the text names so many symbols that it says nothing of any",
    LinkOutcome.FOLDED: "the article tells a story that an earlier one began",
    LinkOutcome.REMOVED: "the post was deleted or taken down",
}
