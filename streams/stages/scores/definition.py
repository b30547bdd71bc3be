"""The scores stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, columnar, of_market
from tapedeck.streams.stages.scores.again import AGAIN
from tapedeck.streams.stages.scores.columnar import ScoresFold
from tapedeck.streams.stages.scores.funnel import FUNNEL
from tapedeck.streams.stages.scores.reasons import UNSTATED_WORDS, WORDS, ScoreReason, Unstated
from tapedeck.streams.stages.scores.stage import STATE_VERSION, WINDOWS, ScoresStage
from tapedeck.streams.stages.scores.told import TOLD
from tapedeck.streams.stages.scores.trail import TRAIL

DEFINITION = Definition(
    make=of_market(ScoresStage),
    reads=("features", WINDOWS),
    state_version=STATE_VERSION,
    groups=("watchlist", "bars"),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    trail=TRAIL,
    reasons=(
        Reasons(ScoreReason, WORDS, "heartbeats"),
        Reasons(Unstated, UNSTATED_WORDS, NOWHERE),
    ),
    columnar=columnar(ScoresStage, ScoresFold, "features", WINDOWS),
)
