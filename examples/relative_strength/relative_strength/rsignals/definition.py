"""The rsignals stage, for the topology; and how one signal is computed again, for `tape explain`."""

from relative_strength.parameters import Parameters
from relative_strength.rsignals.rule import WORDS, RsReason
from relative_strength.rsignals.stage import STATE_VERSION, RsignalsStage
from tapedeck.streams.again import Again, Body, Case, Inputs, session_open
from tapedeck.streams.config.document import Config
from tapedeck.streams.definition import Definition, Reasons, of_market
from tapedeck.streams.protocol import MINUTE_US, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.signals.told import OWN_SIGNALS


def _again(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    """From the symbol's features and strengths since the session's open, or since the cooldown before it."""
    symbol = body["symbol"].encode()
    cooldown = body["bar_t"] - (config.of(Parameters).cooldown_min + 1) * MINUTE_US
    since = min(session_open(calendar, body["bar_t"]), cooldown) - MINUTE_US
    return Case(symbol, *inputs.rows(symbol, since))


DEFINITION = Definition(
    make=of_market(RsignalsStage),
    reads=("features", "strengths"),
    state_version=STATE_VERSION,
    groups=("bars", "user.relative_strength"),
    reasons=(Reasons(RsReason, WORDS, "`rsignals.reason`, heartbeats"),),
    again=Again(_again),
    told={"rsignals": OWN_SIGNALS},
)
