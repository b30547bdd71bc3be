"""A dispatcher whose credentials reach another account sends nothing, and takes nothing of it for its own.

The account holds a position whose exit is due, and has an order at its broker: what it would do is told by
the same account under its own credentials.
"""

from decimal import Decimal as D

import pytest

from tapedeck.connectors.paper.faults import Fault
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tests.support.floor import DAY_CALL, NUMBER, Floor
from tests.support.paper import TINY, order


class Rotated(Floor):
    """An account that bought contracts, and whose process then starts with credentials of TINY's account.

    That one traded, holds and orders things of its own. ``own``: the credentials are the right ones again.
    """

    def __init__(self, *, own: bool = False) -> None:
        super().__init__()
        self.opened()
        self.paper.submit(TINY.number, order("td1-theirs"))
        self.paper.submit(TINY.number, order("by-hand", symbol="AMD", limit_price="100.01", qty="3"))
        self.paper.submit(TINY.number, order("waits", limit_price="1.00"))
        self.use(NUMBER if own else TINY.number)

    def use(self, number: str) -> None:
        """Start again with the credentials of account ``number``."""
        self.dispatcher._broker._number = number
        self.dispatcher.restart()
        self.dispatcher.work()

    def asked_of(self, number: str) -> int:
        """How many orders and cancels reached an account through the dispatcher."""
        journal = self.paper.door.journal
        return sum(each.operation in ("submit", "cancel") and each.number == number for each in journal)


def fall(floor: Floor) -> Floor:
    """The contracts fall so far that they are to be sold, and stay there."""
    floor.market.price(DAY_CALL, "0.90", "0.92")
    return floor.move(180)


def test_under_its_own_credentials_the_account_sells() -> None:
    floor = Rotated(own=True)
    fall(floor).check()
    assert floor.sold() == floor.executions()[0]["qty"] and floor.held() == {}


def test_credentials_of_another_account_send_nothing_although_exits_are_due_and_signals_come() -> None:
    floor = Rotated()
    before = floor.asked_of(NUMBER)
    fall(floor.signal("AMD"))
    floor.control(KillState.HALTED)
    floor.move(120)
    assert floor.asked_of(TINY.number) == 0
    assert floor.asked_of(NUMBER) == before
    assert floor.proposals()[1:] == [("REFUSED", "ACCOUNT_MISMATCH")]
    assert floor.account()["identity"] == "ACCOUNT_MISMATCH"


def test_what_another_account_holds_orders_and_trades_is_never_taken_for_our_own() -> None:
    floor = Rotated()
    ours, told = floor.held(), len(floor.executions())
    floor.move(900)  # three comparisons
    for n in range(3):
        floor.paper.submit(TINY.number, order(f"more-{n}", symbol="AMD", limit_price="100.01", qty="1"))
        floor.move(20)
    assert floor.held() == ours and len(floor.executions()) == told
    assert ours[DAY_CALL] == floor.at_broker()[DAY_CALL] > D(0)


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_BEFORE, Fault.NO_FILL])
def test_no_order_is_given_up_because_another_account_does_not_know_it(fault: Fault) -> None:
    floor = Floor()
    floor.arm(fault, "submit", seconds=5000)
    floor.signal()
    swapped = Rotated.use
    swapped(floor, TINY.number)
    floor.move(150)
    assert {each["state"] for each in floor.orders()} <= {"UNKNOWN", "ACCEPTED", "CANCEL_PENDING"}
    swapped(floor, NUMBER)
    floor.faults.disarm()
    floor.move(300).check()


def test_once_the_credentials_are_right_again_the_exit_that_was_due_is_made() -> None:
    floor = Rotated()
    fall(floor)
    floor.use(NUMBER)
    floor.move(180).check()
    assert floor.held() == {} == floor.at_broker() and floor.sold() > 0
    assert [each for each in floor.sent() if each.startswith("td1-c")]
