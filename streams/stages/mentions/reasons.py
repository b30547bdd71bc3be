"""Why a score changed no count."""

from collections.abc import Mapping
from enum import StrEnum


class MentionReason(StrEnum):
    """Why a sentiment record left the mentions as they were."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    UNCHANGED = "UNCHANGED"
    FOLDED = "FOLDED"
    TOO_OLD = "TOO_OLD"
    FULL = "FULL"


WORDS: Mapping[StrEnum, str] = {
    MentionReason.DUPLICATE: "this version of the item was there already",
    MentionReason.SUPERSEDED: "a newer version of the item was there already",
    MentionReason.UNCHANGED: "the new version of the item counts as the one before it",
    MentionReason.FOLDED: "the item tells a story that an earlier one began",
    MentionReason.TOO_OLD: "its hour is closed: items are counted for `reddit.revisit_h` + 2 hours",
    MentionReason.FULL: "the symbol has as many items in this hour as are remembered",
}
