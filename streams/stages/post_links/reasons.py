"""Why a version of a post was not linked, or counts for no symbol."""

from collections.abc import Mapping
from enum import StrEnum

from tapedeck.streams.stages.links.reasons import LinkReason


class PostDrop(StrEnum):
    """Why a version of a post changed nothing, or what a full memory cost."""

    DUPLICATE = LinkReason.DUPLICATE
    SUPERSEDED = LinkReason.SUPERSEDED
    MEMORY_FULL = LinkReason.MEMORY_FULL


class PostOutcome(StrEnum):
    """Why a linked version of a post counts for no symbol."""

    NO_SYMBOL = LinkReason.NO_SYMBOL
    LIST_POST = LinkReason.LIST_POST
    REMOVED = LinkReason.REMOVED


DROP_WORDS: Mapping[StrEnum, str] = {
    PostDrop.DUPLICATE: "the same version of the post was there already",
    PostDrop.SUPERSEDED: "a newer version of the post was there already",
    PostDrop.MEMORY_FULL: "the oldest post was forgotten early, to make room for a newer one",
}

WORDS: Mapping[StrEnum, str] = {
    PostOutcome.NO_SYMBOL: "the post names no symbol",
    PostOutcome.LIST_POST: "the post names so many symbols that it says nothing of any",
    PostOutcome.REMOVED: "the post was deleted or taken down",
}
