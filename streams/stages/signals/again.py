"""How a decision is recomputed: from its symbol's features and memberships."""

from tapedeck.streams.again import Again, Body, Case, Inputs, session_open
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Stage
from tapedeck.streams.sessions import Calendar


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """Features and memberships from the session's open on, or from the start of the cooldown."""
    symbol = body["symbol"].encode()
    cooldown = body["bar_t"] - (config.signal.cooldown_min + 1) * MINUTE_US
    since = min(session_open(calendar, body["bar_t"]), cooldown) - MINUTE_US
    return Case(symbol, *inputs.rows(symbol, since))


AGAIN = Again(_case)
