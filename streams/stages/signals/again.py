"""How a decision is recomputed: from its symbol's features, memberships and sentiment windows."""

from tapedeck.streams.again import Again, Body, Case, Inputs, session_open
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.signals.fold import WINDOW_US


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """What it reads from the session's open on, or from the start of the cooldown.

    It starts earlier by as long as a window counts: a decision before this one is judged on its own.
    """
    symbol = body["symbol"].encode()
    cooldown = body["bar_t"] - (config.signal.cooldown_min + 1) * MINUTE_US
    since = min(session_open(calendar, body["bar_t"]), cooldown) - MINUTE_US - WINDOW_US
    return Case(symbol, *inputs.rows(symbol, since))


AGAIN = Again(_case)
