"""``tape step features``: bars folded in order, one feature record a bar."""

from collections.abc import Iterable, Iterator
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import iso_date, iso_utc, xnys
from tapedeck.streams.stages.features.stage import FeaturesStage
from tapedeck.tape.step.common import BadLine, Line, fields_of, judged, number, required, text, time, whole

HELP = """Fold bars, one a line and in the order given, and print the feature record that each gives.

A line is a bar:
  symbol, t (left edge), open, high, low, close, volume
  feed       default: the configured bars.feed
  revision   default: 0
An inserted minute gives two records: its own and the newest bar's again. A bar that the stage leaves
out prints {"symbol", "t", "dropped": REASON}. Times are ISO 8601, UTC.

Example:
  {"symbol": "NVDA", "feed": "iex", "t": "2026-01-29T14:30:00Z", "revision": 0,
   "open": 100.0, "high": 100.4, "low": 99.8, "close": 100.2, "volume": 900}
gives
  {"symbol": "NVDA", "t": "2026-01-29T14:30:00Z", "close": 100.2, "ready": false, "sma20": null, ...}"""

_TIMES = ("t", "as_of", "event_time")
_PRICES = ("open", "high", "low", "close", "volume")


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """The records that each line gives, in order."""
    return judged(lines, _Fold(config).apply, fields_of("bars"))


class _Fold:
    """The stage with the state of each of its keys."""

    def __init__(self, config: Config) -> None:
        self._feed = config.bars.feed
        self._stage = FeaturesStage(config, xnys())
        self._states: dict[bytes, bytes] = {}

    def apply(self, line: Line) -> list[dict[str, Any]]:
        row = self._row(line)
        key = self._stage.key(row)
        step = self._stage.step(key, self._states.get(key), [row])
        self._states[key] = step.state
        place = {"symbol": row.body["symbol"], "t": iso_utc(row.body["t"])}
        for drop in step.drops:
            if drop.reason in self._stage.dead_letter_reasons:
                raise BadLine(f"{drop.reason}: not a valid bar", value=dict(line))
        dropped = [place | {"dropped": str(drop.reason)} for drop in step.drops]
        return dropped + [
            _readable(out.body) if out.topic == "features" else place | {"dropped": "LATE"}
            for out in step.outs
        ]

    def _row(self, line: Line) -> Row:
        symbol, t = text(line, "symbol"), required(time(line, "t"), "t")
        feed = text(line, "feed") if "feed" in line else self._feed
        revision = whole(line, "revision") or 0
        body: dict[str, Any] = {key: required(number(line, key), key) for key in _PRICES}
        body |= {
            "event_id": event_id("bars", (feed, symbol, t), revision=revision),
            "event_time": t,
            "symbol": symbol,
            "feed": feed,
            "t": t,
            "revision": revision,
            "origin": "step",
        }
        return Row("bars", symbol.encode(), body, t - MINUTE_US, t)


def _readable(body: dict[str, Any]) -> dict[str, Any]:
    times = {key: iso_utc(body[key]) for key in _TIMES}
    return body | times | {"session_date": iso_date(body["session_date"]).isoformat()}
