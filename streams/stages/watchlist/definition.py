"""The watchlist stage, for the topology."""

from tapedeck.streams.definition import NOWHERE, Definition, Reasons, of_market
from tapedeck.streams.stages.watchlist.again import AGAIN
from tapedeck.streams.stages.watchlist.funnel import FUNNEL
from tapedeck.streams.stages.watchlist.reasons import (
    DROP_WORDS,
    UNSTATED_WORDS,
    WORDS,
    Unstated,
    WatchlistDrop,
    WatchlistReason,
)
from tapedeck.streams.stages.watchlist.stage import STATE_VERSION, WatchlistStage
from tapedeck.streams.stages.watchlist.told import TOLD
from tapedeck.streams.stages.watchlist.trail import TRAIL

DEFINITION = Definition(
    make=of_market(WatchlistStage),
    reads=("scores", "universe"),
    state_version=STATE_VERSION,
    groups=("watchlist",),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    trail=TRAIL,
    reasons=(
        Reasons(WatchlistReason, WORDS, "`watchlist.events`, `memberships.reason`"),
        Reasons(WatchlistDrop, DROP_WORDS, "heartbeats"),
        Reasons(Unstated, UNSTATED_WORDS, NOWHERE),
    ),
)
