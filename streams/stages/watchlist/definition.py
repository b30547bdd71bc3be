"""The watchlist stage, for the topology."""

from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import Stage
from tapedeck.streams.definition import NOWHERE, Definition, Reasons
from tapedeck.streams.sessions import Calendar
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


def _make(config: Config, calendar: Calendar, account_id: str | None) -> Stage:
    return WatchlistStage(config, calendar)


DEFINITION = Definition(
    make=_make,
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
