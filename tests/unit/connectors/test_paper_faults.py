"""Each fault of the exchange: what is seen with it, and what without it. Every kind has its case here."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any, NamedTuple

import pytest

from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.hands import Liquidates
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.connectors.paper.kinds import PLANS
from tapedeck.streams.stages.account.rules.orders import Side
from tests.support.hands import NUMBER, Hands, told
from tests.support.paper import (
    CALL,
    TINY,
    TODAY_CALL,
    TinyMarket,
    at,
    exchange,
)


class Case(NamedTuple):
    """What ``play`` sees without the fault and with it, armed by ``options``."""

    play: Callable[[Hands], Any]
    clean: Any
    struck: Any
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


def sent(hands: Hands) -> Any:
    return hands.buy(), hands.state()


def after_rate_limit(hands: Hands) -> Any:
    first = hands.buy()
    hands.move(4)
    second = hands.buy("b")
    hands.move(1)
    return first, second, hands.buy("c"), hands.paper.door.early[NUMBER]


def after_not_found(hands: Hands) -> Any:
    hands.buy()
    return [told(lambda: hands.broker.order_by_client_id("a").raw_status) for _ in range(2)]


def positions_twice(hands: Hands) -> Any:
    hands.move(30)
    hands.buy()
    first = hands.held()
    hands.move(10)
    return first, hands.held()


def sold_positions(hands: Hands) -> Any:
    hands.buy()
    hands.move(30)
    hands.sell(qty=D(1))
    return hands.held()


def orders_twice(hands: Hands) -> Any:
    hands.rest()
    hands.move(30)
    hands.cancel()
    return [len(hands.broker.open_orders()) for _ in range(2)]


def activities_twice(hands: Hands) -> Any:
    hands.buy()
    return [len(hands.broker.activities(0)) for _ in range(2)]


def contract_parts(hands: Hands) -> Any:
    told = hands.paper.option_snapshot(NUMBER, CALL)
    assert told is not None
    return sorted(told.gone)


def rejected(hands: Hands) -> Any:
    return hands.buy(), hands.state(), hands.heard


def refused(hands: Hands) -> Any:
    return hands.buy(), hands.state()[0]


def not_filled(hands: Hands) -> Any:
    hands.buy()
    hands.move(29)
    before = hands.state()
    hands.move(1)
    return before, hands.state()


def in_parts(hands: Hands) -> Any:
    hands.buy(qty=D(8), limit_price=None)
    before = hands.state()[0]
    hands.move(30)
    return before, hands.state(), hands.heard


def replaced(hands: Hands) -> Any:
    hands.buy()
    found = hands.broker.order_by_client_id("a")
    by_hand = next(iter(reversed(hands.paper.books[NUMBER].orders.values())))
    ours = hands.broker.order(by_hand.id).client_order_id
    return hands.state(), found.raw_status, int(found.filled_qty), ours, hands.held()


def held_leg(hands: Hands) -> Any:
    hands.buy()
    listed = [each["status"] for each in hands.paper.orders(NUMBER)]
    (position,) = hands.broker.positions()
    first = hands.sell()
    asked = hands.broker.cancel_instrument(CALL)
    return listed, position.qty_available, first, asked, hands.sell("s2")


def on_expiry_day(hands: Hands) -> Any:
    hands.buy(instrument=TODAY_CALL, limit_price=D("1.10"))
    hands.sell("rests", "9.00", instrument=TODAY_CALL)
    hands.paper.advance(at("20:29:59"))
    before = hands.held()
    hands.paper.advance(at("20:30:00"))
    foreign = [fill for fill in hands.broker.activities(0) if fill.side is Side.SELL]
    return before, hands.held(), hands.state("rests")[0], len(foreign)


def raced(hands: Hands) -> Any:
    hands.buy(qty=D(4), limit_price=D("2.04"))
    answer = hands.cancel()
    status, filled = hands.state()
    return answer, status, filled, sum(hands.held().values()) == int(filled)


def pending(hands: Hands) -> Any:
    hands.buy(limit_price=D("2.04"))
    first, second = hands.cancel(), hands.cancel()
    before = hands.state()[0]
    hands.move(3600)
    return first, second, before, hands.state()[0]


def cancel_failed(hands: Hands) -> Any:
    hands.rest()
    return hands.cancel(), hands.state()[0], hands.cancel(), hands.state()[0]


def changed(hands: Hands) -> Any:
    hands.rest()
    order = hands.paper.books[NUMBER].by_client_id["a"]

    def ask() -> str:
        return str(hands.paper.replace(NUMBER, order.id, {"limit_price": "1.10"})["limit_price"])

    try:
        answer = ask()
    except Exception as error:
        answer = str(error)
    return answer, order.status, len(hands.broker.open_orders())


def heard(hands: Hands) -> Any:
    hands.buy(limit_price=D("1.00"))
    hands.cancel()
    return hands.heard


def heard_later(hands: Hands) -> Any:
    first = list(heard(hands))
    hands.move(20)
    return first, hands.heard


def silent(hands: Hands) -> Any:
    heard(hands)
    hands.move(90)
    hands.buy("b", limit_price=D("1.00"))
    return hands.heard


def cut(hands: Hands) -> Any:
    hands.rest()
    hands.move(9)
    hands.buy("b", limit_price=D("1.00"))
    hands.move(31)
    hands.cancel()
    return hands.heard


FILLED = ("filled", "2")
SENT = ("pending_new", FILLED)
CANCELED = '422 42210000: order is already in "canceled" state'
CLEAN_CANCEL = ("asked", "canceled", CANCELED, "canceled")
NO_QTY = "403 40310000: insufficient qty available for order (requested: 2, available: 0)"
SEEN = ["new", "canceled"]
UNCOVERED = "403 40310000: account not eligible to trade uncovered option contracts"
WASH = "403 40310000: potential wash trade detected. use complex orders"
F = Fault
CASES: dict[Fault, list[Case]] = {
    F.GATEWAY_TIMEOUT_BEFORE: [Case(sent, SENT, ("Doubt", ("none", "0")))],
    F.GATEWAY_TIMEOUT_AFTER: [Case(sent, SENT, ("Doubt", FILLED))],
    F.DROP_BEFORE: [Case(sent, SENT, ("Doubt", ("none", "0")))],
    F.DROP_AFTER: [Case(sent, SENT, ("Doubt", FILLED))],
    F.DELAY: [Case(sent, SENT, ("Doubt", FILLED))],
    F.MALFORMED_AFTER: [
        Case(sent, SENT, ("NotUnderstood", FILLED)),
        Case(
            cancel_failed,
            CLEAN_CANCEL,
            ("NotUnderstood", "canceled", *CLEAN_CANCEL[2:]),
            {"operation": "cancel"},
        ),
    ],
    F.NULL_AFTER: [Case(sent, SENT, ("NotUnderstood", FILLED))],
    F.RATE_LIMIT: [
        Case(
            after_rate_limit,
            ("pending_new", "pending_new", "pending_new", 0),
            ("RateLimited", "RateLimited", "pending_new", 1),
            {"seconds": 5},
        )
    ],
    F.NOT_FOUND: [Case(after_not_found, ["filled", "filled"], ["NotFound", "filled"])],
    F.WRONG_ACCOUNT: [
        Case(lambda hands: hands.broker.account().number, NUMBER, f"WRONG-{NUMBER}"),
    ],
    F.LAGGING_POSITIONS: [
        Case(positions_twice, ({CALL: 2}, {CALL: 2}), ({}, {CALL: 2})),
        Case(sold_positions, {CALL: 1}, {CALL: 2}),
    ],
    F.LAGGING_ORDERS: [Case(orders_twice, [0, 0], [1, 0])],
    F.LAGGING_ACTIVITIES: [Case(activities_twice, [1, 1], [0, 1])],
    F.QUOTE_NULL: [Case(contract_parts, [], ["latestQuote"])],
    F.TRADE_NULL: [Case(contract_parts, [], ["latestTrade"])],
    F.GREEKS_NULL: [Case(contract_parts, [], ["greeks"], {"operation": "option_snapshot"})],
    F.REJECT: [
        Case(rejected, (*SENT, ["new", "fill"]), ("pending_new", ("rejected", "0"), ["rejected"]))
    ],
    F.REFUSE_QTY: [Case(refused, ("pending_new", "filled"), (NO_QTY, "none"))],
    F.REFUSE_UNCOVERED: [
        Case(
            refused,
            ("pending_new", "filled"),
            (UNCOVERED, "none"),
        )
    ],
    F.REFUSE_BUYING_POWER: [
        Case(refused, ("pending_new", "filled"), ("403 40310000: insufficient buying power", "none"))
    ],
    F.REFUSE_WASH: [Case(refused, ("pending_new", "filled"), (WASH, "none"))],
    F.NO_FILL: [Case(not_filled, (FILLED, FILLED), (("new", "0"), FILLED))],
    F.PARTIAL_FILL: [
        Case(
            in_parts,
            ("filled", ("filled", "8"), ["new", "fill"]),
            ("partially_filled", ("filled", "8"), ["new", "partial_fill", "fill"]),
        )
    ],
    F.REPLACED_BY_HAND: [
        Case(
            replaced,
            (FILLED, "filled", 2, "a", {CALL: 2}),
            (("replaced", "0"), "filled", 2, "a", {CALL: 2}),
        )
    ],
    F.HELD_LEG: [
        Case(
            held_leg,
            ([], D(2), "pending_new", 0, UNCOVERED),
            ([], D(0), NO_QTY, 1, "pending_new"),
        )
    ],
    F.LIQUIDATION: [
        Case(
            on_expiry_day,
            ({TODAY_CALL: 2}, {TODAY_CALL: 2}, "new", 0),
            ({TODAY_CALL: 2}, {}, "canceled", 1),
        )
    ],
    F.CANCEL_FILLED: [
        Case(
            raced,
            ("asked", "canceled", "0", True),
            ('422 42210000: order is already in "filled" state', "filled", "4", True),
        )
    ],
    F.CANCEL_PART_FILLED: [
        Case(raced, ("asked", "canceled", "0", True), ("asked", "canceled", "2", True))
    ],
    F.CANCEL_PENDING: [
        Case(
            pending,
            ("asked", CANCELED, "canceled", "canceled"),
            ("asked", "422 42210000: order pending cancel", "pending_cancel", "canceled"),
        )
    ],
    F.CANCEL_IGNORED: [Case(cancel_failed, CLEAN_CANCEL, ("asked", "new", "asked", "canceled"))],
    F.CANCEL_REFUSED: [
        Case(
            cancel_failed,
            CLEAN_CANCEL,
            ("422 42210000: order is not cancelable", "new", "asked", "canceled"),
        )
    ],
    F.REPLACE_REFUSED: [
        Case(
            changed,
            ("1.1", "replaced", 1),
            ("insufficient qty available for order (requested: 2, available: 0)", "new", 1),
        )
    ],
    F.REPLACE_DONE_BUT_REFUSED: [
        Case(changed, ("1.1", "replaced", 1), ("order is not sent to exchange yet", "replaced", 1))
    ],
    F.UPDATE_TWICE: [Case(heard, SEEN, ["new", "new", "canceled"])],
    F.UPDATE_AFTER_NEXT: [Case(heard, SEEN, ["canceled", "new"])],
    F.UPDATE_LOST: [
        Case(heard, SEEN, ["canceled"]),
        Case(heard, SEEN, ["new"], {"operation": "canceled"}),
    ],
    F.UPDATE_LATE: [Case(heard_later, (SEEN, SEEN), (["canceled"], ["canceled", "new"]))],
    F.UPDATE_NULL: [Case(heard, SEEN, ["null", "canceled"])],
    F.STREAM_SILENT: [Case(silent, [*SEEN, "new"], ["new"])],
    F.STREAM_CUT: [
        Case(
            cut, ["new", "new", "canceled"], ["cut", "connected", "canceled"],
            {"operation": "new", "seconds": 10},
        )
    ],
}  # fmt: skip


def test_every_fault_has_its_case_and_its_plan() -> None:
    assert set(CASES) == set(PLANS) == set(Fault)


@pytest.mark.parametrize(
    ("fault", "case"),
    [pytest.param(fault, case, id=f"{fault}-{n}") for fault in CASES for n, case in enumerate(CASES[fault])],
)
def test_a_fault_does_what_its_plan_says_and_nothing_does_it_without(fault: Fault, case: Case) -> None:
    clean = Hands(exchange())
    assert case.play(clean) == case.clean
    assert fault not in clean.paper.faults.fired
    struck = Hands(exchange())
    struck.paper.faults.arm(fault, account=NUMBER, **case.options)
    assert case.play(struck) == case.struck
    assert struck.paper.faults.fired[fault] == 1


def test_a_connection_that_ends_in_mid_fill_leaves_the_rest_to_be_read() -> None:
    hands = Hands(exchange())
    hands.paper.faults.arm(F.PARTIAL_FILL)
    hands.paper.faults.arm(F.STREAM_CUT, operation="partial_fill", seconds=60)
    hands.buy(qty=D(8), limit_price=None)
    hands.move(120)
    assert hands.heard == ["new", "cut", "connected"]
    assert sum(fill.qty for fill in hands.broker.activities(0)) == hands.held()[CALL] == 8


def test_a_fault_of_one_account_and_one_call_strikes_no_other() -> None:
    hands = Hands(exchange())
    hands.paper.faults.arm(F.GATEWAY_TIMEOUT_BEFORE, account=TINY.number)
    hands.paper.faults.arm(F.GATEWAY_TIMEOUT_BEFORE, operation="cancel")
    assert hands.rest() == "pending_new"
    assert hands.cancel() == "Doubt"
    assert hands.cancel() == "asked"
    other = InProcessBroker(hands.paper, TINY.number, "http://127.0.0.1:1")
    assert told(other.account) == "Doubt"


@pytest.mark.parametrize(("strike", "closed"), [("149", True), ("149.98", False), ("151", False)])
def test_a_broker_closes_what_the_account_cannot_pay_to_exercise_and_nothing_else(
    strike: str, closed: bool
) -> None:
    market = TinyMarket()
    name = f"NVDA260217C{round(D(strike) * 1000):08d}"
    market.price(name, "1.00", "1.10")
    for how, ten in ((Liquidates.UNAFFORDABLE, 10), (Liquidates.UNAFFORDABLE, 1), (Liquidates.NEVER, 10)):
        hands = Hands(exchange(market, liquidates=how))
        hands.buy(instrument=name, limit_price=D("1.10"), qty=D(ten))
        hands.paper.advance(at("20:30:00"))
        assert (hands.held() == {}) is (closed and how is Liquidates.UNAFFORDABLE and ten == 10)
