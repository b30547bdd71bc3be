"""T1 to T7: an order is replaced or canceled, and something else happens meanwhile."""

from decimal import Decimal as D

from tapedeck.connectors.broker import Broker, NewOrder
from tapedeck.connectors.paper.faults import Fault
from tests.support.floor import DAY_CALL, Floor
from tests.support.reports.registry import case

FOUR = D(4)


def closing(floor: Floor) -> Floor:
    """Four contracts, and a person's command to close them."""
    assert floor.opened() == DAY_CALL and floor.held() == {DAY_CALL: FOUR}
    return floor.close(DAY_CALL)


def flat(floor: Floor) -> None:
    """Closed by exactly what was held."""
    floor.wait_for(lambda: not floor.state.parents, 200)
    assert floor.held() == {} and floor.sold() == FOUR
    assert floor.position(DAY_CALL)["state"] == "CLOSED"
    floor.check()


@case(1, "a partly filled sell is replaced at its original quantity, and too much is sold")
def replaced_partial() -> None:
    assert not hasattr(Broker, "replace"), "no order is ever replaced: it is canceled, and another one sent"
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", seconds=4)
    floor.arm(Fault.PARTIAL_FILL, "fill", seconds=60)
    floor.close(DAY_CALL)
    flat(floor)
    assert floor.faults.fired[Fault.PARTIAL_FILL] == 1
    parted = next(each for each in floor.closes() if 0 < each["filled_qty"] < each["qty"])
    after = floor.closes()[floor.closes().index(parted) + 1]
    assert parted["state"] == "CANCELED" and after["qty"] == parted["qty"] - parted["filled_qty"]


@case(2, "the replacement of a close is refused: 40310000, available 0")
def close_refused() -> None:
    assert not {"legs", "order_class"} & set(NewOrder.__dataclass_fields__), "no order has several legs"
    floor = Floor()
    floor.opened()
    floor.arm(Fault.REFUSE_QTY, "submit")
    floor.close(DAY_CALL)
    (refused,) = floor.closes()
    assert floor.faults.fired[Fault.REFUSE_QTY] == 1
    assert (refused["state"], refused["reason"]) == ("REJECTED", "BROKER_REJECTED")
    assert "insufficient qty" in refused["detail"]
    assert floor.position(DAY_CALL)["state"] == "CLOSING"
    flat(floor)
    assert {each["state"] for each in floor.of("positions")[1:-1]} == {"CLOSING"}


@case(3, "the answer says that the order was not sent, and it exists")
def exists_after_all() -> None:
    floor = Floor()
    floor.arm(Fault.GATEWAY_TIMEOUT_AFTER, "submit")
    floor.arm(Fault.NOT_FOUND, "order", count=3)
    floor.arm(Fault.UPDATE_LOST, "update", count=9)
    floor.arm(Fault.NO_FILL, "submit", seconds=40)
    floor.signal()
    (order,) = floor.orders()
    assert order["state"] == "UNKNOWN"
    floor.wait_for(lambda: floor.orders()[0]["state"] == "ACCEPTED", 40)
    assert (floor.faults.fired[Fault.GATEWAY_TIMEOUT_AFTER], floor.faults.fired[Fault.NOT_FOUND]) == (1, 3)
    assert floor.sent() == [order["client_order_id"]], "asked about, and not sent again"
    floor.wait_for(lambda: not floor.state.parents, 300)
    floor.check()


@case(4, "an order hangs in pending_cancel for hours")
def cancel_hangs() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", count=20, seconds=7200)
    floor.arm(Fault.CANCEL_PENDING, "cancel", seconds=1500)
    floor.close(DAY_CALL)
    floor.move(150)
    assert floor.faults.fired[Fault.CANCEL_PENDING] == 1
    (close,) = floor.closes()
    assert close["state"] == "UNKNOWN"
    assert f"ORDER_UNKNOWN:{close['client_order_id']}" in floor.account()["warnings"]
    floor.move(1200)
    assert len(floor.closes()) == 1, "no second close beside one that may still be filled"
    assert [each.remaining for each in floor.state.reserved] == [FOUR], "its quantity stays reserved"
    assert floor.position(DAY_CALL)["state"] == "CLOSING"
    floor.faults.disarm()
    floor.move(200)
    flat(floor)


@case(5, "a cancel is answered 422, already filled, and that is raised as an error")
def filled_before_cancel() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", seconds=60)
    floor.arm(Fault.CANCEL_FILLED, "cancel")
    floor.close(DAY_CALL)
    flat(floor)
    assert floor.faults.fired[Fault.CANCEL_FILLED] == 1
    (close,) = floor.closes()
    assert (close["state"], close["filled_qty"]) == ("FILLED", FOUR), "what was wanted has happened"


@case(6, "a cancel fails, and the program buys again")
def cancel_fails() -> None:
    for fault in (Fault.CANCEL_REFUSED, Fault.CANCEL_IGNORED):
        floor = Floor()
        floor.arm(Fault.NO_FILL, "submit", count=3, seconds=600)
        floor.arm(fault, "cancel")
        floor.signal()
        floor.move(20)
        assert floor.faults.fired[fault] == 1
        assert len(floor.sent()) == 1, "while it may be alive nothing else is bought"
        assert [each.remaining for each in floor.state.reserved] == [FOUR]
        floor.wait_for(lambda f=floor: not f.state.parents, 400)
        states = [each["state"] for each in floor.orders()]
        assert states == ["CANCELED"] * 3, "one after the other, up to the last step"
        floor.check()


@case(7, "an order is filled and canceled at the same time")
def filled_and_canceled() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", seconds=60)
    floor.arm(Fault.CANCEL_PART_FILLED, "cancel")
    floor.close(DAY_CALL)
    flat(floor)
    assert floor.faults.fired[Fault.CANCEL_PART_FILLED] == 1
    first, *others = floor.closes()
    assert first["state"] == "CANCELED" and 0 < first["filled_qty"] < FOUR
    assert others[0]["qty"] == FOUR - first["filled_qty"]
