"""How the mentions of an hour are counted again: from the symbol's scores since that hour began."""

from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.mentions.stage import own_value


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """The record stands at the first watermark after its inputs: all of them have one log minute."""
    symbol, watermark = body["symbol"].encode(), body["as_of"] - MINUTE_US
    rows = [row for row in inputs.rows(symbol, body["hour"]).rows if row.log_minute < watermark]
    if not rows:
        return None
    state = run(stage, Case(symbol, None, rows)).state
    return Case(
        watermark=watermark, values={symbol: state}, own=own_value(max(row.log_minute for row in rows))
    )


AGAIN = Again(_case)
