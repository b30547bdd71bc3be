"""How the surge of an hour is judged again: from the mentions that it names, and its days of baseline."""

from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.surges.hours import HOUR_US
from tapedeck.streams.stages.surges.stage import Own, SurgesStage


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """Hours without a record are zeros: from how many days there were follows since when all were seen."""
    assert isinstance(stage, SurgesStage)
    mentions = inputs.named("mentions", body)
    if len(mentions) < len(body["inputs"]):
        return None
    symbol, hour, end = body["symbol"].encode(), body["hour"] // HOUR_US, body["event_time"]
    rows = [Row("mentions", symbol, each, end - MINUTE_US, end) for each in mentions]
    seen = stage.baseline_hours(hour)[: body["days"]]
    own = Own(next=hour, since=seen[-1] if seen else hour)
    return Case(
        watermark=end - MINUTE_US,
        values={symbol: run(stage, Case(symbol, None, rows)).state},
        own=own.packed(),
    )


AGAIN = Again(_case)
