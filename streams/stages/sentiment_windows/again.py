"""How the windows of a symbol are recomputed: from the scores that they count."""

from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.sentiment_windows.stage import before_change


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    scores = inputs.named("sentiment", body)
    if len(scores) < len(body["inputs"]):
        return None
    symbol = str(body["symbol"])
    key = symbol.encode()
    state = run(stage, Case(key, None, [Row("sentiment", key, each, 0, 0) for each in scores])).state
    return Case(
        watermark=body["t"] - MINUTE_US, values={key: state} if state else {}, own=before_change(symbol)
    )


AGAIN = Again(_case)
