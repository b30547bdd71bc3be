"""The features stage, for the topology."""

from tapedeck.streams.bulk.job import Job, Result
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Stage
from tapedeck.streams.definition import NOWHERE, Columnar, Definition, Reasons
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.features import layout
from tapedeck.streams.stages.features.again import AGAIN
from tapedeck.streams.stages.features.bulk import FeaturesFold
from tapedeck.streams.stages.features.funnel import FUNNEL
from tapedeck.streams.stages.features.naming import window_difference
from tapedeck.streams.stages.features.reasons import UNSTATED_WORDS, WORDS, FeatureReason, Unstated
from tapedeck.streams.stages.features.stage import FeaturesStage
from tapedeck.streams.stages.features.told import TOLD
from tapedeck.streams.stages.features.trail import TRAIL


def _make(config: Config, calendar: Calendar, account_id: str | None) -> Stage:
    return FeaturesStage(config, calendar)


def _fold(stage: Stage, job: Job) -> Result:
    assert isinstance(stage, FeaturesStage)
    return FeaturesFold(stage, job).run()


DEFINITION = Definition(
    make=_make,
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
    columnar=Columnar(_fold, ("bars",)),
)
