"""The features stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, columnar, of_market
from tapedeck.streams.stages.features import layout
from tapedeck.streams.stages.features.again import AGAIN
from tapedeck.streams.stages.features.columnar import FeaturesFold
from tapedeck.streams.stages.features.funnel import FUNNEL
from tapedeck.streams.stages.features.naming import window_difference
from tapedeck.streams.stages.features.reasons import UNSTATED_WORDS, WORDS, FeatureReason, Unstated
from tapedeck.streams.stages.features.stage import FeaturesStage
from tapedeck.streams.stages.features.told import TOLD
from tapedeck.streams.stages.features.trail import TRAIL

DEFINITION = Definition(
    make=of_market(FeaturesStage),
    reads=("bars",),
    state_version=layout.FORMAT,
    difference=window_difference,
    groups=("bars", "feature"),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    trail=TRAIL,
    reasons=(
        Reasons(FeatureReason, WORDS, "heartbeats; BAD_BAR in dead_letters"),
        Reasons(Unstated, UNSTATED_WORDS, NOWHERE),
    ),
    columnar=columnar(FeaturesStage, FeaturesFold, "bars"),
)
