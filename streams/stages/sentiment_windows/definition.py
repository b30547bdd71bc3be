"""The sentiment_windows stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, of_market
from tapedeck.streams.stages.sentiment_windows.again import AGAIN
from tapedeck.streams.stages.sentiment_windows.funnel import FUNNEL
from tapedeck.streams.stages.sentiment_windows.items import STATE_VERSION
from tapedeck.streams.stages.sentiment_windows.reasons import UNSTATED_WORDS, WORDS, SentimentDrop, Unstated
from tapedeck.streams.stages.sentiment_windows.stage import SentimentWindowsStage
from tapedeck.streams.stages.sentiment_windows.told import TOLD

DEFINITION = Definition(
    make=of_market(SentimentWindowsStage),
    reads=("sentiment",),
    state_version=STATE_VERSION,
    groups=("signal", "watchlist"),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    reasons=(
        Reasons(SentimentDrop, WORDS, "heartbeats"),
        Reasons(Unstated, UNSTATED_WORDS, NOWHERE),
    ),
)
