"""The signals stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, columnar, of_market
from tapedeck.streams.stages.signals.again import AGAIN
from tapedeck.streams.stages.signals.columnar import SignalsBulk
from tapedeck.streams.stages.signals.compared import DECIDES
from tapedeck.streams.stages.signals.fold import STATE_VERSION
from tapedeck.streams.stages.signals.funnel import FUNNEL
from tapedeck.streams.stages.signals.reasons import (
    DROP_WORDS,
    UNSTATED_WORDS,
    WORDS,
    SignalDrop,
    SignalReason,
    Unstated,
)
from tapedeck.streams.stages.signals.stage import SignalsStage
from tapedeck.streams.stages.signals.told import TOLD
from tapedeck.streams.stages.signals.trail import TRAIL

_READS = ("features", "memberships", "sentiment_windows")

DEFINITION = Definition(
    make=of_market(SignalsStage),
    reads=_READS,
    state_version=STATE_VERSION,
    groups=("signal", "gap_fade", "bars"),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    trail=TRAIL,
    decides=DECIDES,
    reasons=(
        Reasons(SignalReason, WORDS, "`decisions.reason`"),
        Reasons(SignalDrop, DROP_WORDS, "heartbeats"),
        Reasons(Unstated, UNSTATED_WORDS, NOWHERE),
    ),
    columnar=columnar(SignalsStage, SignalsBulk, *_READS),
)
