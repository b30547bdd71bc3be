"""What a version of an item comes to, where a stage links it."""

from enum import StrEnum


class LinkReason(StrEnum):
    """Each stage that links has those of its own items among its reasons."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    MEMORY_FULL = "MEMORY_FULL"
    NO_SYMBOL = "NO_SYMBOL"
    LIST_POST = "LIST_POST"
    FOLDED = "FOLDED"
    REMOVED = "REMOVED"
