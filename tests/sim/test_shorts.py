"""Stock sold short on the running system: opened, marked, stopped, bought back; refused by default."""

from collections import Counter
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.paper.faults import Fault
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tests.support.floor import ACCOUNT, Floor
from tests.support.paper import CLOSE, LARGE

SHORT = {"symbol": "AMD", "action": "SELL_STOCK", "reason": "STOCK_DAY_TRADE", "direction": "BEAR"}


def shorted(**options: Any) -> Floor:
    """An account that has sold AMD short, at about 100."""
    floor = Floor(shorts=True, **options)
    assert floor.opened(**SHORT) == "AMD"
    return floor


def intents(floor: Floor) -> list[tuple[str, str]]:
    """(intent, status) of every order at the exchange."""
    return [(each.intent, each.status) for each in floor.paper.books[LARGE.number].orders.values()]


def test_a_short_opens_is_marked_and_is_closed_by_its_target() -> None:
    floor = shorted()
    (opened,) = [each for each in floor.of("proposals") if each["verdict"] == "APPROVED"]
    held = floor.held()["AMD"]
    assert held == -opened["quantity"] == floor.at_broker()["AMD"] and held < 0
    assert ("sell_to_open", "filled") in intents(floor)
    assert not floor.account()["alarm"], "it is allowed"
    floor.market.price("AMD", "98.49", "98.51")
    floor.move(60)
    pnl = floor.state.books["AMD"].watches[floor.position("AMD")["position_id"]].peak
    assert D("0.014") < pnl < D("0.016"), "it gains as the price falls"
    floor.market.price("AMD", "96.89", "96.91")
    floor.move(120).check()
    assert floor.of("exits")[-1]["chosen"] == "STOCK_TARGET" and floor.held() == {}
    closed = floor.position("AMD")
    assert closed["state"] == "CLOSED" and closed["realised"] > 0
    assert {each["side"] for each in floor.closes()} == {"BUY"}
    assert intents(floor)[-1] == ("buy_to_close", "filled")


def test_a_short_is_stopped_where_it_loses() -> None:
    floor = shorted()
    floor.market.price("AMD", "102.09", "102.11")
    floor.move(120).check()
    assert floor.of("exits")[-1]["chosen"] == "STOCK_STOP" and floor.held() == {}


def test_a_short_ends_with_the_day_and_with_a_halt() -> None:
    floor = shorted()
    floor.jump(CLOSE - 6 * MINUTE_US).move(180).check()
    assert floor.of("exits")[-1]["chosen"] == "DAY_TRADE_CLOSE" and floor.held() == {}
    halted = shorted()
    halted.control(KillState.HALTED, scope=ACCOUNT)
    halted.dispatcher.work()
    halted.move(60).check()
    assert halted.of("exits")[-1]["chosen"] == "KILL_SWITCH_FLATTEN" and halted.held() == {}
    assert halted.account()["halt_step"] == "FLAT"


def test_no_short_is_opened_by_default() -> None:
    floor = Floor()
    floor.signal(**SHORT)
    assert floor.proposals() == [("REFUSED", "NO_LONG_TO_SELL")] and not floor.sent()


def test_a_second_short_and_a_purchase_beside_it_are_refused() -> None:
    floor = shorted().move(16 * 60)
    floor.signal(**SHORT)
    floor.signal("AMD", "BUY_STOCK")
    floor.signal("AMD", "BUY_CALL")
    assert [reason for _, reason in floor.proposals()[1:]] == [
        "DUPLICATE_POSITION", "DUPLICATE_POSITION", "CONFLICTING_DIRECTION",
    ]  # fmt: skip


def test_a_stock_that_cannot_be_borrowed_is_rejected_with_the_brokers_words() -> None:
    floor = Floor(shorts=True, hard_to_borrow=["AMD"])
    floor.signal(**SHORT).move(10)
    (order,) = floor.orders()
    assert (order["state"], order["reason"]) == ("REJECTED", "BROKER_REJECTED")
    assert "cannot be sold short" in order["detail"] and floor.held() == {}
    floor.check()


def test_an_account_that_the_broker_lets_not_short_is_rejected() -> None:
    floor = Floor(shorts=True)
    book = floor.paper.books[LARGE.number]
    book.account = book.account._replace(margin=False)
    floor.signal(**SHORT).move(10)
    assert "not allowed to short" in floor.orders()[0]["detail"] and floor.held() == {}


def test_a_short_is_sold_down_its_ladder_and_never_below_its_last_step() -> None:
    floor = Floor(shorts=True)
    floor.market.price("AMD", "99.90", "100.10")
    floor.arm(Fault.NO_FILL, count=9, seconds=1000)
    floor.signal(**SHORT)
    floor.market.price("AMD", "99.60", "99.80")
    floor.move(30)
    limits = [each["limit_price"] for each in floor.orders()]
    worst = floor.of("proposals")[0]["worst_price"]
    assert len(limits) == 3 and limits == sorted(limits, reverse=True)
    assert min(limits) == worst and floor.orders()[-1]["reason"] == "REPRICE_EXHAUSTED"
    floor.check()


def test_a_short_counts_with_103_percent_of_the_ask_until_it_is_sold() -> None:
    floor = Floor(shorts=True)
    floor.arm(Fault.NO_FILL, seconds=100)
    floor.signal(**SHORT)
    gates = {gate["gate"]: gate for gate in floor.of("proposals")[0]["gates"]}
    quantity = floor.of("proposals")[0]["quantity"]
    assert D(gates["buying_power"]["observed"]) == quantity * D("103.0103")
    assert D(gates["max_exposure"]["observed"]) == quantity * D("103.0103")


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["short", "buy", "call", "close", "price", "wait", "fault"]), st.integers(0, 9)
    ),
    min_size=4, max_size=14,
)  # fmt: skip
FAULTS = (
    Fault.PARTIAL_FILL, Fault.GATEWAY_TIMEOUT_AFTER, Fault.CANCEL_FILLED, Fault.CANCEL_PART_FILLED,
    Fault.UPDATE_LOST, Fault.UPDATE_TWICE, Fault.REJECT, Fault.NO_FILL, Fault.LAGGING_POSITIONS,
    Fault.DROP_AFTER,
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(MOVES)
def test_whatever_happens_the_folded_quantity_is_the_exchanges(moves: list[tuple[str, int]]) -> None:
    floor = Floor(shorts=True)
    for what, number in moves:
        match what:
            case "short" | "buy" | "call":
                action = {"short": "SELL_STOCK", "buy": "BUY_STOCK", "call": "BUY_CALL"}[what]
                floor.signal(("AMD", "NVDA")[number % 2], action)
            case "close":
                for instrument in sorted(floor.held()):
                    floor.close(instrument)
            case "price":
                price = D(96 + number)
                floor.market.price("AMD", f"{price - D('0.02')}", f"{price + D('0.02')}")
            case "wait":
                floor.move(20 * (number + 1))
            case "fault":
                floor.arm(FAULTS[number])
    floor.faults.disarm()
    floor.move(900)
    floor.check(quiet=False)
    assert floor.held() == floor.at_broker()
    signed: Counter[str] = Counter()
    for each in floor.executions():
        signed[each["instrument"]] += each["qty"] if each["side"] == "BUY" else -each["qty"]
    assert {name: qty for name, qty in signed.items() if qty} == floor.at_broker()
    assert floor.account()["alarm"] is None, "an allowed short is no alarm"


@pytest.mark.parametrize("shorts", [True, False])
def test_a_short_that_somebody_else_opened_is_bought_back_either_way(shorts: bool) -> None:
    floor = Floor(shorts=True)
    if not shorts:
        floor = Floor(before=_assigned)
        floor.move(360)
    else:
        by_hand = {"symbol": "AMD", "side": "sell", "qty": "10", "limit_price": "99.99"}
        floor.by_hand(**by_hand, position_intent=None)
        floor.move(60)
    assert floor.held() == floor.at_broker() == {"AMD": D(-10)}
    assert (floor.account()["alarm"] == "UNEXPECTED_SHORT") is not shorts
    floor.close("AMD").move(60)
    assert floor.held() == floor.at_broker() == {}


def _assigned(paper: Any) -> None:
    """A cash account that is short all the same, as an assignment leaves it."""
    listing = paper.board.listing("AMD", paper.now)
    paper.books[LARGE.number].ledger.move(listing, D(-10), D("100"))
