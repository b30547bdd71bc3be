"""Every reason in words: what a person reads in ``tape why`` and in docs/explain.md.

The words of a stage's reasons are in its folder; here are those that belong to no stage.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from tapedeck.streams.definition import Reasons
from tapedeck.streams.funnel import FunnelReason
from tapedeck.streams.topology import Topology, definition_of


class Missing(StrEnum):
    """Reasons that no record states: something that should be there is not, or nothing is in the way."""

    NO_BAR = "NO_BAR"
    STAGE_BEHIND = "STAGE_BEHIND"
    NO_FEATURE = "NO_FEATURE"
    NO_SCORE = "NO_SCORE"
    NO_LIST = "NO_LIST"
    NO_DECISION = "NO_DECISION"
    NO_PROPOSAL = "NO_PROPOSAL"
    NO_ORDER = "NO_ORDER"
    NO_EXECUTION = "NO_EXECUTION"
    TRADED = "TRADED"


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
    Missing.NO_FEATURE: "the bar is on the log, its minute has ended, and features gave nothing",
    Missing.NO_SCORE: "no score of the symbol has been computed yet",
    Missing.NO_LIST: "no watchlist that knows the symbol has been made yet",
    Missing.NO_DECISION: "the feature is on the log, its minute has ended, and signals gave nothing",
    Missing.NO_PROPOSAL: "the account has not decided the signal: its dispatcher is stopped, or waits",
    Missing.NO_ORDER: "the proposal was approved and no order followed: the dispatcher stopped",
    Missing.NO_EXECUTION: "the broker has the order and nothing of it was filled yet",
    Missing.TRADED: "nothing stood in the way: the order was filled",
}

ON_ARRIVAL = Reasons(FunnelReason, _FUNNEL, "the funnel")
NOTHING_THERE = Reasons(Missing, _MISSING, "")


def reasons_of(topology: Topology) -> Iterator[tuple[str, Reasons]]:
    """(stage, enum with words) in the order of the pipeline; what belongs to no stage first and last."""
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
