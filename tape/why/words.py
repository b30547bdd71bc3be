"""Every reason in words: as shown in ``tape why`` and docs/explain.md.

The words of a stage's reasons are in its folder; this module has those that belong to no stage.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from tapedeck.streams.definition import NOWHERE, Reasons
from tapedeck.streams.funnel import FunnelReason
from tapedeck.streams.topology import Topology, definition_of


class Missing(StrEnum):
    """Reasons that no record states, for sources and any stage: something is missing."""

    NO_BAR = "NO_BAR"
    STAGE_BEHIND = "STAGE_BEHIND"
    NO_RECORD = "NO_RECORD"


_FUNNEL: Mapping[StrEnum, str] = {
    FunnelReason.DUPLICATE: "the same record was there already",
    FunnelReason.UNREADABLE: "the record cannot be decoded",
    FunnelReason.LATE: "the bar came too long after newer ones; it lies in bars.late",
    FunnelReason.REVISION_AUDITED: "the bar was decided before it was revised; the revision would have "
    "decided otherwise",
}

_MISSING: Mapping[StrEnum, str] = {
    Missing.NO_BAR: "no bar of this minute arrived: nothing traded, or the source did not send it",
    Missing.STAGE_BEHIND: "the stage has not ended this minute: it is stopped, stuck or far behind",
    Missing.NO_RECORD: "all that it reads is on the log, the minute has ended, and the stage gave nothing",
}

ON_ARRIVAL = Reasons(FunnelReason, _FUNNEL, "the funnel")
NOTHING_THERE = Reasons(Missing, _MISSING, NOWHERE)


def reasons_of(topology: Topology) -> Iterator[tuple[str, Reasons]]:
    """(stage, enum with words) in the order of the pipeline; those of no stage first and last."""
    yield "any, on the way in", ON_ARRIVAL
    for spec in topology:
        for each in definition_of(spec).reasons:
            yield f"{spec.name}: {each.part}" if each.part else spec.name, each
    yield "nothing is there", NOTHING_THERE


class Words:
    """The reasons of a topology in words."""

    def __init__(self, topology: Topology) -> None:
        self._by_enum = {each.enum: each.words for _, each in reasons_of(topology)}

    def of(self, reason: StrEnum) -> str:
        """What ``reason`` says. Raises KeyError for a reason without words."""
        return self._by_enum[type(reason)][reason]
