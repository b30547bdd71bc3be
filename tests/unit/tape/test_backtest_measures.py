"""Figures of a backtest against values worked out by hand or taken from tables."""

from decimal import Decimal as D

import pytest

from tapedeck.connectors.paper.fills import ALPACA, NO_FEES, Fees
from tapedeck.tape.backtest import measures
from tapedeck.tape.backtest.plots import Line, bars, columns, histogram, lines


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (30, 2.0423), (120, 1.9799), (1000, 1.9623)],
)
def test_the_quantiles_of_students_t_are_those_of_the_tables(degrees: int, expected: float) -> None:
    assert measures.t_quantile(0.975, degrees) == pytest.approx(expected, abs=5e-5)


def test_a_mean_has_an_interval_from_two_values_on() -> None:
    assert measures.mean_of([]) is None
    assert measures.mean_of([3.0]) == (3.0, None, None)
    found = measures.mean_of([1.0, 2.0, 3.0])
    assert found is not None
    assert found.mean == 2.0
    assert found.low == pytest.approx(2.0 - 4.3027 / 3**0.5, abs=1e-4)
    assert found.high == pytest.approx(2.0 + 4.3027 / 3**0.5, abs=1e-4)


def test_a_share_has_wilsons_interval() -> None:
    assert measures.share_of(0, 0) is None
    found = measures.share_of(8, 10)
    assert found is not None
    assert found.mean == 0.8
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.4902, 0.9433)
    none = measures.share_of(0, 5)
    assert none is not None and none.low == 0.0


def test_sharpe_and_sortino_say_nothing_where_returns_say_nothing() -> None:
    assert measures.sharpe([0.01]) is measures.sharpe([0.01, 0.01]) is None
    assert measures.sortino([0.01]) is measures.sortino([0.01, 0.02]) is None
    returns = [0.02, -0.01, 0.01, -0.02, 0.03]
    assert measures.sharpe(returns) == pytest.approx(0.006 / 0.020736441 * 252**0.5, rel=1e-6)
    down = ((0.01**2 + 0.02**2) / 5) ** 0.5
    assert measures.sortino(returns) == pytest.approx(0.006 / down * 252**0.5, rel=1e-9)


def test_the_drawdown_is_the_deepest_fall_and_not_the_last() -> None:
    assert measures.drawdown([]) is None
    found = measures.drawdown([100.0, 120.0, 90.0, 110.0, 130.0, 115.0])
    assert found is not None
    assert (found.usd, found.share, found.peak, found.trough) == (30.0, 0.25, 1, 2)
    assert found.longest == 2
    rising = measures.drawdown([1.0, 2.0, 3.0])
    assert rising is not None and (rising.usd, rising.longest) == (0.0, 0)


def test_the_profit_factor_is_infinite_without_a_loss_and_none_without_a_trade() -> None:
    assert measures.profit_factor([]) is None
    assert measures.profit_factor([1.0, 2.0]) == float("inf")
    assert measures.profit_factor([3.0, -1.5]) == 2.0


def test_alpacas_fees_are_those_of_its_schedule_rounded_up() -> None:
    # 3 contracts bought: 3 x (0.02685 + 0.02 + 0.0046) = 0.15435; sold: + 3 x 0.00279 = 0.16272
    assert ALPACA.of(is_option=True, side="BUY", qty=D(3)) == D("0.16")
    assert ALPACA.of(is_option=True, side="SELL", qty=D(3)) == D("0.17")
    # 1,000 shares: 0.046 audit trail; sold: + 0.166
    assert ALPACA.of(is_option=False, side="BUY", qty=D(1000)) == D("0.05")
    assert ALPACA.of(is_option=False, side="SELL", qty=D(1000)) == D("0.22")
    # the activity fee of 100,000 shares would be 16.60; its cap is 8.30, the audit trail 4.60
    assert ALPACA.of(is_option=False, side="SELL", qty=D(100_000)) == D("12.90")


def test_a_fee_by_proceeds_is_charged_on_sells_alone() -> None:
    fees = NO_FEES._replace(per_million_sold=D("27.80"))
    assert fees.of(is_option=False, side="SELL", qty=D(100), proceeds=D(1_000_000)) == D("27.80")
    assert fees.of(is_option=False, side="BUY", qty=D(100), proceeds=D(1_000_000)) == 0
    assert NO_FEES.of(is_option=True, side="SELL", qty=D(10), proceeds=D(10_000)) == 0
    assert Fees() != ALPACA


def test_plots_of_nothing_are_empty_and_of_one_value_are_not() -> None:
    assert lines("x", [], []) == columns("x", [], []) == bars("x", []) == histogram("x", []) == ""
    one = lines("x", [Line("a", [(0.0, 5.0)], 0)], ["2026-02-17"])
    for svg in (one, columns("x", [-1.0], ["d"]), bars("x", [("a", -1.0, "-1.00")]), histogram("x", [-2.0])):
        assert svg.startswith("<svg") and svg.endswith("</svg>")
        assert "nan" not in svg and "inf" not in svg


def test_a_long_line_keeps_its_lowest_and_highest_point() -> None:
    points = [(float(at), 0.0) for at in range(10_000)]
    points[4321] = (4321.0, -77.0)
    points[5678] = (5678.0, 99.0)
    svg = lines("x", [Line("a", points, 0)], ["a", "b"])
    drawn = svg.split('points="')[1].split('"')[0].split()
    heights = [float(point.split(",")[1]) for point in drawn]
    assert len(drawn) < 2000
    assert heights.count(max(heights)) == heights.count(min(heights)) == 1
