"""T8 to T14: the broker's lists disagree, an order becomes another one, legs hold what is to be closed."""

from decimal import Decimal as D

import pytest

from tapedeck.connectors.dispatch.steps import IDENTITY_US
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.orders import Refusal
from tapedeck.streams.protocol import SECOND_US
from tests.support.account import Inbox
from tests.support.floor import DAY_CALL, NUMBER, Floor
from tests.support.paper import order
from tests.support.reports.cancels import FOUR, flat
from tests.support.reports.registry import case

COMPARISON_S = IDENTITY_US // SECOND_US
PAIR = {
    "symbol": "AMD", "qty": "10", "side": "sell", "type": "limit", "limit_price": "101.00",
    "position_intent": None, "order_class": "oco", "take_profit": {"limit_price": "101.00"},
    "stop_loss": {"stop_price": "99.00"},
}  # fmt: skip


def with_shares(floor: Floor) -> Floor:
    """Ten shares that a person bought."""
    floor.by_hand("shares", symbol="AMD", qty="10", limit_price="100.01", position_intent=None)
    assert floor.held() == {"AMD": D(10)}
    return floor


def differences(floor: Floor) -> bool:
    return bool(floor.state.differences or floor.state.mismatches)


@case(8, "orders and positions disagree for up to 10 s")
def lists_disagree() -> None:
    floor = Floor()
    floor.opened()
    floor.compare().move(COMPARISON_S - 4)
    floor.arm(Fault.LAGGING_POSITIONS, "positions", seconds=10)
    floor.by_hand("more", symbol=DAY_CALL, qty="1", limit_price="2.02")
    floor.compare()
    assert floor.faults.fired[Fault.LAGGING_POSITIONS] == 1
    assert differences(floor), "the list shows what was held 10 s ago"
    floor.move(70)
    assert not differences(floor), "looked at again"
    assert not [each for each in floor.executions() if each["reason"]], "and nothing was adjusted"
    floor.check()

    floor.arm(Fault.NO_FILL, "submit", seconds=60)
    floor.arm(Fault.LAGGING_ORDERS, "orders", seconds=10)
    floor.move(COMPARISON_S - 74).by_hand("rests", symbol=DAY_CALL, qty="1", limit_price="1.00")
    floor.compare().move(10)
    assert floor.faults.fired[Fault.LAGGING_ORDERS] == 1 and len(floor.executions()) == 2
    floor.check()


@case(9, "a closing order is shown as replaced, with nothing executed, and the position is gone")
def replaced_by_another() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.REPLACED_BY_HAND, "submit")
    floor.arm(Fault.NO_FILL, "submit", seconds=1)
    floor.close(DAY_CALL)
    flat(floor)
    assert floor.faults.fired[Fault.REPLACED_BY_HAND] == 1
    assert len(floor.closes()) == 1, "what replaced it is followed under the first one's id"
    assert floor.closes()[0]["filled_qty"] == FOUR
    assert {each["owner"] for each in floor.executions()} == {"TAPEDECK"}


@case(10, "insufficient qty: a stop that is held, and not listed, has the shares")
def held_leg() -> None:
    floor = Floor()
    floor.arm(Fault.HELD_LEG, "fill")
    floor.opened("AMD", "BUY_STOCK")
    qty = floor.held()["AMD"]
    assert floor.faults.fired[Fault.HELD_LEG] == 1
    assert not floor.paper.orders(NUMBER), "not among the open orders"
    floor.close("AMD")
    assert floor.closes()[0]["state"] == "REJECTED" and "available: 0" in floor.closes()[0]["detail"]
    floor.wait_for(lambda: not floor.state.parents)
    assert floor.sold() == qty
    legs = [each for each in floor.paper.books[NUMBER].orders.values() if each.parent]
    assert [each.status for each in legs] == ["canceled"], "every order of the instrument was canceled first"
    floor.check()


@case(11, "the target is filled, and the stop's cancel never comes by the stream")
def sibling() -> None:
    floor = with_shares(Floor())
    floor.arm(Fault.UPDATE_LOST, "canceled")
    floor.by_hand("pair", **PAIR)
    floor.compare()
    floor.signal("AMD", "BUY_STOCK")
    assert "NEEDS_RECONCILE" in [gate["reason"] for gate in floor.of("proposals")[-1]["gates"]]
    floor.market.price("AMD", "101.00", "101.02")
    floor.move(61)
    assert floor.faults.fired[Fault.UPDATE_LOST] == 1
    assert floor.held() == {} == floor.at_broker()
    floor.signal("AMD", "BUY_STOCK")  # its decision asks for both lists anew
    reasons = [gate["reason"] for gate in floor.of("proposals")[-1]["gates"]]
    assert "NEEDS_RECONCILE" not in reasons
    floor.move(60).check()


@case(12, "a leg is reported held first; its cancel is dropped, as its id is not known")
def held_first() -> None:
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    (intent,) = inbox.of("orders")
    name = intent["client_order_id"]
    inbox.reply(name, "ACCEPTED", raw_status="held", source="STREAM")  # before the answer to the call
    assert [each["state"] for each in inbox.of("orders")] == ["INTENT", "ACCEPTED"], "held is open"
    inbox.reply(name, "CANCELED", source="STREAM")
    assert inbox.of("orders")[-1]["state"] == "CANCELED" and not inbox.drops

    floor = Floor()
    floor.arm(Fault.HELD_LEG, "fill")
    floor.opened("AMD", "BUY_STOCK")
    assert floor.faults.fired[Fault.HELD_LEG] == 1
    floor.compare()
    (leg,) = [each for each in floor.paper.books[NUMBER].orders.values() if each.parent]
    assert leg.client_order_id in floor.state.external, "read from the list, where it is nested"
    floor.paper.cancel(NUMBER, leg.id)
    floor.compare()
    assert not floor.state.external
    floor.check()


@case(13, "one leg of a bracket is refused, 422")
def bracket_refused() -> None:
    floor = Floor()
    with pytest.raises(Refusal, match="bracket orders require"):
        floor.paper.submit(NUMBER, order("b", symbol="AMD", order_class="bracket", position_intent=None))
    floor.market.price("NVDA260306C00150000", "1.97", "2.02")  # a mid between two ticks
    floor.signal(strategy="swing_trade")
    floor.wait_for(lambda: not floor.state.parents)
    floor.close("NVDA260306C00150000").wait_for(lambda: not floor.state.parents)
    outcomes = {entry.outcome for entry in floor.paper.door.journal if entry.operation == "submit"}
    assert outcomes == {200}, "what is sent keeps the venue's rules: one leg, whole numbers, ticks"
    assert all(each["limit_price"] % D("0.01") == 0 for each in floor.orders())
    floor.check()


@case(14, "a bar touches the stop and the target")
def both_touched() -> None:
    floor = with_shares(Floor())
    floor.by_hand("pair", **PAIR)
    floor.market.price("AMD", "98.50", "101.50")
    floor.move(60)
    statuses = {
        each.type: each.status for each in floor.paper.books[NUMBER].orders.values() if each.side == "SELL"
    }
    assert statuses == {"limit": "canceled", "stop": "filled"}, "exactly one is filled: the stop"
    assert floor.held() == {} == floor.at_broker()
    floor.check()

    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK", strategy="day_trade")
    inbox.fill(inbox.of("orders")[0])
    inbox.pass_time(60).signal("AMD", "SELL_STOCK")
    close = inbox.of("orders")[-1]
    inbox.reply(close["client_order_id"], "ACCEPTED")
    other = {"client_order_id": "theirs", "instrument": "AMD", "side": "SELL"}
    inbox.pass_time(1).execute(other, "x-theirs", "200", "100")
    assert inbox.requests("CANCEL")[-1]["client_order_id"] == close["client_order_id"]
    inbox.reply(close["client_order_id"], "CANCELED")
    assert inbox.of("orders")[-1]["qty"] == D(49), "sized anew, from what is left"
