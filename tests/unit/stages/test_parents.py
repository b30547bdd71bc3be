"""Parent orders: the ladder of an opening, the attempts of a close, exits that become closes."""

from decimal import Decimal
from typing import Any

import pytest

from tapedeck.streams.protocol import MINUTE_US
from tests.support.account import ELEVEN, SECOND, Inbox, at

D = Decimal


def newest(inbox: Inbox) -> dict[str, Any]:
    return inbox.of("orders")[-1]


def tick(inbox: Inbox, seconds: float = 1) -> None:
    inbox.pass_time(seconds).put("InboxTick")


def accept(inbox: Inbox) -> dict[str, Any]:
    """The broker takes the newest order."""
    order = newest(inbox)
    inbox.reply(order["client_order_id"], "ACCEPTED")
    return order


def cancelled(inbox: Inbox, order: dict[str, Any], filled: str = "0") -> None:
    """The broker ends an order."""
    inbox.reply(
        order["client_order_id"], "CANCELED", filled_qty=D(filled),
        filled_avg_price=order["limit_price"] if D(filled) else None,
    )  # fmt: skip


def step_over(inbox: Inbox) -> dict[str, Any]:
    """The newest order is accepted, works for its time, and is cancelled; returns it."""
    order = accept(inbox)
    tick(inbox, 5)
    assert newest(inbox)["state"] == "CANCEL_PENDING"
    cancelled(inbox, order)
    return order


def sent(inbox: Inbox) -> list[dict[str, Any]]:
    return inbox.requests("SUBMIT")


def test_an_opening_walks_its_ladder_and_ends() -> None:
    inbox = Inbox().start()
    inbox.signal()
    orders = [step_over(inbox) for _ in range(3)]
    assert [order["limit_price"] for order in orders] == [D("2.01"), D("2.01"), D("2.02")]
    assert [order["attempt"] for order in orders] == [0, 1, 2]
    assert [order["client_order_id"][:8] for order in orders] == ["td1-o00-", "td1-o01-", "td1-o02-"]
    assert len({order["client_order_id"] for order in orders}) == 3
    ends = {o["client_order_id"]: o["reason"] for o in inbox.of("orders") if o["state"] == "CANCELED"}
    assert list(ends.values()) == ["REPRICED", "REPRICED", "REPRICE_EXHAUSTED"]
    tick(inbox, 60)
    assert len(sent(inbox)) == 3 and len(inbox.requests("CANCEL")) == 3


def test_an_order_works_its_whole_step_before_it_is_cancelled() -> None:
    inbox = Inbox().start()
    inbox.signal()
    accept(inbox)
    tick(inbox, 4.999)
    assert not inbox.requests("CANCEL")
    tick(inbox, 0.001)
    assert len(inbox.requests("CANCEL")) == 1
    tick(inbox, 10)
    assert len(inbox.requests("CANCEL")) == 1, "it is asked for once"


def test_the_next_order_is_for_what_remains_and_waits_for_every_execution() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = accept(inbox)
    whole = order["qty"]
    tick(inbox, 5)
    cancelled(inbox, order, filled="1")
    assert len(sent(inbox)) == 1, "one is filled, and its execution is not here"
    inbox.execute(order, "x1", "1", "2.01")
    assert len(sent(inbox)) == 2 and sent(inbox)[1]["qty"] == whole - 1


def test_a_fill_that_crosses_the_cancel_ends_the_ladder() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = accept(inbox)
    tick(inbox, 5)
    inbox.fill(order)
    tick(inbox, 60)
    assert len(sent(inbox)) == 1
    assert inbox.of("positions")[-1]["qty"] == order["qty"]


def test_no_later_step_costs_more_than_what_was_approved() -> None:
    inbox = Inbox().start()
    inbox.signal(action="BUY_STOCK")
    worst = inbox.of("proposals")[0]["worst_price"]
    inbox.stock = (D("100.20"), D("100.24"))
    step_over(inbox)
    assert sent(inbox)[1]["limit_price"] == worst == D("100.01")


@pytest.mark.parametrize(
    ("stock", "reason"),
    [
        ((D("99.70"), D("100.30")), "CANCELLED_SPREAD"),
        ((D("100.50"), D("100.52")), "CANCELLED_DRIFT"),
    ],
)
def test_what_no_longer_holds_ends_an_opening(stock: tuple[D, D], reason: str) -> None:
    inbox = Inbox().start()
    inbox.signal(action="BUY_STOCK")
    inbox.stock = stock
    step_over(inbox)
    assert newest(inbox)["reason"] == reason and len(sent(inbox)) == 1


def test_an_entry_that_is_partly_filled_says_so_and_is_not_topped_up() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = accept(inbox)
    tick(inbox, 5)
    inbox.execute(order, "x1", "1", "2.01")
    cancelled(inbox, order, filled="1")
    for _ in range(2):
        step_over(inbox)
    assert newest(inbox)["detail"] == f"UNDERSIZED: 1 of {order['qty']:.0f} filled"
    assert inbox.of("positions")[-1]["qty"] == 1


def held(inbox: Inbox, **changes: Any) -> dict[str, Any]:
    """A stock that was just bought at 100."""
    inbox.signal(action="BUY_STOCK", **changes)
    inbox.fill(inbox.of("orders")[0])
    return inbox.of("positions")[-1]


def test_a_stop_closes_through_the_ladder_until_the_position_is_flat() -> None:
    inbox = Inbox().start()
    position = held(inbox)
    inbox.stock = (D("97.90"), D("97.94"))
    tick(inbox, 10)
    (exit_,) = inbox.of("exits")
    assert (exit_["chosen"], exit_["pnl"], exit_["position_id"]) == (
        "STOCK_STOP",
        D("-0.0208"),
        position["position_id"],
    )
    assert inbox.of("positions")[-1]["state"] == "CLOSING"
    closes = [step_over(inbox) for _ in range(5)]
    assert [order["limit_price"] for order in closes] == [D("97.91"), *[D("97.90")] * 4]
    assert {order["exit_reason"] for order in closes} == {"STOCK_STOP"}
    assert {order["position_id"] for order in closes} == {position["position_id"]}
    inbox.fill(accept(inbox))
    closed = inbox.of("positions")[-1]
    assert (closed["state"], closed["exit_reason"], closed["qty"]) == ("CLOSED", "STOCK_STOP", 0)
    tick(inbox, 60)
    assert len(sent(inbox)) == 7, "one opening, six closes"


def test_a_close_is_sized_by_what_is_held_and_closes_what_a_part_left() -> None:
    inbox = Inbox().start()
    position = held(inbox)
    inbox.stock = (D("97.90"), D("97.94"))
    tick(inbox, 10)
    first = accept(inbox)
    assert first["qty"] == position["qty"]
    inbox.execute(first, "part", "100", "97.91")
    tick(inbox, 5)
    cancelled(inbox, first, filled="100")
    assert newest(inbox)["qty"] == position["qty"] - 100


def test_a_day_trade_goes_to_market_after_its_last_step() -> None:
    inbox = Inbox(now=at("2026-02-17T12:00:00-05:00")).start()
    held(inbox)
    inbox.now = at("2026-02-17T15:55:00-05:00")
    tick(inbox)
    limits = [step_over(inbox)["limit_price"] for _ in range(3)]
    assert None not in limits
    market = accept(inbox)
    assert market["limit_price"] is None and market["exit_reason"] == "DAY_TRADE_CLOSE"
    tick(inbox, 29)
    assert newest(inbox)["state"] == "ACCEPTED", "a market order is not repriced"
    assert inbox.requests("FETCH_ORDER")[-1]["client_order_id"] == market["client_order_id"], "but looked up"
    inbox.reply(market["client_order_id"], "PARTIAL", filled_qty=D(1), filled_avg_price=D("2.00"))
    inbox.execute(market, "part", "1", "2.00")
    tick(inbox)
    assert newest(inbox)["state"] == "CANCEL_PENDING"
    cancelled(inbox, market, "1")
    assert (newest(inbox)["limit_price"], newest(inbox)["qty"]) == (None, market["qty"] - 1)


def test_a_close_that_meets_the_close_goes_on_with_the_next_open() -> None:
    inbox = Inbox(now=at("2026-02-17T12:00:00-05:00")).start()
    held(inbox, strategy="swing_trade")
    inbox.now = at("2026-02-17T15:59:58-05:00")
    inbox.stock = (D("97.90"), D("97.94"))
    tick(inbox)
    order = accept(inbox)
    inbox.now = at("2026-02-17T16:00:01-05:00")
    inbox.reply(order["client_order_id"], "EXPIRED")
    attempts = len(sent(inbox))
    for _ in range(3):
        tick(inbox, 600)
    assert len(sent(inbox)) == attempts, "the market is closed"
    inbox.now = at("2026-02-18T09:30:01-05:00")
    inbox.snapshot()
    tick(inbox)
    assert len(sent(inbox)) == attempts + 1
    assert inbox.of("positions")[-1]["state"] == "CLOSING"


def test_a_person_closes_a_position_and_is_named() -> None:
    inbox = Inbox().start()
    position = held(inbox)
    command = {"control_event_id": "c", "scope": "large", "state": "ACTIVE", "person": "ann", "reason": "x"}
    inbox.put("InboxControl", **command, command="CLOSE_POSITION", target=position["position_id"], price=None)
    (exit_,) = inbox.of("exits")
    assert (exit_["chosen"], exit_["person"]) == ("MANUAL_CLOSE", "ann")
    assert newest(inbox)["side"] == "SELL"
    inbox.put("InboxControl", **command, command="CLOSE_POSITION", target="nothing", price=None)
    assert [drop.reason for drop in inbox.drops] == ["NO_SUCH_TARGET"]


def test_a_halt_cancels_openings_closes_everything_and_ends_when_the_broker_agrees() -> None:
    inbox = Inbox().start()
    held(inbox)
    inbox.signal("AMD", action="BUY_STOCK")
    opening = accept(inbox)
    inbox.control("large", "HALTED")
    assert inbox.of("accounts")[-1]["halt_step"] == "CANCELLING"
    assert [c["client_order_id"] for c in inbox.requests("CANCEL")] == [opening["client_order_id"]]
    assert inbox.of("exits")[-1]["chosen"] == "KILL_SWITCH_FLATTEN"
    cancelled(inbox, opening)
    assert inbox.of("accounts")[-1]["halt_step"] == "FLATTENING"
    close = next(order for order in inbox.of("orders") if order["purpose"] == "CLOSE")
    assert (close["instrument"], close["exit_reason"]) == ("NVDA", "KILL_SWITCH_FLATTEN")
    inbox.fill(close)
    tick(inbox)
    steps = [each["halt_step"] for each in inbox.of("accounts") if each["halt_step"]]
    assert list(dict.fromkeys(steps)) == ["CANCELLING", "FLATTENING", "VERIFYING", "FLAT"]
    inbox.signal("CRM")
    assert inbox.of("proposals")[-1]["primary_reason"] == "KILL_SWITCH_HALTED"


def test_the_peak_outlives_a_restart() -> None:
    inbox = Inbox().start()
    inbox.signal(strategy="swing_trade")
    inbox.fill(inbox.of("orders")[0])
    asked = {"instrument": inbox.of("positions")[-1]["instrument"], "underlying": "NVDA"}
    inbox.answers = False
    for minutes, mid in ((5, "2.60"), (31, "2.20")):
        inbox.now = ELEVEN + minutes * MINUTE_US
        inbox.put("InboxTick")
        request = inbox.requests("FETCH_QUOTE")[-1]
        inbox.quote(request | asked, bid=D(mid), ask=D(mid))
    assert inbox.of("exits")[-1]["chosen"] == "TRAILING_STOP"
    assert inbox.of("exits")[-1]["peak"] == inbox.of("positions")[-1]["peak"] > D("0.28")


def test_a_shadow_account_reserves_until_the_session_ends_and_sends_nothing() -> None:
    inbox = Inbox(mode="SHADOW").start()
    inbox.signal()
    inbox.pass_time(20 * 60).signal("NVDA")
    assert inbox.of("proposals")[-1]["primary_reason"] == "DUPLICATE_POSITION"
    inbox.now = at("2026-02-18T11:00:00-05:00")
    inbox.put("InboxStream", healthy=True, detail="")
    inbox.signal("NVDA")
    assert inbox.of("proposals")[-1]["verdict"] == "SHADOWED"
    assert not sent(inbox)


def test_a_quote_that_a_close_cannot_have_is_asked_for_again() -> None:
    inbox = Inbox().start()
    held(inbox)
    inbox.answers = False
    inbox.now += 10 * SECOND
    inbox.put("InboxTick")
    inbox.quote(inbox.requests("FETCH_QUOTE")[-1], bid=D("97.90"), ask=D("97.94"))
    asked = len(inbox.requests("FETCH_QUOTE"))
    inbox.quote(inbox.requests("FETCH_QUOTE")[-1], bid=None, ask=None, error="no quote")
    tick(inbox, 4)
    assert len(sent(inbox)) == 1
    tick(inbox, 1)
    assert len(inbox.requests("FETCH_QUOTE")) > asked
    close = next(r for r in reversed(inbox.requests("FETCH_QUOTE")) if r["instrument"] == "NVDA")
    inbox.quote(close, bid=D("97.80"), ask=D("97.84"))
    assert sent(inbox)[-1]["limit_price"] == D("97.81")
