"""How a score is recomputed: from the feature and the sentiment window that it names."""

from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.scores.stage import WINDOWS

_READ = ("features", WINDOWS)


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    key = body["symbol"].encode()
    rows = [Row(topic, key, each, 0, 0) for topic in _READ for each in inputs.named(topic, body)]
    state = run(stage, Case(key, None, rows)).state
    return Case(watermark=body["evaluation"] - MINUTE_US, values={key: state} if state else {})


AGAIN = Again(_case)
