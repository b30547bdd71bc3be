"""The rule and the two stages, without a driver: they are pure functions."""

from datetime import date
from typing import Any

import pytest
from relative_strength.parameters import Parameters
from relative_strength.rsignals.rule import WORDS, Case, RsReason, judge
from relative_strength.rsignals.stage import RsignalsStage
from relative_strength.strength.stage import StrengthDrop, StrengthStage

from tapedeck.streams.again import Case as Stored
from tapedeck.streams.again import run
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import day_number, xnys

CONFIG = from_dict({})
OPEN = xnys().session_on(day_number(date(2026, 2, 17))).open
ACTS = Case(in_session=True, strength=0.006, trend=1, since_signal=None)


@pytest.mark.parametrize(
    "changed, reason, confidence",
    [
        ({}, RsReason.OUTPERFORMS, 0.75),
        ({"strength": -0.02, "trend": -1}, RsReason.UNDERPERFORMS, 1.0),
        ({"in_session": False}, RsReason.OUTSIDE_SESSION, 0.0),
        ({"strength": None}, RsReason.NO_STRENGTH, 0.0),
        ({"strength": 0.0039}, RsReason.IN_LINE, 0.0),
        ({"trend": 0}, RsReason.AGAINST_TREND, 0.0),
        ({"since_signal": 29}, RsReason.COOLDOWN, 0.0),
        ({"since_signal": 30}, RsReason.OUTPERFORMS, 0.75),
    ],
)
def test_the_first_check_that_fails_gives_the_reason(
    changed: dict[str, Any], reason: RsReason, confidence: float
) -> None:
    case = Case(**(vars(ACTS) | changed))
    assert judge(case, Parameters()) == (reason, confidence)
    assert WORDS[reason]


def feature(symbol: str, minute: int, momentum: float | None, **changed: Any) -> Row:
    t = OPEN + minute * MINUTE_US
    body = {
        "event_id": f"{symbol}{minute}", "event_time": t + MINUTE_US, "symbol": symbol, "t": t,
        "feed": CONFIG.bars.feed, "as_of": t + MINUTE_US, "revision": 0, "bar_revision": 0,
        "momentum_5": None, "momentum_15": momentum, "close": 100.0, "distance_sma20": 0.001,
        "trend_state": 1, "vol_ratio": 1.0, "volume_ratio": 1.0,
    }  # fmt: skip
    return Row("features", symbol.encode(), body | changed, t, t + MINUTE_US)


def strengths(*rows: Row, minute: int) -> dict[str, float]:
    """The strengths at the end of ``minute``, by symbol."""
    stage = StrengthStage(CONFIG, xnys())
    states = {row.key: run(stage, Stored(row.key, None, [row])).state for row in rows}
    given = run(stage, Stored(watermark=OPEN + minute * MINUTE_US, values=states))
    return {out.body["symbol"]: out.body["strength"] for out in given.outs if out.topic == "strengths"}


def test_strength_is_momentum_above_the_mean_of_all_that_are_fresh() -> None:
    rows = [feature("A", 20, 0.03), feature("B", 20, 0.0), feature("C", 19, 0.0), feature("D", 10, 9.0)]
    assert strengths(*rows, minute=20) == pytest.approx({"A": 0.02, "B": -0.01, "C": -0.01})


def test_too_few_symbols_have_no_mean() -> None:
    assert strengths(feature("A", 20, 0.03), feature("B", 20, 0.0), minute=20) == {}
    assert StrengthDrop.TOO_FEW_SYMBOLS


def strength(minute: int, value: float) -> Row:
    at = OPEN + minute * MINUTE_US
    body = {"event_id": f"s{minute}", "evaluation": at, "strength": value}
    return Row("strengths", b"A", body, at - MINUTE_US, at)


def test_a_bar_is_decided_once_on_the_strength_before_it_and_names_both() -> None:
    stage = RsignalsStage(CONFIG, xnys())
    rows = [strength(20, 0.006), feature("A", 20, None), feature("A", 20, None), feature("A", 21, None)]
    step = stage.step(b"A", None, rows)
    (out,) = step.outs
    assert (out.topic, out.body["action"], out.body["strategy"]) == (
        "rsignals",
        "BUY_CALL",
        "relative_strength",
    )
    assert out.body["inputs"] == ["A20", "s20"]
    assert [drop.reason for drop in step.drops] == [RsReason.DECIDED, RsReason.COOLDOWN]


def test_without_a_fresh_strength_nothing_is_done() -> None:
    stage = RsignalsStage(CONFIG, xnys())
    assert [d.reason for d in stage.step(b"A", None, [feature("A", 20, None)]).drops] == [
        RsReason.NO_STRENGTH
    ]
    old = [strength(17, 0.006), feature("A", 20, None)]
    assert [d.reason for d in stage.step(b"A", None, old).drops] == [RsReason.NO_STRENGTH]
