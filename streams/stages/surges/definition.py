"""The surges stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, of_market
from tapedeck.streams.stages.surges.again import AGAIN
from tapedeck.streams.stages.surges.funnel import FUNNEL
from tapedeck.streams.stages.surges.hours import STATE_VERSION
from tapedeck.streams.stages.surges.reasons import UNJUDGED_WORDS, WORDS, SurgeReason, Unjudged
from tapedeck.streams.stages.surges.stage import SurgesStage
from tapedeck.streams.stages.surges.told import TOLD

DEFINITION = Definition(
    make=of_market(SurgesStage),
    reads=("mentions",),
    state_version=STATE_VERSION,
    groups=("surge",),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    reasons=(
        Reasons(SurgeReason, WORDS, "heartbeats"),
        Reasons(Unjudged, UNJUDGED_WORDS, NOWHERE),
    ),
)
