"""How a decision is computed again: from its symbol's features and memberships, or on a state laid down."""

from tapedeck.streams.again import Again, Body, Case, Inputs, session_open
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import MINUTE_US, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import pack_state
from tapedeck.streams.stages.signals.fold import STATE_VERSION
from tapedeck.streams.stages.signals.stage import NUMBERS, SNAPSHOT

FEATURE = tuple(dict.fromkeys((
    "event_id", "event_time", "symbol", "feed", "t", "revision", "bar_revision", "as_of", "session_date",
    "ready", "suspect_split", "trend_state", *NUMBERS, *SNAPSHOT,
)))  # fmt: skip
"""The fields of a feature that the stage reads."""


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """Features and memberships from the session's open on, or from the cooldown's beginning."""
    symbol = body["symbol"].encode()
    cooldown = body["bar_t"] - (config.signal.cooldown_min + 1) * MINUTE_US
    since = min(session_open(calendar, body["bar_t"]), cooldown) - MINUTE_US
    return Case(symbol, *inputs.rows(symbol, since))


def state_on(last_signal_t: int | None, gap_fade_date: int | None) -> bytes:
    """The state value of a symbol of which nothing is known but its last signal, and its gap fade's date."""
    return pack_state(
        STATE_VERSION,
        {
            "membership": None,
            "decided": {},
            "last_signal_t": last_signal_t,
            "gap_fade_date": gap_fade_date,
        },
    )


AGAIN = Again(_case)
