"""``tape step``: one stage over JSON lines, errors in their place."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.tape.cli.main import app
from tests.unit.stages.test_signals import VECTORS

GOOD = {
    "symbol": "NVDA",
    "t": "2026-01-29T15:00:00Z",
    "as_of": "2026-01-29T15:01:00Z",
    "now": "2026-01-29T15:00:00Z",
    "close": 100.0,
    "distance_sma20": 0.003,
    "trend_state": 1,
    "vol_ratio": 1.0,
    "volume_ratio": 2.0,
    "ready": True,
    "sentiment": None,
    "on_watchlist": True,
    "last_signal_t": None,
}


def step(stage: str, text: str, *options: str) -> tuple[list[dict[str, Any]], int]:
    """The output lines and the exit code."""
    result = CliRunner().invoke(app, ["step", stage, "--in", "-", *options], input=text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return [json.loads(line) for line in result.stdout.splitlines()], result.exit_code


def judge(line: dict[str, Any], *options: str) -> dict[str, Any]:
    outputs, code = step("signals", json.dumps(line), *options)
    assert len(outputs) == 1
    assert code == ("error" in outputs[0])
    return outputs[0]


def test_every_vector_of_the_rule_through_the_command() -> None:
    lines = []
    for _, trend, distance, vol_ratio, volume_ratio, sentiment, *_ in VECTORS:
        window = None if sentiment is None else {"avg": sentiment[0], "n": sentiment[1]}
        case = {"trend_state": trend, "distance_sma20": distance, "vol_ratio": vol_ratio}
        lines.append(GOOD | case | {"volume_ratio": volume_ratio, "sentiment": window})
    lines.append(GOOD | {"ready": False})
    lines.append(GOOD | {"last_signal_t": "2026-01-29T14:45:01Z"})
    lines.append(GOOD | {"last_signal_t": "2026-01-29T14:45:00Z"})
    expected = [vector[6:] for vector in VECTORS] + [
        ("HOLD", None, "NOT_READY", 0.0),
        ("HOLD", None, "COOLDOWN", 0.553437),
        ("BUY_CALL", "swing_trade", "OPTION_SWING_TRADE", 0.553437),
    ]
    outputs, code = step("signals", "\n".join(map(json.dumps, lines)))
    got = [(o["action"], o["strategy"], o["reason"], o["confidence"]) for o in outputs]
    assert got == expected
    assert code == 0
    assert (outputs[0]["symbol"], outputs[0]["t"]) == ("NVDA", GOOD["t"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"t": "2026-02-16T15:00:00Z"}, "OUTSIDE_SESSION"),
        ({"t": None}, "OUTSIDE_SESSION"),
        ({"on_watchlist": False}, "NOT_ON_WATCHLIST"),
        ({"on_watchlist": None}, "NOT_ON_WATCHLIST"),
        ({"ready": None}, "NOT_READY"),
        ({"close": None}, "NO_FEATURES"),
        ({"distance_sma20": None}, "NO_FEATURES"),
        ({"now": "2026-01-29T15:02:00.000001Z"}, "STALE_BAR"),
        ({"as_of": None}, "STALE_BAR"),
        ({"volume_ratio": None}, "VOLUME_UNKNOWN"),
        ({"feed": "sip"}, "FEED_NOT_SELECTED"),
        ({"suspect_split": True}, "SUSPECT_SPLIT"),
    ],
    ids=str,
)
def test_failing_or_unknown_key_holds(change: dict[str, Any], reason: str) -> None:
    assert judge(GOOD | change)["reason"] == reason


@pytest.mark.parametrize(
    "key", ["t", "as_of", "now", "close", "ready", "on_watchlist", "last_signal_t", "sentiment"]
)
def test_absent_key_is_not_tested(key: str) -> None:
    line = {k: v for k, v in GOOD.items() if k != key}
    assert judge(line)["reason"] == "OPTION_SWING_TRADE"


def test_times_may_carry_another_offset() -> None:
    assert judge(GOOD | {"t": "2026-01-29T10:00:00-05:00"})["action"] == "BUY_CALL"


@pytest.mark.parametrize("key", ["distance_sma20", "trend_state", "vol_ratio", "volume_ratio"])
def test_figure_the_rule_computes_with_must_be_given(key: str) -> None:
    line = {k: v for k, v in GOOD.items() if k != key}
    assert key in judge(line)["error"]
    assert judge(line | {"on_watchlist": False})["reason"] == "NOT_ON_WATCHLIST"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trend_state": 2}, "trend_state is not -1, 0 or 1"),
        ({"trend_state": 0.5}, "not a whole number"),
        ({"vol_ratio": "1"}, "vol_ratio is not a finite number"),
        ({"ready": 1}, "ready is neither true"),
        ({"t": "2026-01-29T15:00:00"}, "no time zone"),
        ({"t": "yesterday"}, "not an ISO 8601 time"),
        ({"t": "2033-01-31T15:00:00Z"}, "the calendar covers"),
        ({"sentiment": 0.5}, "sentiment is neither"),
        ({"sentiment": {"avg": 1.5, "n": 1}}, "avg in [-1, 1]"),
    ],
    ids=str,
)
def test_bad_value_is_named(change: dict[str, Any], words: str) -> None:
    assert words in judge(GOOD | change)["error"]


def test_bad_line_prints_its_error_in_place_and_the_rest_goes_on() -> None:
    good = json.dumps(GOOD)
    outputs, code = step("signals", f'{good}\n{{"t": \n\n[1]\n{{"vol_ratio": NaN}}\n{good}\n')
    assert [("error" in output) for output in outputs] == [False, True, True, True, False]
    assert outputs[1]["error"].startswith("line 2 is not JSON")
    assert code == 1


@pytest.mark.parametrize(
    ("stage", "key", "words"),
    [
        ("features", "volum", "unknown key volum; the nearest is 'volume'"),
        ("features", "Close", "unknown key Close; the nearest is 'close'"),
        ("signals", "trend", "the nearest is 'trend_state'"),
        ("signals", "last_signal", "the nearest is 'last_signal_t'"),
        ("signals", "qqq", "the nearest is none; the keys are as_of, "),
        ("watchlist", "age", "the nearest is 'age_s'"),
        ("sizing", "worstprice", "the nearest is 'worst_price'"),
        ("gates", "kill", "the nearest is 'kill_state'"),
    ],
)
def test_unknown_key_is_named_with_the_nearest_instead_of_being_left_out(
    stage: str, key: str, words: str
) -> None:
    outputs, code = step(stage, json.dumps({key: 1}) + "\n" + json.dumps({"symbol": "NVDA"}))
    assert f"unknown key {key}" in outputs[0]["error"] and words in outputs[0]["error"]
    assert "unknown key" not in outputs[1].get("error", "") or stage == "sizing"
    assert code == 1


def test_unknown_key_of_a_sentiment_is_named() -> None:
    assert "unknown key average" in judge(GOOD | {"sentiment": {"average": 0.4, "n": 2}})["error"]


def test_a_feature_record_is_a_line_of_the_stages_behind_it() -> None:
    record = step("features", bar("14:30"))[0][0] | {
        "distance_sma20": 0.004,
        "trend_state": 1,
        "vol_ratio": 1.2,
    }
    assert judge(record | {"volume_ratio": 2.0})["reason"] == "NOT_READY"
    assert step("watchlist", json.dumps(record | {"n": 1, "s": 0.5, "age_s": 60}))[0][0]["symbol"] == "NVDA"


def test_gap_fade_can_be_tried_with_another_config(tmp_path: Path) -> None:
    config = tmp_path / "tape.toml"
    config.write_text("[gap_fade]\nenabled = true\n")
    line = GOOD | {"gap_pct": 0.01, "prev_move": 0.01}
    assert judge(line)["reason"] == "OPTION_SWING_TRADE"
    assert judge(line, "--config", str(config))["reason"] == "GAP_FADE"
    config.write_text("[gap_fade]\nenable = true\n")
    with pytest.raises(ConfigInvalid, match="'enabled'"):
        judge(line, "--config", str(config))


def test_watchlist_line_gives_the_score_and_its_components() -> None:
    line = {
        "symbol": "NVDA",
        "n": 3,
        "s": 0.5,
        "age_s": 900,
        "distance_sma20": 0.004,
        "vol_ratio": 1.2,
        "trend_state": 1,
    }
    outputs, code = step("watchlist", json.dumps(line) + "\n" + json.dumps(line | {"distance_sma20": None}))
    assert outputs[0] == {
        "symbol": "NVDA",
        "watch_score": 0.678,
        "sentiment_pressure": 0.58,
        "setup_quality": 0.6,
        "vol_score": 0.625,
        "trend_alignment": 1.0,
    }
    assert outputs[1]["watch_score"] is None
    assert code == 0


@pytest.mark.parametrize("change", [{"n": -1}, {"s": 2}, {"trend_state": 3}, {"vol_ratio": True}], ids=str)
def test_bad_watchlist_line_is_an_error(change: dict[str, Any]) -> None:
    outputs, code = step("watchlist", json.dumps({"distance_sma20": 0, "trend_state": 0} | change))
    assert "error" in outputs[0] and code == 1


def bar(clock: str, **changed: Any) -> str:
    prices = {"open": 100.0, "high": 100.4, "low": 99.8, "close": 100.2, "volume": 900}
    return json.dumps({"symbol": "NVDA", "t": f"2026-01-29T{clock}:00Z"} | prices | changed)


def test_bars_are_folded_in_order_into_feature_records() -> None:
    outputs, code = step("features", "\n".join([bar("14:30"), bar("14:31", volume=1100, close=100.3)]))
    assert code == 0
    assert [(o["t"], o["as_of"], o["bars"], o["ready"]) for o in outputs] == [
        ("2026-01-29T14:30:00Z", "2026-01-29T14:31:00Z", 1, False),
        ("2026-01-29T14:31:00Z", "2026-01-29T14:32:00Z", 2, False),
    ]
    assert outputs[1]["session_date"] == "2026-01-29"
    assert outputs[1]["feed"] == "iex" and outputs[1]["sma20"] is None


def test_bad_bar_and_dropped_bar_are_told_apart() -> None:
    lines = [bar("14:30"), bar("14:30"), bar("14:31", volume=-1), bar("14:32", high=None), bar("14:33")]
    outputs, code = step("features", "\n".join(lines))
    assert outputs[1] == {"symbol": "NVDA", "t": "2026-01-29T14:30:00Z", "dropped": "DUPLICATE_BAR"}
    assert "BAD_BAR" in outputs[2]["error"] and "high is missing" in outputs[3]["error"]
    assert outputs[4]["bars"] == 2
    assert code == 1


def test_input_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["step", "signals", "--in", str(tmp_path / "absent.jsonl")])
    assert isinstance(result.exception, Fatal)
    assert "absent.jsonl" in str(result.exception)


def test_file_is_read_like_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")
    result = CliRunner().invoke(app, ["step", "signals", "--in", str(path)])
    assert json.loads(result.stdout)["reason"] == "OPTION_SWING_TRADE"


@pytest.mark.parametrize("stage", ["features", "links", "watchlist", "signals"])
def test_help_shows_an_example_that_works(stage: str) -> None:
    shown = CliRunner().invoke(app, ["step", stage, "--help"]).stdout
    example = shown.split("Example:")[1].split("gives")[0]
    outputs, code = step(stage, " ".join(example.split()))
    assert code == 0 and len(outputs) == 1
