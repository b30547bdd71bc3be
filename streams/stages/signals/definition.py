"""The signals stage, for the topology."""

from tapedeck.streams.bulk.job import Job, Result
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Stage
from tapedeck.streams.definition import NOWHERE, Columnar, Definition, Reasons
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.signals.again import AGAIN
from tapedeck.streams.stages.signals.bulk import SignalsBulk
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


def _make(config: Config, calendar: Calendar, account_id: str | None) -> Stage:
    return SignalsStage(config, calendar)


def _fold(stage: Stage, job: Job) -> Result:
    assert isinstance(stage, SignalsStage)
    return SignalsBulk(stage, job).run()


DEFINITION = Definition(
    make=_make,
    reads=("features", "memberships"),
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
    columnar=Columnar(_fold, ("features", "memberships")),
)
