"""Why mentions changed nothing, and why an hour of a symbol was not judged."""

from collections.abc import Mapping
from enum import StrEnum


class SurgeReason(StrEnum):
    """Why a mentions record changed nothing."""

    DUPLICATE = "DUPLICATE"
    SUPERSEDED = "SUPERSEDED"
    TOO_OLD = "TOO_OLD"


WORDS: Mapping[StrEnum, str] = {
    SurgeReason.DUPLICATE: "these mentions were there already",
    SurgeReason.SUPERSEDED: "newer mentions of the hour were there already",
    SurgeReason.TOO_OLD: "the hour is older than any baseline",
}


class Unjudged(StrEnum):
    """Why an hour with mentions has no surge record."""

    LATE = "LATE"
    RETRACTED = "RETRACTED"
    OPEN = "OPEN"


UNJUDGED_WORDS: Mapping[StrEnum, str] = {
    Unjudged.LATE: "its mentions came after its end: they count in baselines only",
    Unjudged.RETRACTED: "no mention of it was left at its end",
    Unjudged.OPEN: "the hour has not ended",
}
