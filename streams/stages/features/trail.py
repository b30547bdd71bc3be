"""Where a minute ends at the features stage: it has no feature."""

from tapedeck.streams.stages.features.reasons import Unstated
from tapedeck.streams.trail import Trail

TRAIL = Trail(topic="features", places=("features",), nothing=Unstated.NO_FEATURE)
