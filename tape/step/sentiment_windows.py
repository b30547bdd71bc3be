"""``tape step sentiment_windows``: the two windows of a symbol at one moment, a case a line."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import iso_utc, micros
from tapedeck.streams.stages.sentiment_windows.rule import (
    Item,
    Label,
    Scope,
    Window,
    of_signals,
    of_watchlist,
)
from tapedeck.tape.step.common import Line, judged
from tapedeck.tape.step.shaped import shaped

HELP = """Compute the sentiment windows of one symbol at a moment.

A line is an object with these keys:
  t       ISO 8601 time at which the windows end
  items   a list of {"event_time", "score", "confidence", "label", "scope"}; scope is news or social,
          label POSITIVE, NEGATIVE or NEUTRAL
window_30 is the one of signals: 30 minutes, items in signal.sentiment_scope with a confidence above
signal.min_item_confidence. window_60 is the one of the watchlist: 60 minutes, every item in
watchlist.sentiment_scope. A neutral item counts 0 in the mean.

Example:
  {"t": "2026-01-29T15:00:00Z", "items": [{"event_time": "2026-01-29T14:45:00Z", "score": 0.8,
   "confidence": 0.9, "label": "POSITIVE", "scope": "news"}]}
gives
  {"t": "2026-01-29T15:00:00Z",
   "window_30": {"n": 1, "avg": 0.8, "pos": 1, "neg": 0, "neu": 0, "age_s": 900.0},
   "window_60": {"n": 1, "avg": 0.8, "pos": 1, "neg": 0, "neu": 0, "age_s": 900.0}}"""


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    event_time: AwareDatetime
    score: Annotated[float, Field(ge=-1, le=1)]
    confidence: Annotated[float, Field(ge=0, le=1)]
    label: Label
    scope: Scope


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid")

    t: AwareDatetime
    items: list[_Item]


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(line, config)])


def _judge(line: Line, config: Config) -> dict[str, Any]:
    case = shaped(_Case, line)
    t = micros(case.t)
    items = [
        Item(micros(each.event_time), each.score, each.confidence, each.label, each.scope)
        for each in case.items
    ]
    windows = {"window_30": of_signals(config), "window_60": of_watchlist(config)}
    return {"t": iso_utc(t)} | {name: _shown(each.at(items, t), t) for name, each in windows.items()}


def _shown(found: Window, t: int) -> dict[str, Any]:
    age = None if found.newest_at is None else (t - found.newest_at) / SECOND_US
    return {name: value for name, value in found._asdict().items() if name != "newest_at"} | {"age_s": age}
