"""How a feature is recomputed: from the recorded bars of its series."""

from tapedeck.streams.again import Again, Body, Case, Inputs, session_open
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.features.window import Window, window_of

_PRE_MARKET_US = 6 * 60 * MINUTE_US


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """The bars from the previous session on: older ones are no longer in any window."""
    symbol = body["symbol"].encode()
    since = session_open(calendar, body["t"], previous=True) - _PRE_MARKET_US
    key = f"{body['feed']}|{body['symbol']}".encode()
    return Case(key, *inputs.rows(symbol, since))


def _held(state: bytes, body: Body, config: Config) -> Window | None:
    return window_of(state, body["t"], config) if "bars" in body else None


AGAIN = Again(_case, _held)
