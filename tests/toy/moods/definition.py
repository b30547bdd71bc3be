"""The moods stage, for the topology."""

from tapedeck.streams.definition import Definition, Reasons
from tests.toy.moods.stage import STATE_VERSION, WORDS, MoodDrop, MoodsStage

DEFINITION = Definition(
    make=MoodsStage,
    reads=("toy_notes",),
    state_version=STATE_VERSION,
    reasons=(Reasons(MoodDrop, WORDS, "heartbeats"),),
)
