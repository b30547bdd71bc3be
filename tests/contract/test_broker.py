"""One contract, two brokers: in process, and the real alpaca-py over HTTP on loopback."""

from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any, NamedTuple

import pytest

from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.broker import Broker, ChainQuery, Doubt, NewOrder, NotFound, RateLimited, Refused
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.orders import OrderState, PositionIntent, Side
from tests.support.paper import (
    CALL,
    DAY,
    FAR_CALL,
    LARGE,
    LARGE_KEYS,
    MINUTE,
    PUT,
    SECOND,
    TEN,
    StepClock,
    TinyMarket,
    arm,
    at,
    exchange,
    serving,
    state,
)


class Bench(NamedTuple):
    """A broker, the market behind it, and hands on its clock and its faults."""

    broker: Broker
    market: TinyMarket
    move: Callable[[int], None]
    arm: Callable[..., None]
    fired: Callable[[Fault], int]


@pytest.fixture(params=["in process", "alpaca-py"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    market = TinyMarket()
    paper = exchange(market)
    if request.param == "in process":
        broker = InProcessBroker(paper, LARGE.number, "http://127.0.0.1:1")
        yield Bench(
            broker,
            market,
            paper.advance,
            paper.faults.arm,
            lambda fault: paper.faults.fired[fault],
        )
        return
    clock = StepClock(TEN)
    with serving(paper, clock) as url:
        yield Bench(
            AlpacaBroker(url, LARGE_KEYS),
            market,
            lambda now: setattr(clock, "time", now),
            lambda fault, **options: arm(url, fault.value, **options),
            lambda fault: int(state(url)["fired"].get(fault.value, 0)),
        )


def _buy(client_order_id: str = "td1-a", **changes: Any) -> NewOrder:
    fields: dict[str, Any] = {
        "client_order_id": client_order_id,
        "instrument": CALL,
        "side": Side.BUY,
        "intent": PositionIntent.BUY_TO_OPEN,
        "qty": D(2),
        "limit_price": D("2.10"),
    }
    return NewOrder(**(fields | changes))


def test_account_names_itself_and_its_money(bench: Bench) -> None:
    account = bench.broker.account()
    assert (account.number, account.status) == ("PAPER-LARGE", "ACTIVE")
    assert account.equity == account.cash == account.options_buying_power == D(100_000)


def test_clock_and_calendar_are_the_exchanges(bench: Bench) -> None:
    clock = bench.broker.clock()
    assert (clock.now, clock.is_open, clock.next_close) == (TEN, True, at("21:00:00"))
    session = xnys().session_on(DAY)
    assert session is not None
    (only,) = bench.broker.calendar(DAY, DAY)
    assert (only.date, only.open, only.close) == (DAY, session.open, session.close)


def test_quotes_carry_feed_origin_and_time(bench: Bench) -> None:
    stock, option = bench.broker.quote("NVDA"), bench.broker.quote(CALL)
    assert (stock.bid, stock.ask, stock.feed) == (D("149.98"), D("150.02"), "iex")
    assert (option.bid, option.ask, option.feed) == (D("2.0"), D("2.1"), "indicative")
    assert stock.origin == option.origin == "synthetic/test"
    assert stock.time == TEN - 1_000_000


def test_side_that_is_missing_is_unknown_not_zero(bench: Bench) -> None:
    bench.market.price("AMD", None, "100.01")
    assert (bench.broker.quote("AMD").bid, bench.broker.quote("AMD").ask) == (None, D("100.01"))


@pytest.mark.parametrize("instrument", ["NOPE", "NVDA260220C00999000"])
def test_quote_of_what_is_not_there_is_not_found(bench: Bench, instrument: str) -> None:
    with pytest.raises(NotFound):
        bench.broker.quote(instrument)


def test_chain_is_filtered_and_complete(bench: Bench) -> None:
    def ask(right: Right | None, days: int, low: str, high: str) -> list[str]:
        query = ChainQuery(
            underlying="NVDA", right=right, expiry_from=DAY, expiry_to=DAY + days,
            strike_from=D(low), strike_to=D(high),
        )  # fmt: skip
        return [contract.symbol for contract in bench.broker.chain(query).contracts]

    assert ask(Right.CALL, 10, "135", "165") == ["NVDA260217C00150000", CALL]
    assert ask(Right.PUT, 10, "150", "150") == [PUT]
    assert FAR_CALL in ask(None, 60, "150", "150")
    assert ask(None, 60, "150.01", "165") == []


def test_contract_has_what_the_choice_needs(bench: Bench) -> None:
    query = ChainQuery(
        underlying="NVDA", right=Right.PUT, expiry_from=DAY, expiry_to=DAY + 5,
        strike_from=D(100), strike_to=D(200),
    )  # fmt: skip
    chain = bench.broker.chain(query)
    (put,) = chain.contracts
    assert (chain.feed, chain.origin) == ("indicative", "synthetic/test")
    assert (put.expiry, put.right, put.strike, put.size) == (DAY + 3, Right.PUT, D(150), 100)
    assert (put.bid, put.ask, put.volume, put.open_interest) == (D("1.9"), D("2.0"), 900, 400)
    assert put.delta == -0.4


def test_order_lives_from_acceptance_to_fill_and_position(bench: Bench) -> None:
    accepted = bench.broker.submit(_buy(limit_price=D("2.07")))
    assert (accepted.state, accepted.filled_qty) == (OrderState.SUBMITTED, 0)
    assert [each.client_order_id for each in bench.broker.open_orders()] == ["td1-a"]
    bench.move(TEN + 10 * MINUTE)
    filled = bench.broker.order_by_client_id("td1-a")
    assert (filled.state, filled.filled_qty, filled.filled_avg_price) == (OrderState.FILLED, 2, D("2.07"))
    assert filled == bench.broker.order(accepted.broker_order_id)
    assert bench.broker.open_orders() == []
    (position,) = bench.broker.positions()
    assert (position.instrument, position.qty) == (CALL, 2)
    fills = bench.broker.activities(TEN)
    assert sum(fill.qty for fill in fills) == 2
    assert {fill.broker_order_id for fill in fills} == {accepted.broker_order_id}
    assert all(fill.executed_at > TEN and fill.fee > 0 for fill in fills)
    assert bench.broker.activities(fills[-1].executed_at + 1) == []


def test_every_page_of_activities_is_read(bench: Bench) -> None:
    for n in range(130):
        bench.broker.submit(_buy(f"td1-{n:03d}", qty=D(1)))
    fills = bench.broker.activities(TEN)
    assert len({fill.execution_id for fill in fills}) == 130


def test_market_order_has_no_limit(bench: Bench) -> None:
    bench.broker.submit(_buy(limit_price=None))
    assert bench.broker.order_by_client_id("td1-a").filled_avg_price == D("2.1")


def test_refusal_has_its_words_and_no_effect(bench: Bench) -> None:
    with pytest.raises(Refused) as refused:
        bench.broker.submit(_buy(qty=D(1000)))
    assert (refused.value.status, refused.value.code) == (403, 40310000)
    assert "buying power" in refused.value.message
    with pytest.raises(NotFound):
        bench.broker.order_by_client_id("td1-a")


def test_repeated_client_id_is_told_apart_from_other_refusals(bench: Bench) -> None:
    bench.broker.submit(_buy())
    with pytest.raises(Refused) as refused:
        bench.broker.submit(_buy())
    assert refused.value.not_unique


@pytest.mark.parametrize(
    ("instrument", "side", "intent"),
    [
        (CALL, Side.SELL, PositionIntent.SELL),
        (CALL, Side.SELL, PositionIntent.BUY_TO_OPEN),
        ("AMD", Side.BUY, PositionIntent.SELL),
    ],
)
def test_opening_an_option_by_selling_is_refused_before_it_reaches_the_broker(
    bench: Bench, instrument: str, side: Side, intent: PositionIntent
) -> None:
    with pytest.raises(Refused, match="not an order that exists here"):
        bench.broker.submit(_buy(instrument=instrument, side=side, intent=intent))
    with pytest.raises(NotFound):
        bench.broker.order_by_client_id("td1-a")


def test_selling_short_is_the_brokers_to_refuse(bench: Bench) -> None:
    """The dispatcher sends none for an account without `allow_shorting`."""
    with pytest.raises(Refused, match="account is not allowed to short") as refused:
        short = {"side": Side.SELL, "intent": PositionIntent.SELL, "limit_price": D("100.00")}
        bench.broker.submit(_buy(instrument="AMD", **short))
    assert (refused.value.status, refused.value.code) == (403, 40310000)
    with pytest.raises(NotFound):
        bench.broker.order_by_client_id("td1-a")


def test_cancel_ends_a_working_order_and_says_so_when_it_is_too_late(bench: Bench) -> None:
    working = bench.broker.submit(_buy(limit_price=D("1.00")))
    bench.broker.cancel(working.broker_order_id)
    assert bench.broker.order_by_client_id("td1-a").state is OrderState.CANCELED
    with pytest.raises(Refused):
        bench.broker.cancel(working.broker_order_id)
    with pytest.raises(NotFound):
        bench.broker.cancel("11111111-1111-1111-1111-111111111111")


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_AFTER])
def test_answer_lost_after_acceptance_is_a_doubt_and_leaves_one_order(bench: Bench, fault: Fault) -> None:
    bench.arm(fault, operation="submit")
    with pytest.raises(Doubt):
        bench.broker.submit(_buy())
    assert bench.fired(fault) == 1
    assert bench.broker.order_by_client_id("td1-a").state is OrderState.FILLED
    assert len(bench.broker.activities(TEN)) == 1


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_BEFORE, Fault.DROP_BEFORE])
def test_call_lost_before_acceptance_is_a_doubt_and_leaves_no_order(bench: Bench, fault: Fault) -> None:
    bench.arm(fault, operation="submit")
    with pytest.raises(Doubt):
        bench.broker.submit(_buy())
    assert bench.fired(fault) == 1
    with pytest.raises(NotFound):
        bench.broker.order_by_client_id("td1-a")


def test_too_many_requests_is_its_own_error_and_leaves_no_order(bench: Bench) -> None:
    bench.arm(Fault.RATE_LIMIT, operation="submit")
    with pytest.raises(RateLimited):
        bench.broker.submit(_buy())
    assert bench.fired(Fault.RATE_LIMIT) == 1
    with pytest.raises(NotFound):
        bench.broker.order_by_client_id("td1-a")


def test_order_rejected_after_acceptance_ends_rejected(bench: Bench) -> None:
    bench.arm(Fault.REJECT)
    bench.broker.submit(_buy())
    assert bench.fired(Fault.REJECT) == 1
    assert bench.broker.order_by_client_id("td1-a").state is OrderState.REJECTED


def test_wrong_account_number_is_shown_as_it_is(bench: Bench) -> None:
    bench.arm(Fault.WRONG_ACCOUNT)
    assert bench.broker.account().number != LARGE.number
    assert bench.broker.account().number == LARGE.number


def test_a_position_says_what_of_it_no_order_holds(bench: Bench) -> None:
    bench.broker.submit(_buy())
    sell = {"side": Side.SELL, "intent": PositionIntent.SELL_TO_CLOSE, "limit_price": D("2.50")}
    bench.broker.submit(_buy("td1-s", qty=D(1), **sell))
    (held,) = bench.broker.positions()
    assert (held.qty, held.qty_available) == (2, 1)


def test_cancel_of_an_instrument_ends_all_its_working_orders_and_no_others(bench: Bench) -> None:
    for name, instrument in (("td1-a", CALL), ("td1-b", CALL), ("td1-c", PUT)):
        bench.broker.submit(_buy(name, instrument=instrument, limit_price=D("1.00")))
    assert bench.broker.cancel_instrument(CALL) == 2
    assert [each.client_order_id for each in bench.broker.open_orders()] == ["td1-c"]
    assert bench.broker.cancel_instrument(CALL) == 0


@pytest.mark.parametrize("fault", [Fault.MALFORMED_AFTER, Fault.NULL_AFTER])
def test_answer_that_cannot_be_read_is_a_doubt_and_what_was_asked_is_done(bench: Bench, fault: Fault) -> None:
    bench.arm(fault, operation="submit")
    with pytest.raises(Doubt):
        bench.broker.submit(_buy(limit_price=D("1.00")))
    order = bench.broker.order_by_client_id("td1-a")
    assert order.state is OrderState.ACCEPTED
    bench.arm(Fault.MALFORMED_AFTER, operation="cancel")
    with pytest.raises(Doubt):
        bench.broker.cancel(order.broker_order_id)
    assert bench.broker.order_by_client_id("td1-a").state is OrderState.CANCELED
    assert bench.fired(Fault.MALFORMED_AFTER) == (2 if fault is Fault.MALFORMED_AFTER else 1)


@pytest.mark.parametrize("operation", ["account", "positions", "orders", "order", "activities", "clock"])
def test_null_in_place_of_an_answer_is_a_doubt(bench: Bench, operation: str) -> None:
    bench.broker.submit(_buy())
    bench.arm(Fault.NULL_AFTER, operation=operation)
    calls: dict[str, Callable[[], object]] = {
        "account": bench.broker.account,
        "positions": bench.broker.positions,
        "orders": bench.broker.open_orders,
        "order": lambda: bench.broker.order_by_client_id("td1-a"),
        "activities": lambda: bench.broker.activities(0),
        "clock": bench.broker.clock,
    }
    with pytest.raises(Doubt):
        calls[operation]()
    assert calls[operation]() is not None


def test_a_refused_rate_says_when_to_call_again_and_an_earlier_call_is_refused(bench: Bench) -> None:
    bench.arm(Fault.RATE_LIMIT, operation="submit", seconds=5)
    with pytest.raises(RateLimited) as refused:
        bench.broker.submit(_buy())
    assert refused.value.wait_s is not None and 5 <= refused.value.wait_s <= 6
    bench.move(TEN + 4 * SECOND)
    with pytest.raises(RateLimited):
        bench.broker.clock()
    bench.move(TEN + 5 * SECOND)
    assert bench.broker.submit(_buy()).state is OrderState.SUBMITTED


def test_what_is_held_by_a_leg_is_free_after_a_cancel_of_the_instrument(bench: Bench) -> None:
    bench.arm(Fault.HELD_LEG)
    bench.broker.submit(_buy())
    (held,) = bench.broker.positions()
    assert (held.qty, held.qty_available) == (2, 0)
    sell = {"side": Side.SELL, "intent": PositionIntent.SELL_TO_CLOSE, "limit_price": None}
    with pytest.raises(Refused, match="available: 0"):
        bench.broker.submit(_buy("td1-s", **sell))
    (leg,) = bench.broker.open_orders()
    assert leg.raw_status == "held"
    assert bench.broker.cancel_instrument(CALL) == 1
    bench.broker.submit(_buy("td1-s2", **sell))
    assert bench.broker.positions() == []


def test_an_order_that_a_person_replaced_is_still_ours(bench: Bench) -> None:
    bench.arm(Fault.REPLACED_BY_HAND)
    bench.broker.submit(_buy())
    found = bench.broker.order_by_client_id("td1-a")
    assert (found.state, found.filled_qty, found.client_order_id) == (OrderState.FILLED, 2, "td1-a")
    (fill,) = bench.broker.activities(0)
    assert fill.broker_order_id == found.broker_order_id
    assert bench.broker.order(fill.broker_order_id).client_order_id == "td1-a"


def test_a_cancel_that_comes_too_late_is_refused_and_the_fill_is_there(bench: Bench) -> None:
    order = bench.broker.submit(_buy(limit_price=D("2.04")))
    bench.arm(Fault.CANCEL_FILLED)
    with pytest.raises(Refused, match="filled"):
        bench.broker.cancel(order.broker_order_id)
    assert bench.broker.order_by_client_id("td1-a").state is OrderState.FILLED
    assert bench.broker.cancel_instrument(CALL) == 0


def test_a_cancel_may_stay_pending_and_holds_its_quantity_meanwhile(bench: Bench) -> None:
    bench.broker.submit(_buy())
    order = bench.broker.submit(
        _buy("td1-s", side=Side.SELL, intent=PositionIntent.SELL_TO_CLOSE, limit_price=D("2.50"))
    )
    bench.arm(Fault.CANCEL_PENDING, seconds=120)
    bench.broker.cancel(order.broker_order_id)
    assert bench.broker.order_by_client_id("td1-s").state is OrderState.CANCEL_PENDING
    (held,) = bench.broker.positions()
    assert held.qty_available == 0
    bench.move(TEN + 3 * MINUTE)
    assert bench.broker.order_by_client_id("td1-s").state is OrderState.CANCELED
