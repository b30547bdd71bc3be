"""How an account's output is recomputed: by folding its whole inbox."""

from tapedeck.streams.again import Again, Body, Case, Inputs
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Stage
from tapedeck.streams.sessions import Calendar


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """From the inbox's first record on: the state is everything that ever reached the account."""
    key = body["account_id"].encode()
    return Case(key, *inputs.rows(key, None))


AGAIN = Again(_case)
