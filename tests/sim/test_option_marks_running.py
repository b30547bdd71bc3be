"""An option whose quotes are gone, on the running system: its last trade is its mark, while it is young."""

from decimal import Decimal as D

import pytest

from tapedeck.connectors.paper.faults import Fault
from tapedeck.streams.protocol import MINUTE_US
from tests.support.floor import DAY_CALL, Floor
from tests.support.paper import CLOSE

ALWAYS = 100_000


def without(*parts: Fault) -> Floor:
    """An account that bought at about 2.00, and sees no more of these parts; the price has halved."""
    floor = Floor()
    assert floor.opened() == DAY_CALL
    for part in parts:
        floor.arm(part, "option_snapshot", count=ALWAYS)
    floor.market.price(DAY_CALL, "0.90", "0.94")
    return floor


def test_the_last_trade_stops_a_loss_that_no_quote_shows() -> None:
    floor = without(Fault.QUOTE_NULL).move(150)
    (stopped,) = floor.of("exits")
    assert (stopped["chosen"], stopped["mark"]) == ("HARD_STOP", D("0.92"))
    assert floor.faults.fired[Fault.QUOTE_NULL] and not floor.account()["warnings"]
    floor.faults.disarm(Fault.QUOTE_NULL)
    floor.move(60).check()
    assert floor.held() == {}, "sold as soon as there is a price to sell at"


def test_with_neither_only_the_clock_closes_and_a_missing_mark_is_seen() -> None:
    floor = without(Fault.QUOTE_NULL, Fault.TRADE_NULL).move(150)
    assert floor.account()["warnings"] == [f"MARK_MISSING:{DAY_CALL}"] and not floor.of("exits")
    floor.jump(CLOSE - 6 * MINUTE_US).move(120)
    assert floor.of("exits")[-1]["chosen"] == "DAY_TRADE_CLOSE" and floor.of("exits")[-1]["mark"] is None
    floor.move(60).check()
    assert floor.held() == {}, "at the market, as no quote says a limit"


@pytest.mark.parametrize("theta", [-0.101, None])
def test_the_theta_of_a_quote_reaches_the_exits(theta: float | None) -> None:
    floor = Floor()
    floor.market.theta = theta
    instrument = floor.opened(strategy="swing_trade")
    floor.move(30)
    assert floor.state.marks[instrument].theta == theta
    floor.arm(Fault.GREEKS_NULL, "option_snapshot", count=ALWAYS)
    floor.market.theta = -0.5
    floor.move(60)
    assert floor.state.marks[instrument].theta == theta and floor.faults.fired[Fault.GREEKS_NULL]
    floor.faults.disarm()
    floor.move(30)
    assert floor.state.marks[instrument].theta == -0.5
