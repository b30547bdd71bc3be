"""The post_links stage, for the topology."""

from tapedeck.streams.definition import Definition, Reasons, of_market
from tapedeck.streams.stages.post_links.again import AGAIN
from tapedeck.streams.stages.post_links.funnel import FUNNEL
from tapedeck.streams.stages.post_links.reasons import DROP_WORDS, WORDS, PostDrop, PostOutcome
from tapedeck.streams.stages.post_links.stage import PostLinksStage
from tapedeck.streams.stages.post_links.state import STATE_VERSION
from tapedeck.streams.stages.post_links.told import TOLD

DEFINITION = Definition(
    make=of_market(PostLinksStage),
    reads=("posts",),
    state_version=STATE_VERSION,
    groups=("universe", "link", "reddit"),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    reasons=(
        Reasons(PostDrop, DROP_WORDS, "heartbeats"),
        Reasons(PostOutcome, WORDS, "the funnel"),
    ),
)
