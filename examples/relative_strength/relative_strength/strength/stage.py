"""features -> universe_means, strengths: momentum of each symbol minus the mean of all.

A mean needs every symbol, so the stage is single and works when the minute has ended in all partitions. State
per symbol: its newest feature.
"""

from collections.abc import Mapping
from enum import StrEnum
from math import fsum

from relative_strength.parameters import Parameters
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, WATERMARK_CAUSE, Batch, Drop, Row, Step, Values
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body, derived, pack_state, unpack_state

STATE_VERSION = 1
KEPT = ("event_id", "event_time", "revision", "as_of", "momentum_5", "momentum_15")


class StrengthDrop(StrEnum):
    """Why a feature, or a minute, gave no strength."""

    OTHER_FEED = "OTHER_FEED"
    OLD_FEATURE = "OLD_FEATURE"
    TOO_FEW_SYMBOLS = "TOO_FEW_SYMBOLS"


WORDS: Mapping[StrEnum, str] = {
    StrengthDrop.OTHER_FEED: "the feature is of another feed than the configured one",
    StrengthDrop.OLD_FEATURE: "the same feature or a newer one was there already",
    StrengthDrop.TOO_FEW_SYMBOLS: "too few symbols have a fresh momentum for a mean",
}


class StrengthStage:
    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._digest, self._feed = config.digest, config.bars.feed
        self._rules, self._calendar = config.of(Parameters), calendar

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        newest = unpack_state(STATE_VERSION, state) if state else None
        drops = []
        for cause, row in enumerate(batch):
            if row.body["feed"] != self._feed:
                drops.append(Drop(cause, StrengthDrop.OTHER_FEED))
            elif newest is not None and _order(row.body) <= _order(newest):
                drops.append(Drop(cause, StrengthDrop.OLD_FEATURE))
            else:
                newest = {name: row.body[name] for name in KEPT}
        return Step(pack_state(STATE_VERSION, newest) if newest else b"", [], drops)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        evaluation = watermark + MINUTE_US
        if not self._calendar.is_boundary(evaluation, 60):
            return Step(b"", [], [])
        fresh = {
            key.decode(): feature
            for key, state in values.items()
            if self._is_fresh(feature := unpack_state(STATE_VERSION, state), evaluation)
        }
        if len(fresh) < self._rules.min_symbols:
            return Step(b"", [], [Drop(WATERMARK_CAUSE, StrengthDrop.TOO_FEW_SYMBOLS)])
        mean = fsum(map(self._momentum, fresh.values())) / len(fresh)
        # One record names all features, the others name that record: n names a minute, not n times n.
        whole = derived(
            WATERMARK_CAUSE,
            "universe_means",
            {"event_time": evaluation, "evaluation": evaluation, "symbols": len(fresh), "mean": mean},
            self._digest,
            [feature["event_id"] for feature in fresh.values()],
        )
        outs = [whole]
        for symbol, feature in fresh.items():
            momentum = self._momentum(feature)
            body = {
                "event_time": evaluation,
                "symbol": symbol,
                "evaluation": evaluation,
                "as_of": feature["as_of"],
                "momentum": momentum,
                "mean": mean,
                "strength": momentum - mean,
            }
            inputs = [feature["event_id"], whole.event_id]
            outs.append(derived(WATERMARK_CAUSE, "strengths", body, self._digest, inputs))
        return Step(b"", outs, [])

    def _momentum(self, feature: Body) -> float:
        return float(feature[f"momentum_{self._rules.window_min}"])

    def _is_fresh(self, feature: Body, evaluation: int) -> bool:
        known = feature[f"momentum_{self._rules.window_min}"] is not None
        return known and evaluation - feature["as_of"] < self._rules.stale_min * MINUTE_US


def _order(feature: Body) -> tuple[int, int]:
    return feature["event_time"], feature["revision"]
