"""The stories stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, of_market
from tapedeck.streams.stages.links.reasons import DROP_WORDS, WORDS, LinkDrop, LinkOutcome
from tapedeck.streams.stages.stories.again import AGAIN
from tapedeck.streams.stages.stories.funnel import FUNNEL
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
        Reasons(LinkDrop, DROP_WORDS, "heartbeats"),
        Reasons(LinkOutcome, WORDS, NOWHERE),
    ),
)
