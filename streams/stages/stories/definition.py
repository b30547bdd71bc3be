"""The stories stage, for the topology."""

from tapedeck.streams.definition import Definition, Reasons, of_market
from tapedeck.streams.stages.stories.again import AGAIN
from tapedeck.streams.stages.stories.funnel import FUNNEL
from tapedeck.streams.stages.stories.reasons import DROP_WORDS, WORDS, StoryDrop, StoryOutcome
from tapedeck.streams.stages.stories.stage import StoriesStage
from tapedeck.streams.stages.stories.state import STATE_VERSION
from tapedeck.streams.stages.stories.told import TOLD

DEFINITION = Definition(
    make=of_market(StoriesStage),
    reads=("news",),
    state_version=STATE_VERSION,
    groups=("universe", "link", "ingest"),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    reasons=(
        Reasons(StoryDrop, DROP_WORDS, "heartbeats"),
        Reasons(StoryOutcome, WORDS, "the funnel"),
    ),
)
