"""`tape step gates` and `tape step sizing`: the rules on one case a line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.gates import GATES
from tapedeck.tape.cli.step import app
from tapedeck.tape.step import gates, sizing

NOW = "2026-02-17T16:00:00Z"


def judge(adapter: Any, line: dict[str, Any]) -> dict[str, Any]:
    (output,) = adapter.run([line], Config())
    return dict(output)


GATE_LINES: list[tuple[dict[str, Any], str]] = [
    ({"confidence": 0.40}, "OK"),
    ({"confidence": 0.399999}, "CONFIDENCE_TOO_LOW"),
    ({"confidence": None}, "CONFIDENCE_MISSING"),
    ({"now": "2026-02-16T16:00:00Z"}, "SESSION_CLOSED"),
    ({"now": "2026-02-17T14:34:59Z"}, "OPENING_BLACKOUT"),
    ({"now": "2035-02-17T14:34:59Z"}, "CALENDAR_UNKNOWN"),
    ({"now": NOW, "signal_bar_t": "2026-02-17T15:54:00Z"}, "OK"),
    ({"now": NOW, "signal_bar_t": "2026-02-17T15:53:59Z"}, "SIGNAL_STALE"),
    ({"now": NOW, "newest_bar_t": None}, "BAR_MISSING"),
    ({"session_pnl": -499.99}, "OK"),
    ({"session_pnl": -500}, "DAILY_LOSS_REACHED"),
    ({"session_pnl": -100, "account": {"tier": "tiny"}}, "DAILY_LOSS_REACHED"),
    ({"filled_entries": 2}, "TICKER_DAILY_LIMIT"),
    ({"now": NOW, "last_execution": "2026-02-17T15:45:01Z"}, "TICKER_COOLDOWN"),
    ({"action": "SELL_STOCK", "long_qty": 0}, "NO_LONG_TO_SELL"),
    ({"action": "SELL_STOCK", "long_qty": 0, "account": {"tier": "large", "allow_shorting": True}}, "OK"),
    (
        {"action": "BUY_PUT", "account": {"tier": "large", "allowed_actions": ["BUY_CALL"]}},
        "ACTION_NOT_ALLOWED",
    ),
    ({"holdings": None}, "DUPLICATE_POSITION"),
    ({"symbol": "NVDA", "holdings": [{"symbol": "NVDA", "kind": "CALL", "qty": 1}]}, "DUPLICATE_POSITION"),
    ({"symbol": "NVDA", "reservations": [{"symbol": "NVDA", "action": "BUY_PUT"}]}, "CONFLICTING_DIRECTION"),
    (
        {
            "account": {"tier": "large", "max_exposure": 1500},
            "holdings": [{"symbol": "A", "kind": "CALL", "qty": 3, "multiplier": 100, "entry_price": 2}],
            "reservations": [
                {"symbol": "B", "action": "BUY_CALL", "remaining": 2, "worst_price": 2.5, "multiplier": 100}
            ],
            "quantity": 1,
            "worst_price": 4.01,
            "multiplier": 100,
        },
        "MAX_EXPOSURE",
    ),
    (
        {"quantity": 4, "worst_price": 2.03, "multiplier": 100, "buying_power": 1000, "unshown": 200},
        "BUYING_POWER",
    ),
    ({"contract_reason": "WIDE_SPREAD"}, "WIDE_SPREAD"),
    ({"now": NOW, "quote": {"bid": 1.95, "ask": 2.05, "time": "2026-02-17T15:59:45Z"}}, "OK"),
    ({"now": NOW, "quote": {"bid": 1.94, "ask": 2.05, "time": NOW}}, "SPREAD_TOO_WIDE"),
    ({"now": NOW, "quote": None}, "QUOTE_MISSING"),
    ({"signal_close": 100, "underlying_price": 100.5}, "OK"),
    ({"signal_close": 100, "underlying_price": 99.49}, "PRICE_DRIFT"),
    ({"regime": {"value": 40.0, "age_s": 1}}, "REGIME_EXTREME"),
    ({"regime": {"on": False}}, "OK"),
    ({"orders_in_doubt": 1}, "ORDER_STATE_UNKNOWN"),
    ({"stream_healthy": None}, "STREAM_DOWN"),
    ({"kill_state": "REDUCING"}, "KILL_SWITCH_REDUCING"),
    ({"kill_state": None}, "KILL_SWITCH_UNKNOWN"),
    ({"now": NOW, "identity": "ACCOUNT_MISMATCH"}, "ACCOUNT_MISMATCH"),
]


@pytest.mark.parametrize(("line", "reason"), GATE_LINES)
def test_a_gate_line_gives_its_primary_reason(line: dict[str, Any], reason: str) -> None:
    output = judge(gates, line)
    assert (output["passed"], output["primary_reason"]) == (reason == "OK", reason)


def test_all_24_gates_are_shown_and_those_without_a_key_are_not_tested() -> None:
    shown = judge(gates, {"confidence": 0.5})["gates"]
    assert [gate["gate"] for gate in shown] == [gate.name for gate in GATES]
    assert [gate["gate"] for gate in shown if gate["reason"] != "NOT_TESTED"] == ["confidence"]
    assert {gate["passed"] for gate in shown if gate["reason"] == "NOT_TESTED"} == {None}


BAD_GATE_LINES: list[tuple[dict[str, Any], str]] = [
    ({"confidense": 1}, "nearest is 'confidence'"),
    ({"signal_bar_t": NOW}, "now is missing"),
    ({"now": "2026-02-17 16:00"}, "timezone"),
    ({"action": "SELL_CALL"}, "action"),
    ({"confidence": 1, "account": {"tier": "huge"}}, "account.tier"),
    ({"confidence": 1, "account": {"tier": "tiny", "max_exposure": "lots"}}, "not a number"),
]


@pytest.mark.parametrize(("line", "words"), BAD_GATE_LINES)
def test_a_bad_gate_line_says_what_is_wrong(line: dict[str, Any], words: str) -> None:
    assert words in judge(gates, line)["error"]


SIZE_LINES: list[tuple[dict[str, Any], int, str]] = [
    ({"kind": "option", "equity": 100000, "risk": 0.01, "worst_price": 2.50}, 4, "SIZE_OK"),
    (
        {"kind": "option", "equity": 100000, "tier": "large", "strategy": "swing_trade", "worst_price": 1.5},
        10,
        "SIZE_CAPPED_CONTRACTS",
    ),
    ({"kind": "option", "equity": 100000, "tier": "large", "worst_price": 10.01}, 0, "SIZE_BELOW_ONE_UNIT"),
    ({"kind": "option", "equity": None, "risk": 0.01, "worst_price": 2.5}, 0, "SIZE_INPUT_MISSING"),
    ({"kind": "option", "equity": 100000, "risk": 0.01, "worst_price": 2.5, "regime": 0.5}, 2, "SIZE_OK"),
    ({"kind": "stock", "equity": 1000, "tier": "tiny", "worst_price": 50}, 5, "SIZE_CAPPED_POSITION_PCT"),
]


@pytest.mark.parametrize(("line", "quantity", "reason"), SIZE_LINES)
def test_a_sizing_line_gives_quantity_and_reason(line: dict[str, Any], quantity: int, reason: str) -> None:
    assert judge(sizing, line) == {"quantity": quantity, "reason": reason}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"kind": "option", "equity": 1, "worst_price": 1}, "neither risk nor tier"),
        ({"kind": "option", "risk": 0.1, "worst_price": 1}, "equity is missing"),
        ({"kind": "bond", "equity": 1, "risk": 0.1, "worst_price": 1}, "kind"),
    ],
)
def test_a_bad_sizing_line_says_what_is_wrong(line: dict[str, Any], words: str) -> None:
    assert words in judge(sizing, line)["error"]


@pytest.mark.parametrize(("stage", "adapter"), [("gates", gates), ("sizing", sizing)])
def test_the_examples_of_the_help_are_accepted(stage: str, adapter: Any, tmp_path: Path) -> None:
    text = adapter.HELP.split("Example", 1)[1]
    examples = text[text.index("{") : text.index("\ngive")]
    decoder, lines = json.JSONDecoder(), []
    while examples.strip():
        examples = examples.strip()
        value, end = decoder.raw_decode(examples)
        lines.append(json.dumps(value))
        examples = examples[end:]
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(lines))
    result = CliRunner().invoke(app, [stage, "--in", str(file)])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == len(lines)
