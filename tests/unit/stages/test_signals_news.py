"""News in the signals stage: the window in force, how long it is, what a decision keeps of it."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Judged
from tapedeck.streams.protocol import Row
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.signals.misses import detail
from tapedeck.streams.stages.signals.stage import SignalsStage
from tapedeck.streams.stages.signals.told import TOLD
from tests.support.market_bodies import Table, bodies, feature_row, membership_row, minute, window_row

CONFIG = Config()
DAY, SWING = "day_trade", "swing_trade"
AT = 30

# id, trend, distance, vol_ratio, volume_ratio, (s, n), action, strategy, reason, confidence
VECTORS = [
    ("S3", 1, 0.003, 1, 2, None, "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.553437),
    ("S4", 1, 0.003, 1, 2, (0.8, 5), "BUY_CALL", DAY, "OPTION_DAY_TRADE", 0.664125),
    ("S5", 1, 0.003, 1, 2, (-0.8, 5), "HOLD", None, "OPTIONS_CONFIDENCE_TOO_LOW", 0.464887),
    ("S27", -1, -0.003, 1, 2, (-0.6, 5), "BUY_PUT", SWING, "OPTION_SWING_TRADE", 0.636453),
    ("S29", 1, 0.003, 1, 2, (0.5, 2), "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.581109),
    ("S32", 1, 0.0101, 0.79, 5, (-1, 9), "BUY_CALL", DAY, "OPTION_DAY_TRADE", 1.0),
    ("S33", 1, 0.012, 1.35, None, (1, 5), "HOLD", None, "VOLUME_UNKNOWN", 0.46875),
]


def table(*rows: Row) -> Table:
    """The stage with the symbol on the list."""
    made = Table(SignalsStage(CONFIG, xnys()))
    made.feed([membership_row(), *rows])
    return made


def decided(made: Table, n: int, **changed: Any) -> dict[str, Any]:
    """The decision on the bar of minute ``n``."""
    return bodies(made.feed([feature_row(t=minute(n), **changed)]), "decisions")[0]


def named(n: int, *others: str) -> list[str]:
    return [f"f-iex-NVDA-{minute(n)}-0", f"m-NVDA-{minute(0)}", *others]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector[0] for vector in VECTORS])
def test_vector_through_the_stage(vector: Sequence[Any]) -> None:
    _, trend, distance, vol_ratio, volume_ratio, sentiment, *expected = vector
    avg, n = sentiment or (0.0, 0)
    made = table(*([window_row(t=minute(AT), n=n, avg=avg)] if sentiment else []))
    figures = {"trend_state": trend, "distance_sma20": distance}
    body = decided(made, AT, **figures, vol_ratio=vol_ratio, volume_ratio=volume_ratio)
    assert [body[name] for name in ("action", "strategy", "reason", "confidence")] == expected
    assert (body["sentiment_n"], body["sentiment_avg"]) == (n, avg)
    assert body["inputs"] == named(AT, *([f"w-NVDA-{minute(AT)}"] if sentiment else []))


def test_signal_tells_the_same_news_as_its_decision() -> None:
    outs = table(window_row(avg=0.123457, n=3)).feed([feature_row(t=minute(1))])
    decision, signal = bodies(outs, "decisions")[0], bodies(outs, "signals")[0]
    assert decision["factors"]["sentiment"] == signal["factors"]["sentiment"] == 1.018519
    for name in ("sentiment_n", "sentiment_avg", "inputs"):
        assert decision[name] == signal[name]
    assert (signal["sentiment_n"], signal["sentiment_avg"]) == (3, 0.123457)


def test_empty_window_is_an_input_and_changes_nothing_else() -> None:
    with_window, without = decided(table(window_row(n=0, avg=0.0)), 1), decided(table(), 1)
    assert with_window["inputs"] == named(1, f"w-NVDA-{minute(0)}") and without["inputs"] == named(1)
    identity = ("event_id", "inputs")
    assert {k: v for k, v in with_window.items() if k not in identity} == {
        k: v for k, v in without.items() if k not in identity
    }


def test_window_without_a_membership_is_the_second_input() -> None:
    made = Table(SignalsStage(CONFIG, xnys()))
    made.feed([window_row()])
    body = decided(made, 1)
    assert body["inputs"] == [f"f-iex-NVDA-{minute(1)}-0", f"w-NVDA-{minute(0)}"]
    assert (body["reason"], body["sentiment_n"]) == ("NOT_ON_WATCHLIST", 5)


def test_window_holds_from_its_place_in_the_log() -> None:
    rows = [
        feature_row(t=minute(1)),
        window_row(t=minute(20), avg=-0.8),
        feature_row(t=minute(20)),
        window_row(t=minute(40), avg=0.8),
    ]
    outs = bodies(table().feed(rows), "decisions")
    assert [body["sentiment_avg"] for body in outs] == [0.0, -0.8]


def test_older_or_repeated_window_is_dropped() -> None:
    made = table(window_row(t=minute(5), avg=0.8), window_row(t=minute(5), avg=-0.8))
    made.feed([window_row(t=minute(4), avg=-0.8)])
    assert made.reasons() == ["DUPLICATE", "SUPERSEDED"]
    assert decided(made, 6)["sentiment_avg"] == 0.8


@pytest.mark.parametrize("n", [5, 0])
def test_window_is_in_force_until_thirty_minutes_after_its_end(n: int) -> None:
    made = table(window_row(t=minute(0), n=n, avg=0.8 if n else 0.0))
    last, over = decided(made, 29), decided(made, 30)
    assert last["inputs"] == named(29, f"w-NVDA-{minute(0)}") and last["sentiment_n"] == n
    assert over["inputs"] == named(30) and (over["sentiment_n"], over["sentiment_avg"]) == (0, 0.0)


def test_age_of_a_window_is_counted_on_the_log_and_not_from_the_bar() -> None:
    made = table(window_row(t=minute(0)))
    assert decided(made, 29, now=minute(30))["sentiment_n"] == 0
    assert bodies(made.outs, "decisions")[0]["factors"]["sentiment"] == 1.0


def test_windows_that_stop_and_come_back_count_again() -> None:
    made = table(window_row(t=minute(0), avg=0.8))
    found = [decided(made, n)["sentiment_n"] for n in (10, 45)]
    made.feed([window_row(t=minute(60), n=2, avg=0.5)])
    assert [*found, decided(made, 61)["sentiment_n"]] == [5, 0, 2]


def test_revision_is_judged_on_the_news_of_the_decision() -> None:
    made = table(window_row(t=minute(0), avg=0.8))
    assert decided(made, 1)["reason"] == "OPTION_DAY_TRADE"
    made.feed([window_row(t=minute(2), avg=-0.8)])
    # on the news of now it would hold
    assert made.feed([feature_row(t=minute(1), now=minute(3), revision=1)]) == []
    assert made.reasons() == ["SAME_ACTION"]
    assert decided(made, 30)["reason"] == "OPTIONS_CONFIDENCE_TOO_LOW"


def test_revision_of_a_decision_without_news_is_judged_without() -> None:
    made = table()
    assert decided(made, 1)["action"] == "BUY_CALL"
    made.feed([window_row(t=minute(2), avg=-0.8)])
    assert made.feed([feature_row(t=minute(1), now=minute(3), revision=1)]) == []
    assert made.reasons() == ["SAME_ACTION"]


def test_revision_is_judged_on_the_news_of_the_decision_after_that_is_over() -> None:
    made = table(window_row(t=minute(0), avg=-0.8))
    assert decided(made, 29)["action"] == "HOLD"
    assert decided(made, 31, revision=0)["action"] == "BUY_CALL"
    assert made.feed([feature_row(t=minute(29), now=minute(31), revision=1)]) == []
    outs = made.feed([feature_row(t=minute(29), now=minute(31), revision=2, volume_ratio=5.5)])
    assert bodies(outs, "revision_audit")[0]["new_action"] == "BUY_CALL"


def test_state_without_windows_has_the_first_format_and_goes_on_in_the_second() -> None:
    made = table(feature_row(t=minute(1)))
    version, fields = orjson.loads(made.values[b"NVDA"])
    assert version == 1 and "window" not in fields
    assert [len(bar[3]) for bar in fields["decided"]["iex"]] == [4]
    made.feed([window_row(t=minute(2), n=3, avg=-0.5), feature_row(t=minute(3))])
    version, fields = orjson.loads(made.values[b"NVDA"])
    assert version == 2
    assert fields["window"] == {
        "event_id": f"w-NVDA-{minute(2)}", "event_time": minute(2), "n": 3, "avg": -500_000,
    }  # fmt: skip
    assert [bar[3][4:] for bar in fields["decided"]["iex"]] == [[0, 0], [3, -500_000]]


@pytest.mark.parametrize(
    ("n", "avg", "counted"), [(-1, 0.5, (0, 0.5)), (5, float("nan"), (5, 0.0)), (5, 7.0, (5, 1.0))]
)
def test_window_that_no_rule_gives_is_bounded(n: int, avg: float, counted: tuple[int, float]) -> None:
    made = table(window_row(n=n, avg=avg))
    body = decided(made, 1)
    assert (body["sentiment_n"], body["sentiment_avg"]) == counted
    assert decided(made, 2)["sentiment_avg"] == counted[1]


def test_decision_in_words_tells_its_news() -> None:
    details = TOLD["decisions"].details
    assert details is not None
    with_news = decided(table(window_row(n=3, avg=0.42)), 1)
    assert details(with_news)[0].endswith("; rank 1; news +0.42 of 3 items")
    assert details(decided(table(window_row(n=1, avg=-0.5)), 1))[0].endswith("news -0.50 of 1 item")
    assert details(decided(table(), 1))[0].endswith("; rank 1")


def test_confidence_that_news_made_too_low_says_so() -> None:
    body = decided(table(window_row(avg=-0.8)), 1)
    told = detail(body["reason"], Judged(body, {}), CONFIG)
    assert told == "news -0.80 of 5 items changed the confidence by the factor 0.84"
    alone = decided(table(), 1, volume_ratio=1.0)
    assert alone["reason"] == "OPTIONS_CONFIDENCE_TOO_LOW"
    assert detail(alone["reason"], Judged(alone, {}), CONFIG) == ""
