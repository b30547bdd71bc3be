"""Where a minute ends at the scores stage: there is no score of its symbol to list it by."""

from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Judged
from tapedeck.streams.stages.scores.reasons import Unstated
from tapedeck.streams.trail import Ended, Trail


def _ended(at: Judged, config: Config) -> Ended | None:
    return Ended("scores", Unstated.NO_SCORE) if at.beside.get("scores") is None else None


TRAIL = Trail(topic="scores", places=("scores",), nothing=Unstated.NO_SCORE, ended=_ended)
