"""The scores stage, for the topology."""

from tapedeck.streams.bulk.job import Job, Result
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Stage
from tapedeck.streams.definition import NOWHERE, Columnar, Definition, Reasons
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.scores.again import AGAIN
from tapedeck.streams.stages.scores.bulk import ScoresFold
from tapedeck.streams.stages.scores.funnel import FUNNEL
from tapedeck.streams.stages.scores.reasons import UNSTATED_WORDS, WORDS, ScoreReason, Unstated
from tapedeck.streams.stages.scores.stage import STATE_VERSION, ScoresStage
from tapedeck.streams.stages.scores.told import TOLD
from tapedeck.streams.stages.scores.trail import TRAIL


def _make(config: Config, calendar: Calendar, account_id: str | None) -> Stage:
    return ScoresStage(config, calendar)


def _fold(stage: Stage, job: Job) -> Result:
    assert isinstance(stage, ScoresStage)
    return ScoresFold(stage, job).run()


DEFINITION = Definition(
    make=_make,
    reads=("features",),
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
    columnar=Columnar(_fold, ("features",)),
)
