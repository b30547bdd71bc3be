"""A stage outside the package: it echoes every decision except HOLD."""

from collections.abc import Mapping
from enum import StrEnum

from tapedeck.streams.again import Again, Body, Case, Inputs
from tapedeck.streams.config.document import Config
from tapedeck.streams.definition import Definition, Reasons
from tapedeck.streams.protocol import Batch, Drop, Out, Row, Stage, Step
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import WithoutPeriod, derived


class EchoReason(StrEnum):
    """Why a decision gave no echo."""

    SILENT = "SILENT"


WORDS: Mapping[StrEnum, str] = {EchoReason.SILENT: "a decision that holds makes no sound"}


class EchoStage(WithoutPeriod):
    def __init__(self, config: Config) -> None:
        self._digest = config.digest

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        outs: list[Out] = []
        drops: list[Drop] = []
        for cause, row in enumerate(batch):
            if row.body["action"] == "HOLD":
                drops.append(Drop(cause, EchoReason.SILENT))
                continue
            names = ("event_time", "symbol", "bar_t")
            body = {name: row.body[name] for name in names} | {"revision": 0, "would_differ": True}
            body |= {"old_action": "HOLD", "new_action": row.body["action"]}
            outs.append(derived(cause, "echoes", body, self._digest, [row.body["event_id"]]))
        return Step(b"", outs, drops)


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    key = body["symbol"].encode()
    return Case(key, None, [Row("decisions", key, each, 0, 0) for each in inputs.named("decisions", body)])


DEFINITION = Definition(
    make=lambda config, calendar, account_id: EchoStage(config),
    reads=("decisions",),
    state_version=1,
    reasons=(Reasons(EchoReason, WORDS, "heartbeats"),),
    again=Again(_case),
)
