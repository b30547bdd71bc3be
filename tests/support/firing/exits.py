"""Sessions in which positions become due, one rule after the other."""

from typing import Any

from tapedeck.streams.stages.account.rules.gate_types import KillState
from tests.support.firing.registry import fallen, session, with_limits
from tests.support.floor import DAY_CALL, SWING_CALL, Floor, FloorMarket
from tests.support.paper import CLOSE, MINUTE, OPEN, TEN, TODAY_CALL

HALF_HOUR = 31 * 60
COST = "2.02"


def day_trade(now: int = TEN, groups: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Floor:
    """Four calls of a day trade at 2.02, bought at ``now``."""
    floor = Floor(now=now, config=with_limits(groups, last_entry_day_min=30))
    floor.opened(**changes)
    assert floor.held().keys() == {DAY_CALL}
    return floor


def swing(
    now: int = TEN,
    groups: dict[str, dict[str, Any]] | None = None,
    *,
    theta: float | None = None,
    **account: Any,
) -> Floor:
    """Calls of a swing trade that expire in 17 days, bought at ``now``."""
    market = FloorMarket()
    market.every = {"theta": theta}
    floor = Floor(now=now, market=market, config=with_limits(groups, last_entry_swing_min=60, **account))
    floor.opened(strategy="swing_trade")
    assert floor.held().keys() == {SWING_CALL}
    return floor


def before_close(minutes: float) -> int:
    return CLOSE - round(minutes * MINUTE)


@session
def a_halt_closes_everything() -> Floor:
    floor = day_trade()
    floor.control(KillState.HALTED)
    return floor.move(120)


@session
def a_person_closes_a_position() -> Floor:
    floor = day_trade().close(DAY_CALL)
    return floor.wait_for(lambda: not floor.held())


@session
def a_contract_is_held_into_its_last_hour() -> Floor:
    floor = Floor(now=before_close(63))
    floor.by_hand(symbol=TODAY_CALL, limit_price="1.10")
    return floor.until(before_close(58))


@session
def a_stock_is_held_to_the_last_minutes() -> Floor:
    floor = Floor(now=before_close(33), config=with_limits(last_entry_day_min=30))
    floor.opened("AMD", "BUY_STOCK")
    return floor.until(before_close(3))


@session
def a_gap_fade_has_had_its_time() -> Floor:
    return day_trade(OPEN + 87 * MINUTE, strategy="gap_fade").until(OPEN + 92 * MINUTE)


@session
def an_option_loses_half_at_once() -> Floor:
    return fallen(day_trade(), DAY_CALL, "0.95").move(60)


@session
def an_option_loses_forty_percent_later() -> Floor:
    return fallen(day_trade().move(HALF_HOUR), DAY_CALL, "1.15").move(60)


@session
def an_option_nearly_doubles() -> Floor:
    return fallen(day_trade(), DAY_CALL, "3.80").move(60)


@session
def a_stock_falls() -> Floor:
    floor = Floor()
    floor.opened("AMD", "BUY_STOCK")
    return fallen(floor, "AMD", "97.50").move(60)


@session
def a_stock_rises() -> Floor:
    floor = Floor()
    floor.opened("AMD", "BUY_STOCK")
    return fallen(floor, "AMD", "103.50").move(60)


@session
def a_signal_sells_the_stock() -> Floor:
    floor = Floor()
    floor.opened("AMD", "BUY_STOCK")
    floor.signal("AMD", "SELL_STOCK")
    return floor.wait_for(lambda: not floor.held())


@session
def an_option_gives_its_profit_back() -> Floor:
    floor = fallen(day_trade(), DAY_CALL, "2.70").move(HALF_HOUR)
    return fallen(floor, DAY_CALL, "2.30").move(60)


@session
def a_losing_swing_is_near_its_expiry() -> Floor:
    return fallen(swing(groups={"exit": {"theta_dte": 20}}), SWING_CALL, "1.90").move(HALF_HOUR)


@session
def its_time_value_falls_fast() -> Floor:
    return swing(before_close(93), {"exit": {"theta_dte": 20}}, theta=-0.5).until(before_close(88))


@session
def a_day_trade_loses_ninety_minutes_before_the_close() -> Floor:
    return fallen(day_trade(before_close(93)), DAY_CALL, "1.55").until(before_close(88))


@session
def a_day_trade_loses_sixty_minutes_before_the_close() -> Floor:
    return fallen(day_trade(before_close(63)), DAY_CALL, "1.72").until(before_close(58))


@session
def a_day_trade_loses_thirty_minutes_before_the_close() -> Floor:
    return fallen(day_trade(before_close(33)), DAY_CALL, "1.95").until(before_close(28))


@session
def a_day_trade_is_held_to_the_last_minutes() -> Floor:
    return fallen(day_trade(before_close(33)), DAY_CALL, "2.20").until(before_close(3))


@session
def a_swing_fails_two_conditions() -> Floor:
    floor = swing(before_close(63), {"eod": {"min_dte": 20}})
    return fallen(floor, SWING_CALL, "1.95").until(before_close(58))


@session
def a_swing_fails_one_condition() -> Floor:
    return fallen(swing(before_close(63)), SWING_CALL, "1.95").until(before_close(28))


@session
def a_swing_fails_at_the_end() -> Floor:
    floor = fallen(swing(before_close(63)), SWING_CALL, "2.60").until(before_close(4.5))
    assert floor.held(), "it may stay until then"
    return fallen(floor, SWING_CALL, "2.05").until(before_close(2.5))


@session
def swings_are_worth_too_much_for_the_night() -> Floor:
    floor = swing(before_close(63), overnight_option_limit="100")
    return fallen(floor, SWING_CALL, "2.60").until(before_close(28))


@session
def a_day_trade_has_had_its_time() -> Floor:
    return day_trade(groups={"exit": {"max_hold_min": 3}}).move(240)
