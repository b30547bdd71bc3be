"""Sessions in which gates refuse."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.market import Listing
from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.golden import samples_of
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.stages.account.rules import gates
from tapedeck.streams.stages.account.rules.gate_types import Check, GateInputs, KillState, Rules
from tapedeck.streams.wire import record_wire
from tapedeck.topics.catalogue import topic
from tests.support.firing.registry import session, with_limits
from tests.support.floor import DAY_CALL, NUMBER, SWING_CALL, Floor
from tests.support.paper import CLOSE, DAY, MINUTE, OPEN, TEN, TODAY_CALL

FIVE_MINUTES = 310


@session
def an_option_is_bought() -> Floor:
    floor = Floor()
    floor.opened()
    return floor


@session
def a_stock_is_bought() -> Floor:
    floor = Floor()
    floor.opened("AMD", "BUY_STOCK")
    return floor


@session
def the_broker_answers_for_another_account() -> Floor:
    floor = Floor()
    floor.arm(Fault.WRONG_ACCOUNT, "account", count=99)
    return floor.move(FIVE_MINUTES).signal()


@session
def the_broker_never_says_whose_account_it_is() -> Floor:
    def before(paper: PaperExchange) -> None:
        paper.faults.arm(Fault.GATEWAY_TIMEOUT_BEFORE, operation="account", account=NUMBER, count=999)

    return Floor(before=before).signal().signal("AMD", "BUY_STOCK")


@session
def nobody_has_armed_the_account() -> Floor:
    return Floor(armed=False).signal()


@session
def the_account_may_only_reduce() -> Floor:
    floor = Floor()
    floor.control(KillState.REDUCING)
    return floor.signal()


@session
def a_halted_account_is_signalled() -> Floor:
    floor = Floor()
    floor.control(KillState.HALTED)
    return floor.signal()


@session
def before_the_open() -> Floor:
    return Floor(now=OPEN - 10 * MINUTE).signal()


@session
def right_after_the_open() -> Floor:
    return Floor(now=OPEN + MINUTE).signal()


@session
def an_hour_before_the_close() -> Floor:
    return Floor(now=CLOSE - 60 * MINUTE).signal()


@session
def the_cutoff_passes_while_a_mark_is_awaited() -> Floor:
    """The contract is chosen a moment before the cutoff of its last day, and decided on a moment after."""
    config = with_limits(
        {"gate": {"expiry_cutoff_min": 60}, "contract": {"day_dte": [0, 0]}, "exit": {"mark_s": 1}},
        last_entry_day_min=30,
    )
    cutoff = CLOSE - 60 * MINUTE
    floor = Floor(now=cutoff - 4 * MINUTE, config=config)
    floor.market.price(TODAY_CALL, "1.98", "2.02")
    floor.opened("AMD", "BUY_STOCK")
    floor.until(cutoff - 2_500)
    floor.write_signal()
    return floor.end_early(cutoff - MINUTE)


@session
def the_calendar_ends_today() -> Floor:
    known = xnys()
    first, _ = known.horizon()
    sessions = (found for day in range(DAY - 30, DAY + 1) if (found := known.session_on(day)) is not None)
    return Floor(calendar=Calendar(sessions, (first, DAY))).jump(TEN + 24 * 60 * MINUTE).signal()


@session
def trading_of_the_symbol_is_halted() -> Floor:
    floor = Floor()
    body = samples_of(load_schema("market_events"))[0] | {
        "kind": "HALTED", "symbol": "NVDA", "feed": floor.config.bars.feed,
        "event_time": floor.paper.now,
    }  # fmt: skip
    wire = record_wire("market_events", topic("market_events").record_key(body), body, floor.log.layout, [])
    floor.log.append(wire)
    floor.dispatcher.work()
    return floor.signal()


@session
def calls_are_not_allowed() -> Floor:
    return Floor(config=with_limits(allowed_actions=["BUY_STOCK"])).signal()


@session
def the_confidence_is_low() -> Floor:
    return Floor().signal(confidence=0.1)


@session
def the_bar_is_old() -> Floor:
    return Floor().signal(bar_t=TEN // MINUTE_US * MINUTE_US - 20 * MINUTE_US)


@session
def the_bar_is_of_tomorrow() -> Floor:
    return Floor().signal(bar_t=TEN // MINUTE_US * MINUTE_US + 20 * MINUTE_US)


@session
def the_day_is_lost() -> Floor:
    """Four calls at 2.02 fall to 0.50: more than 500."""
    floor = Floor()
    floor.opened()
    floor.market.price(DAY_CALL, "0.49", "0.51")
    return floor.move(60).signal("AMD", "BUY_STOCK")


@session
def what_is_held_has_no_price() -> Floor:
    floor = Floor()
    floor.opened()
    floor.market.price(DAY_CALL, None, None)
    return floor.move(400).signal("AMD", "BUY_STOCK")


@session
def one_entry_a_day() -> Floor:
    floor = Floor(config=with_limits(max_trades_per_ticker_per_day=1, ticker_cooldown_minutes=1))
    floor.opened()
    floor.close(DAY_CALL).wait_for(lambda: not floor.state.parents)
    return floor.move(120).signal()


@session
def the_next_signal_comes_at_once() -> Floor:
    """Of the same kind, of the other direction, and in a symbol that is not held."""
    floor = Floor()
    floor.opened()
    return floor.signal().signal(action="SELL_STOCK").signal("AMD", "SELL_STOCK")


@session
def one_position_and_few_contracts() -> Floor:
    floor = Floor(config=with_limits(max_positions=1, max_exposure=900))
    floor.by_hand(symbol=SWING_CALL, limit_price="2.02", qty="9")
    return floor.move(5).signal("AMD", "BUY_STOCK").signal(strategy="swing_trade").move(5)


@session
def a_position_of_unknown_cost() -> Floor:
    floor = Floor()
    floor.paper.books[NUMBER].ledger.move(Listing("AMD", "AMD", 1, None), Decimal(7), Decimal(100))
    floor.compare()
    floor.signal("AMD", "BUY_STOCK")
    return floor.move(60).signal("AMD", "BUY_STOCK")


@session
def a_position_of_unknown_cost_and_price() -> Floor:
    floor = Floor()
    floor.market.price("AMD", None, None)
    floor.paper.books[NUMBER].ledger.move(Listing("AMD", "AMD", 1, None), Decimal(7), Decimal(100))
    return floor.compare().move(400).signal("AMD", "BUY_STOCK")


@session
def the_cash_is_spent_by_hand() -> Floor:
    floor = Floor()
    floor.by_hand(symbol="AMD", qty="995", limit_price="100.01", position_intent=None)
    return floor.compare().signal()


@session
def the_quote_of_a_stock_is_old() -> Floor:
    floor = Floor()
    floor.market.age_s = 60
    return floor.signal("AMD", "BUY_STOCK")


@session
def a_stock_has_no_quote() -> Floor:
    floor = Floor()
    floor.market.price("AMD", None, "100.01")
    return floor.signal("AMD", "BUY_STOCK", close=100.0)


@session
def bid_and_ask_are_far_apart() -> Floor:
    floor = Floor()
    floor.market.price("AMD", "99", "101")
    return floor.signal("AMD", "BUY_STOCK")


@session
def the_price_has_moved() -> Floor:
    return Floor().signal("AMD", "BUY_STOCK", close=98.0)


@session
def one_order_at_a_time() -> Floor:
    floor = Floor(config=with_limits(max_pending_orders=1))
    floor.write_signal()
    return floor.signal("AMD", "BUY_STOCK")


@session
def an_order_is_in_doubt() -> Floor:
    floor = Floor()
    floor.arm(Fault.GATEWAY_TIMEOUT_AFTER, "submit")
    floor.arm(Fault.GATEWAY_TIMEOUT_BEFORE, "order", count=99)
    floor.arm(Fault.UPDATE_LOST, "update", count=99)
    return floor.signal().signal("AMD", "BUY_STOCK").move(60)


@session
def the_stream_is_cut() -> Floor:
    floor = Floor()
    floor.arm(Fault.STREAM_CUT, "update", seconds=600)
    floor.signal()
    return floor.signal("AMD", "BUY_STOCK")


@session
def no_contract_is_near() -> Floor:
    floor = Floor()
    for name in [name for name in floor.market.prices if name.startswith("AMD") and name != "AMD"]:
        del floor.market.prices[name]
    return floor.signal("AMD")


def one_contract(contract: dict[str, Any] | None = None, **every: Any) -> Floor:
    """The one contract that could be chosen is changed by ``every``."""
    floor = Floor(config=with_limits({"contract": {"day_dte": [1, 1], **(contract or {})}}))
    floor.market.every = every
    return floor


@session
def the_only_contract_is_not_good_enough() -> Floor:
    return one_contract({"min_quality": 99.9}).signal()


@session
def the_only_contract_is_not_standard() -> Floor:
    return one_contract(size=10).signal()


@session
def the_only_contract_has_no_quote() -> Floor:
    return one_contract(bid=None).signal()


@session
def the_only_contract_has_an_old_quote() -> Floor:
    floor = one_contract()
    floor.market.age_s = 60
    return floor.signal()


@session
def the_only_contract_has_a_wide_spread() -> Floor:
    return one_contract(bid=Decimal("1.80"), ask=Decimal("2.20")).signal()


@session
def the_only_contract_is_cheap() -> Floor:
    return one_contract(bid=Decimal("0.49"), ask=Decimal("0.50")).signal()


@session
def the_only_contract_is_not_traded() -> Floor:
    return one_contract(volume=3).signal()


@session
def the_only_contract_is_not_open() -> Floor:
    return one_contract(open_interest=3).signal()


@session
def the_only_contract_expires_within_the_hour() -> Floor:
    config = with_limits({"contract": {"day_dte": [0, 0]}}, last_entry_day_min=30)
    return Floor(now=CLOSE - 50 * MINUTE, config=config).signal()


@contextmanager
def _broken(name: str) -> Iterator[None]:
    """The gate ``name`` fails in itself."""

    def fails(inputs: GateInputs, rules: Rules) -> Check:
        raise ZeroDivisionError(name)

    table: Any = tuple(each._replace(test=fails) if each.name == name else each for each in gates.GATES)
    with patch.object(gates, "GATES", table):
        yield


@session
def a_gate_is_broken() -> Floor:
    with _broken("spread"):
        return Floor().signal()
