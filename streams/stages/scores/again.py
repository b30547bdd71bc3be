"""How a score is recomputed: from the feature that it names."""

from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    key = body["symbol"].encode()
    rows = [Row("features", key, feature, 0, 0) for feature in inputs.named("features", body)]
    state = run(stage, Case(key, None, rows)).state
    return Case(watermark=body["evaluation"] - MINUTE_US, values={key: state} if state else {})


AGAIN = Again(_case)
