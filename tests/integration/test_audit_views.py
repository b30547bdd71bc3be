"""Ledgers and views of trading: rows whose results are worked out by hand, on a real server.

Intervals are constants of scipy 1.17 and statsmodels: stats.t.interval, proportion_confint(method="wilson")
and ttest_ind(equal_var=False).confidence_interval().
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.postgres.database import downgrade, upgrade
from tests.support.audit_tables import CALL, DAY, MINUTE, SECOND, Book, Schema, T, record
from tests.support.cases import REPOSITORY

pytestmark = pytest.mark.integration


@pytest.fixture
def fresh(postgres: Any, prefix: str) -> Iterator[Schema]:
    upgrade(postgres.url, prefix)
    yield Schema(postgres.url, prefix)
    downgrade(postgres.url, prefix)


@pytest.fixture
def book(fresh: Schema) -> Book:
    return Book(fresh)


def near(*wanted: float | None, rel: float = 2e-6) -> Any:
    return [pytest.approx(each, rel=rel, abs=1e-8) if each is not None else None for each in wanted]


# -- the statistics


@pytest.mark.parametrize(
    "df, t, rel",
    [
        (1, 12.706204736174694, 1e-12), (2, 4.302652729749462, 1e-12), (2.2, 3.948720749712723, 1e-4),
        (3, 3.1824463052837078, 1e-6), (4, 2.7764451051977934, 1e-7), (4.7, 2.62072607535317, 1e-7),
        (9, 2.262157162798205, 1e-7), (29, 2.045229642132703, 1e-9), (30.5, 2.04086944518632, 1e-9),
        (120, 1.9799304050824402, 1e-9), (1e6, 1.959966356814107, 1e-6),
    ],
)  # fmt: skip
def test_the_quantile_of_students_t_is_scipys(fresh: Schema, df: float, t: float, rel: float) -> None:
    ((found,),) = fresh.read(f"SELECT t95({df})")
    assert found == pytest.approx(t, rel=rel)


def test_the_quantile_is_null_for_no_case_and_too_wide_rather_than_too_narrow_between_1_and_2(
    fresh: Schema,
) -> None:
    assert fresh.read("SELECT t95(0), t95(NULL)") == [(None, None)]
    ((found,),) = fresh.read("SELECT t95(1.5)")
    assert 6.016663104427929 <= found <= 1.03 * 6.016663104427929


@pytest.mark.parametrize(
    "k, n, low, high",
    [
        (0, 1, 0, 0.793450685623), (1, 3, 0.06149194472, 0.792340399198),
        (3, 10, 0.107791267406, 0.603221852539), (10, 10, 0.722467200137, 1),
        (0, 7, 0, 0.354330435067), (50, 100, 0.403831530366, 0.596168469634),
    ],
)  # fmt: skip
def test_wilsons_interval_is_that_of_statsmodels(
    fresh: Schema, k: int, n: int, low: float, high: float
) -> None:
    ((*found,),) = fresh.read(f"SELECT wilson_low({k}, {n}), wilson_high({k}, {n})")
    assert found == near(low, high, rel=1e-9)
    assert fresh.read("SELECT wilson_low(0, 0), wilson_high(0, 0)") == [(None, None)]


# -- P&L

PNL = """SELECT mode::text, account_id, session_date::text, strategy, exit_reason, n, needs_review, realised,
         fees, net, wins, losses FROM v_pnl ORDER BY 2, 3, 4, 5"""
RATES = """SELECT win_rate, win_rate_low, win_rate_high, expectancy, expectancy_low, expectancy_high
           FROM v_pnl ORDER BY account_id, session_date, strategy, exit_reason"""


def test_pnl_of_a_session_by_strategy_and_exit_with_intervals_worked_out_by_hand(book: Book) -> None:
    option = {"multiplier": 100}
    book.trade("2.00", "2.50", qty=2, fee="0.10", **option)  # +100.00 - 0.20 = 99.80 of 400
    book.trade("3.00", "2.40", fee="0.05", at=T + MINUTE, **option)  # -60.00 - 0.10 = -60.10 of 300
    book.trade("2.00", "2.01", fee="0.05", at=T + 9 * MINUTE, **option)  # +1.00 - 0.10 = 0.90 of 200: flat
    assert book.store.read(PNL) == [
        (
            "PAPER",
            "tiny",
            "2023-11-14",
            "day_trade",
            "PROFIT_TARGET",
            3,
            0,
            D(41),
            D("0.40"),
            D("40.60"),
            1,
            1,
        )
    ]
    (rates,) = book.store.read(RATES)
    assert list(rates) == near(
        1 / 3, 0.06149194472, 0.792340399198, 13.533333333333331, -186.9244719048555, 213.99113857152216
    )
    rows = book.store.read("SELECT net, net_fraction, entry_cost FROM closed_positions ORDER BY opened_at")
    assert rows == [
        (D("99.80"), D("0.249500"), D(400)), (D("-60.10"), D("-0.200333"), D(300)),
        (D("0.90"), D("0.004500"), D(200)),
    ]  # fmt: skip


def test_one_trade_has_no_interval_and_rows_are_apart_by_what_names_them(
    book: Book,
) -> None:
    book.trade("10", "11")
    book.trade("10", "11", account_id="large")
    book.trade("10", "11", at=T + 3 * 60 * MINUTE)  # 01:14 UTC: still that evening in New York
    book.trade("10", "11", at=T + DAY)
    book.trade("10", "9", exit_reason="STOP_LOSS")
    book.trade("10", "11", strategy="swing_trade")
    found = [(row[1], row[2], row[3], row[4], row[5]) for row in book.store.read(PNL)]
    assert found == [
        ("large", "2023-11-14", "day_trade", "PROFIT_TARGET", 1),
        ("tiny", "2023-11-14", "day_trade", "PROFIT_TARGET", 2),
        ("tiny", "2023-11-14", "day_trade", "STOP_LOSS", 1),
        ("tiny", "2023-11-14", "swing_trade", "PROFIT_TARGET", 1),
        ("tiny", "2023-11-15", "day_trade", "PROFIT_TARGET", 1),
    ]
    assert [row[4:] for row in book.store.read(RATES)][2] == (None, None)


def test_modes_are_never_mixed_and_a_shadow_account_is_in_no_view_of_pnl(book: Book) -> None:
    book.trade("10", "11")
    book.account("tiny", "LIVE", at=T + 5 * MINUTE)
    book.trade("10", "12", at=T + 6 * MINUTE)
    book.account("tiny", "SHADOW", at=T + 9 * MINUTE)
    book.trade("10", "13", at=T + 10 * MINUTE)
    assert [(row[0], row[7]) for row in book.store.read(PNL)] in (
        [("PAPER", D(1)), ("LIVE", D(2))], [("LIVE", D(2)), ("PAPER", D(1))],
    )  # fmt: skip
    assert len(book.store.read("SELECT 1 FROM closed_positions")) == 3


def test_a_position_under_review_leaves_its_rows_sums_unknown_and_counts(book: Book) -> None:
    book.trade("10", "11", fee="0.5")
    book.trade("10", "10", needs_review=True)
    (row,) = book.store.read(PNL)
    assert row[5:] == (2, 1, None, D(1), None, None, None)
    assert book.store.read(RATES) == [(None,) * 6]


def test_a_position_that_is_open_is_in_no_row_and_partial_closes_are_summed(book: Book) -> None:
    book.account("tiny")
    base = {
        "account_id": "tiny",
        "instrument": CALL,
        "opened_at": T,
        "multiplier": 100,
        "strategy": "swing_trade",
    }
    steps = [
        ("2", "2.00", "0", "OPEN"), ("3", "2.20", "0", "OPEN"), ("2", "2.20", "30", "CLOSING"),
        ("4", "2.60", "30", "CLOSING"), ("0", "0", "-10", "CLOSED"),
    ]  # fmt: skip
    rows = [
        record("positions", **base, position_id="p", seq=n, qty=D(qty), average_cost=D(cost), realised=D(won),
               state=state, event_id=f"p{n}", event_time=T + n * MINUTE, inputs=[f"x{n}"])
        for n, (qty, cost, won, state) in enumerate(steps)
    ]  # fmt: skip
    book.store.put("positions", *rows[:-1])
    assert book.store.read("SELECT * FROM closed_positions") == []
    book.store.put("positions", rows[-1])
    ((cost, net, closed),) = book.store.read(
        "SELECT entry_cost, net, extract(epoch FROM closed_at)::bigint FROM closed_positions"
    )
    # bought 2 at 2.00, 1 at 2.60; sold 1; bought 2 at 3.00: 400 + 260 + 600
    assert (cost, net, closed) == (D(1260), D(-10), (T + 4 * MINUTE) // SECOND)


def test_an_id_that_a_late_execution_withdrew_is_left_out_and_fees_are_counted_once(book: Book) -> None:
    book.account("tiny")
    base = {"account_id": "tiny", "instrument": CALL, "multiplier": 100}
    book.store.put(
        "positions",
        record("positions", **base, position_id="late", seq=0, qty=D(1), average_cost=D(2),
               opened_at=T + MINUTE, state="OPEN", event_id="l0", inputs=["x1"]),
        # an earlier execution arrives: the position begins with it, under another id
        record("positions", **base, position_id="late", seq=1, opened_at=T + MINUTE, state="CLOSED",
               event_id="l1", inputs=["x0"], event_time=T + 2 * MINUTE),
        record("positions", **base, position_id="true", seq=0, qty=D(2), average_cost=D(2), opened_at=T,
               state="OPEN", event_id="t0", inputs=["x0"], event_time=T + 2 * MINUTE),
        record("positions", **base, position_id="true", seq=1, opened_at=T, realised=D(50), state="CLOSED",
               event_id="t1", inputs=["x2"], event_time=T + 3 * MINUTE),
    )  # fmt: skip
    for name, side, at in (
        ("x1", "BUY", T + MINUTE),
        ("x0", "BUY", T + 2 * MINUTE),
        ("x2", "SELL", T + 3 * MINUTE),
    ):
        book.execution(name, "tiny", CALL, side, 1, "2", "0.07", at)
    assert book.store.read("SELECT position_id, realised, fees FROM closed_positions") == [
        ("true", D(50), D("0.21"))
    ]


def test_the_execution_that_turns_a_position_over_is_paid_by_the_new_one(book: Book) -> None:
    book.account("tiny")
    base = {"account_id": "tiny", "instrument": "AMD", "multiplier": 1}
    book.store.put(
        "positions",
        record("positions", **base, position_id="a", seq=0, qty=D(5), average_cost=D(10), opened_at=T,
               event_id="a0", inputs=["x0"]),
        record("positions", **base, position_id="a", seq=1, opened_at=T, realised=D(5), state="CLOSED",
               event_id="a1", inputs=["x1"], event_time=T + MINUTE),
        record("positions", **base, position_id="b", seq=0, qty=D(-3), average_cost=D(11),
               opened_at=T + MINUTE, event_id="b0", inputs=["x1"], event_time=T + MINUTE),
        record("positions", **base, position_id="b", seq=1, opened_at=T + MINUTE, realised=D(3),
               state="CLOSED", event_id="b1", inputs=["x2"], event_time=T + 2 * MINUTE),
    )  # fmt: skip
    for name, fee, late in (("x0", "0.01", 0), ("x1", "0.02", 1), ("x2", "0.04", 2)):
        book.execution(name, "tiny", "AMD", "BUY", 1, "10", fee, T + late * MINUTE)
    rows = book.store.read(
        "SELECT position_id, realised, fees, entry_cost FROM closed_positions ORDER BY position_id"
    )
    assert rows == [("a", D(5), D("0.01"), D(50)), ("b", D(3), D("0.06"), D(33))]


def test_the_pages_example_gives_the_interval_over_all_sessions(book: Book) -> None:
    (example,) = re.findall(r"```sql example\n(.*?)```", (REPOSITORY / "docs" / "audit.md").read_text(), re.S)
    for late, end in enumerate(("10.998", "9.399", "10.009")):
        book.trade("10", end, qty=100, at=T + late * DAY)
    ((strategy, n, *found),) = book.store.read(example)
    assert (strategy, n) == ("day_trade", 3)
    assert [float(each) for each in found] == near(13.533333333333331, -186.9244719048555, 213.99113857152216)


# -- signals and what came of them


def outcomes(book: Book, signal: Sequence[Any], results: Sequence[str]) -> None:
    """Trades of 10.00 that end at ``results``, each of a signal with (confidence, sentiment, direction)."""
    for end in results:
        name = book.signalled(f"sg{book.number}", *signal)
        book.trade("10", end, signal_id=name)


def test_calibration_shows_buckets_of_five_or_more_with_wins_beyond_half_a_percent(book: Book) -> None:
    outcomes(book, (0.60, None), ["10.06", "10.05", "10.04", "9.94", "10.50"])  # 2 wins, 2 flat, 1 loss
    outcomes(book, (0.649999, None), ["10.50"])
    outcomes(book, (0.65, None), ["10.50"] * 4)
    outcomes(book, (1.0, None), ["10.50", "10.50", "10.50", "10.50", "9"])
    rows = book.store.read(
        "SELECT mode::text, confidence_from, confidence_to, n, wins, losses, flat"
        " FROM v_confidence_calibration ORDER BY 2"
    )
    assert rows == [
        ("PAPER", D("0.60"), D("0.65"), 6, 3, 1, 2),
        ("PAPER", D("0.95"), D("1.00"), 5, 4, 1, 0),
    ]
    found = book.store.read(
        "SELECT win_rate, win_rate_low, win_rate_high, mean_confidence FROM v_confidence_calibration"
        " ORDER BY confidence_from"
    )
    assert list(found[1]) == near(0.8, 0.375534629763, 0.963775891368, 1.0)


def test_a_position_without_a_signal_or_under_review_calibrates_nothing(book: Book) -> None:
    outcomes(book, (0.60, None), ["10.50"] * 4)
    book.trade("10", "11")
    name = book.signalled("sg-review", 0.60, None)
    book.trade("10", "11", signal_id=name, needs_review=True)
    assert book.store.read("SELECT * FROM v_confidence_calibration") == []
    assert len(book.store.read("SELECT * FROM signal_outcomes")) == 4


def test_sentiment_with_and_against_a_signal_is_compared_with_none_by_welch(book: Book) -> None:
    outcomes(book, (0.7, 0.30), ["10.5", "10.8"])
    outcomes(book, (0.7, -0.30, "BEAR"), ["9.8", "11.0", "10.4"])  # bad news with a put: aligned too
    outcomes(book, (0.7, 0.05), ["10.1", "9.7"])  # not beyond 0.05
    outcomes(book, (0.7, None), ["10.2", "9.6"])
    outcomes(book, (0.7, 0.20, "BEAR"), ["9.5", "9.9"])
    rows = book.store.read(
        "SELECT sentiment, n, wins, losses, mean_pnl, mean_pnl_low, mean_pnl_high, difference_to_none,"
        " difference_low, difference_high FROM v_sentiment_effectiveness ORDER BY 1"
    )
    assert [row[:4] for row in rows] == [("ALIGNED", 5, 4, 1), ("NONE", 4, 2, 2), ("OPPOSED", 2, 0, 2)]
    aligned, none, opposed = (list(row[4:]) for row in rows)
    assert aligned == near(
        0.05, -0.006900192594702613, 0.10690019259470263, 0.06, -5.1668894832504475e-05, 0.1200516688948325
    )
    assert none == near(-0.01, -0.05684434123032382, 0.03684434123032382, None, None, None)
    assert opposed == near(
        -0.03, -0.2841240947234939, 0.2241240947234939, -0.02, -0.11941060595184137, 0.07941060595184136,
        rel=5e-4,
    )  # fmt: skip


def test_a_group_without_another_to_compare_has_no_difference(book: Book) -> None:
    outcomes(book, (0.7, 0.30), ["10.5", "10.8"])
    assert book.store.read(
        "SELECT sentiment, difference_to_none, difference_low FROM v_sentiment_effectiveness"
    ) == [("ALIGNED", None, None)]
