"""T24 and T26 to T29: what our books say, what the broker's say, and what a restart makes of both."""

from decimal import Decimal as D

from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.market import Listing
from tests.support.account import Inbox
from tests.support.floor import DAY_CALL, NUMBER, SWING_CALL, Floor, check_rebuilt
from tests.support.paper import CLOSE, MINUTE, TODAY_CALL
from tests.support.reports.cancels import FOUR, flat
from tests.support.reports.registry import case

LIQUIDATION_AT = CLOSE - 30 * MINUTE


@case(24, "a cancel is refused because the rest would be too small to sell: it never exits")
def dust() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", seconds=20)
    floor.arm(Fault.CANCEL_REFUSED, "cancel")
    flat(floor.close(DAY_CALL))
    assert floor.faults.fired[Fault.CANCEL_REFUSED] == 1

    inbox = Inbox().start()
    theirs = {"client_order_id": "theirs", "instrument": "AMD", "side": "BUY"}
    inbox.execute(theirs, "x", "10.5", "100")
    position = inbox.of("positions")[-1]["position_id"]
    inbox.put("InboxControl", control_event_id="c", scope="large", state="ACTIVE", person="ann", reason="x",
              command="CLOSE_POSITION", target=position)  # fmt: skip
    inbox.put("InboxTick")
    (submit,) = inbox.requests("SUBMIT")
    assert submit["qty"] == 10, "whatever is left over, what can be sold is sold"
    inbox.fill(inbox.of("orders")[-1])
    inbox.pass_time(60).put("InboxTick")
    assert inbox.of("positions")[-1]["qty"] == D("0.5")
    assert inbox.of("accounts")[-1]["warnings"] == ["DUST:AMD"], "and the rest has a name"
    assert len(inbox.requests("SUBMIT")) == 1


@case(26, "a restart: fills come twice, orders are sent twice, ids are new")
def restarts() -> None:
    digests = set()
    for empty in (True, False):
        floor = Floor()
        floor.arm(Fault.NO_FILL, "submit", seconds=2)
        floor.arm(Fault.UPDATE_TWICE, "update", count=99)
        floor.arm(Fault.UPDATE_AFTER_NEXT, "update", count=2)
        floor.signal()
        floor.dispatcher.restart(empty_disk=empty, rewind=9)
        floor.dispatcher.work()
        floor.wait_for(lambda f=floor: f.held(), 60)
        for _ in range(2):
            floor.dispatcher.restart(empty_disk=empty, rewind=9)
            floor.move(2)
        floor.close(DAY_CALL).wait_for(lambda f=floor: not f.state.parents)
        assert floor.faults.fired[Fault.UPDATE_TWICE] > 1 and floor.dispatcher.starts == 4
        ids = [each["execution_id"] for each in floor.executions()]
        assert len(ids) == len(set(ids)) == 2
        assert floor.proposals() == [("APPROVED", "OK")]
        floor.check()
        digests.add(tuple(floor.sent()))
    assert len(digests) == 1, "the same ids, whatever was lost with the disk"


@case(27, "a stale mark that a fill is booked already: it is booked twice")
def booked_twice() -> None:
    floor = Floor()
    floor.opened()
    assert [each["source"] for each in floor.executions()] == ["STREAM"]
    floor.dispatcher.restart(empty_disk=True, rewind=9)
    floor.compare()  # activities list the execution that the stream brought
    told = [
        each["payload"][1] for each in floor.of("account_inbox") if each["payload"][0].endswith("Execution")
    ]
    again = told[0] | {"source": "REST"}
    assert floor.held() == {DAY_CALL: FOUR} == floor.at_broker()
    inbox = Inbox().start()
    for each in (told[0], again, told[0]):
        inbox.put("InboxExecution", **each)
    assert [each.reason for each in inbox.drops] == ["DUPLICATE_EXECUTION"] * 2
    assert {each["qty"] for each in inbox.of("positions")} == {FOUR}
    floor.check()


@case(28, "a mismatch is logged and ignored: it thinks that it is flat, and buys")
def mismatch() -> None:
    floor = Floor()
    listing = Listing("AMD", "AMD", 1, None)
    floor.paper.books[NUMBER].ledger.move(listing, D(7), D(100))  # a position without any execution
    floor.compare()
    assert floor.at_broker() == {"AMD": 7} and floor.held() == {}
    floor.signal("AMD", "BUY_STOCK")
    assert "NEEDS_RECONCILE" in [gate["reason"] for gate in floor.of("proposals")[-1]["gates"]]
    floor.move(60)
    (adopted,) = floor.executions()
    assert (adopted["reason"], adopted["price"], adopted["qty"]) == ("RECON_ADJUST", None, D(7))
    assert floor.held() == floor.at_broker()
    assert floor.account()["warnings"] == ["NEEDS_REVIEW:AMD"]
    floor.signal("AMD", "BUY_STOCK")
    assert "NEEDS_RECONCILE" in [gate["reason"] for gate in floor.of("proposals")[-1]["gates"]]
    floor.control(scope="large", command="RESOLVE", target=adopted["execution_id"], price=D("100.000000"))
    floor.dispatcher.work()
    assert floor.account()["warnings"] == [] and not floor.state.reviews
    assert floor.position("AMD")["average_cost"] == 100
    floor.signal("AMD", "BUY_STOCK")
    reasons = [gate["reason"] for gate in floor.of("proposals")[-1]["gates"] if not gate["passed"]]
    assert "NEEDS_RECONCILE" not in reasons and "DUPLICATE_POSITION" in reasons
    check_rebuilt(floor)


@case(29, "the broker liquidates, and the event is ignored as the order is not ours")
def liquidated() -> None:
    floor = Floor()
    floor.until(LIQUIDATION_AT - 2 * MINUTE)
    floor.arm(Fault.NO_FILL, "submit", count=99, skip=2, seconds=7200)
    floor.by_hand("kept", symbol=SWING_CALL, limit_price="2.02", qty="1")
    floor.by_hand(symbol=TODAY_CALL, limit_price="1.10", qty="2")
    floor.arm(Fault.LIQUIDATION, "expiry")
    floor.until(LIQUIDATION_AT + 2_000_000)
    assert floor.faults.fired[Fault.LIQUIDATION] == 1
    last = floor.executions()[-1]
    assert (last["owner"], last["reason"], last["qty"]) == ("EXTERNAL", "BROKER_LIQUIDATION", D(2))
    assert floor.position(TODAY_CALL)["state"] == "CLOSED" and TODAY_CALL not in floor.held()
    sent = len(floor.sent())
    floor.move(60)
    assert floor.position(TODAY_CALL)["state"] == "CLOSED"
    ours = [each for each in floor.closes() if each["instrument"] == TODAY_CALL]
    assert ours and ours[-1]["state"] == "CANCELED"
    assert not set(floor.sent()[sent:]) & {each["client_order_id"] for each in ours}, "nor is it closed again"
    floor.check(quiet=False)
