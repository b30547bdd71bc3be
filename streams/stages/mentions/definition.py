"""The mentions stage, for the topology."""

from tapedeck.streams.definition import Definition, Reasons, of_market
from tapedeck.streams.stages.mentions.again import AGAIN
from tapedeck.streams.stages.mentions.funnel import FUNNEL
from tapedeck.streams.stages.mentions.items import STATE_VERSION
from tapedeck.streams.stages.mentions.reasons import WORDS, MentionReason
from tapedeck.streams.stages.mentions.stage import MentionsStage
from tapedeck.streams.stages.mentions.told import TOLD

DEFINITION = Definition(
    make=of_market(MentionsStage),
    reads=("sentiment",),
    state_version=STATE_VERSION,
    groups=("reddit",),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    reasons=(Reasons(MentionReason, WORDS, "heartbeats"),),
)
