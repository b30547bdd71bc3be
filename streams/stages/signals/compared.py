"""Decisions for a what-if: one bar decided alone, on a given feature, membership and state."""

from tapedeck.streams.compared import Body, Decides
from tapedeck.streams.stages.base import pack_state
from tapedeck.streams.stages.signals.fold import FIRST_VERSION
from tapedeck.streams.stages.signals.rule import Strategy
from tapedeck.streams.stages.signals.stage import MEMBERSHIP, NUMBERS, SNAPSHOT

_FEATURE = tuple(dict.fromkeys((
    "event_id", "event_time", "symbol", "feed", "t", "revision", "bar_revision", "as_of", "session_date",
    "ready", "suspect_split", "trend_state", *NUMBERS, *SNAPSHOT,
)))  # fmt: skip
"""The fields of a feature that the stage reads."""
_FLAGS = ("ready", "suspect_split")
_NO_ID = ""


def _laid(feed: str, symbol: str, t: int, known: Body) -> Body:
    flags = {name: bool(known[name]) for name in _FLAGS}
    own = {"event_id": _NO_ID, "event_time": known["as_of"], "symbol": symbol, "feed": feed, "t": t}
    return dict.fromkeys(_FEATURE, 0) | known | flags | own


def _place(at: int, on_watchlist: bool) -> Body:
    own = {"event_id": _NO_ID, "event_time": at, "on_watchlist": on_watchlist}
    return dict.fromkeys(MEMBERSHIP) | own


def _state_on(last_signal_t: int | None, gap_fade_date: int | None) -> bytes:
    """The state of a symbol of which only the last signal and its gap fade's date are known."""
    return pack_state(
        FIRST_VERSION,
        {
            "membership": None,
            "decided": {},
            "last_signal_t": last_signal_t,
            "gap_fade_date": gap_fade_date,
        },
    )


DECIDES = Decides(
    topic="decisions",
    listed="memberships",
    ints=("as_of", *_FLAGS, "trend_state"),
    floats=NUMBERS,
    once_a_day=Strategy.GAP_FADE,
    laid=_laid,
    place=_place,
    state_on=_state_on,
)
