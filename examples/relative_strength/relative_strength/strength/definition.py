"""The strength stage, for the topology; and how one of its records is computed again, for `tape explain`."""

from relative_strength.strength.stage import STATE_VERSION, WORDS, StrengthDrop, StrengthStage
from tapedeck.streams.again import Again, Body, Case, Inputs, run
from tapedeck.streams.config.document import Config
from tapedeck.streams.definition import Definition, Reasons, of_market
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar


def _again(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """From all features that the mean is of. A strength names its mean, and that names the features."""
    whole = body if "symbols" in body else next(iter(inputs.named("universe_means", body)), None)
    features = [] if whole is None else inputs.named("features", whole)
    if whole is None or len(features) < len(whole["inputs"]):
        return None
    rows = [Row("features", each["symbol"].encode(), each, 0, 0) for each in features]
    states = {row.key: run(stage, Case(row.key, None, [row])).state for row in rows}
    return Case(watermark=body["evaluation"] - MINUTE_US, values=states)


DEFINITION = Definition(
    make=of_market(StrengthStage),
    reads=("features",),
    state_version=STATE_VERSION,
    groups=("bars", "user.relative_strength"),
    reasons=(Reasons(StrengthDrop, WORDS, "heartbeats"),),
    again=Again(_again),
)
