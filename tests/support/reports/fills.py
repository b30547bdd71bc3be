"""T15 to T23 and T25: an execution that is lost, late, partial, or answered in words that nobody can read."""

from decimal import Decimal as D

from tapedeck.connectors.paper.faults import Fault
from tests.support.floor import DAY_CALL, Floor
from tests.support.paper import CLOSE, MINUTE, TODAY_CALL
from tests.support.reports.cancels import FOUR, flat
from tests.support.reports.registry import case

EXPIRY_CLOSE_AT = CLOSE - 60 * MINUTE


def expiring(floor: Floor, qty: int = 4) -> Floor:
    """``qty`` contracts that expire today, a few seconds before the rule that closes them."""
    floor.until(EXPIRY_CLOSE_AT - 10 * MINUTE)
    floor.by_hand(symbol=TODAY_CALL, limit_price="1.10", qty=str(qty))
    assert floor.at_broker() == {TODAY_CALL: D(qty)}
    return floor.until(EXPIRY_CLOSE_AT - 5_000_000)


@case(15, "the fill is lost while heartbeats are fine: endless liquidation")
def lost_fill() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.UPDATE_LOST, "update", count=50)
    floor.arm(Fault.NO_FILL, "submit", seconds=1)
    floor.close(DAY_CALL)
    flat(floor.move(20))
    assert floor.faults.fired[Fault.UPDATE_LOST] >= 2
    assert len(floor.closes()) == 1, "asked about, and not sent again"
    assert [each["source"] for each in floor.executions()][-1] == "REST"

    floor = expiring(Floor(), 4)  # now a market order: it has no next step at which it is looked at
    floor.arm(Fault.NO_FILL, "submit", count=3, seconds=600)
    floor.arm(Fault.UPDATE_LOST, "fill")
    floor.wait_for(lambda: floor.closes() and floor.closes()[-1]["limit_price"] is None, 60)
    floor.move(15)
    assert floor.faults.fired[Fault.UPDATE_LOST] == 1 and floor.at_broker() == {}
    assert floor.held() == {}, "seen within seconds, not at the next comparison"
    floor.check()


@case(16, "fills during a short disconnect are never recovered")
def disconnected() -> None:
    floor = Floor()
    floor.arm(Fault.NO_FILL, "submit", seconds=2)
    floor.arm(Fault.STREAM_CUT, "fill", seconds=3)
    floor.signal()
    floor.wait_for(lambda: floor.faults.fired[Fault.STREAM_CUT], 30)
    assert floor.at_broker() == {DAY_CALL: FOUR} and not floor.held()
    floor.move(4)
    assert floor.held() == {DAY_CALL: FOUR}, "read again at the reconnect"
    assert [each["source"] for each in floor.executions()] == ["REST"]
    floor.move(30).check()


@case(17, "an order is sent while the order stream is down")
def deaf() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.STREAM_CUT, "update", seconds=200)
    floor.by_hand(symbol="AMD", qty="1", limit_price="50", position_intent=None)
    assert floor.faults.fired[Fault.STREAM_CUT] == 1 and floor.state.stream_healthy is False
    floor.signal("AMD", "BUY_STOCK")
    assert floor.proposals()[-1][0] == "REFUSED"
    assert "STREAM_DOWN" in [gate["reason"] for gate in floor.of("proposals")[-1]["gates"]]
    floor.close(DAY_CALL).move(30)
    assert floor.state.stream_healthy is False
    assert floor.sold() == FOUR, "closing goes on, by asking"
    floor.move(200)
    assert floor.state.stream_healthy is True
    floor.check()


@case(18, "a close is taken for an opening, as the entry's fill was not applied yet")
def close_before_its_entry() -> None:
    floor = Floor()
    floor.arm(Fault.UPDATE_LATE, "fill", seconds=90)
    floor.arm(Fault.LAGGING_ACTIVITIES, "activities", count=99, seconds=90)
    floor.signal("AMD", "BUY_STOCK")
    floor.wait_for(floor.at_broker)
    assert floor.at_broker() and not floor.held(), "the broker has it, we do not know yet"
    floor.signal("AMD", "SELL_STOCK", direction="BEAR")
    assert floor.proposals()[-1][0] == "REFUSED"
    assert "NO_LONG_TO_SELL" in [gate["reason"] for gate in floor.of("proposals")[-1]["gates"]]
    assert floor.faults.fired[Fault.UPDATE_LATE] == 1
    floor.move(120).signal("AMD", "SELL_STOCK", direction="BEAR")
    assert [each["intent"] for each in floor.closes()] == ["SELL_TO_CLOSE"]
    floor.wait_for(lambda: not floor.held() and not floor.state.parents)
    floor.check()


@case(19, "the broker's own ledger lags: the close is refused as uncovered")
def uncovered() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.REFUSE_UNCOVERED, "submit", count=2)
    floor.close(DAY_CALL)
    assert floor.position(DAY_CALL)["state"] == "CLOSING"
    at = floor.paper.now
    flat(floor)
    assert floor.faults.fired[Fault.REFUSE_UNCOVERED] == 2
    assert [each["state"] for each in floor.closes()[:2]] == ["REJECTED"] * 2
    assert floor.paper.now - at >= 2 * 5_000_000, "each retry waits"
    assert len(floor.of("exits")) == 1, "it is one decision"
    assert len({each["client_order_id"][7:] for each in floor.closes()}) == len(floor.closes())


@case(20, "a market close is filled and not seen; its retries are refused for the balance")
def unseen_market_close() -> None:
    floor = expiring(Floor(), 4)
    floor.arm(Fault.NO_FILL, "submit", count=3, seconds=600)
    floor.arm(Fault.GATEWAY_TIMEOUT_AFTER, "submit", skip=3)
    floor.arm(Fault.UPDATE_LOST, "update", count=3, skip=6)
    floor.arm(Fault.LAGGING_ACTIVITIES, "activities", count=2, seconds=10)
    floor.move(90)
    assert floor.faults.fired[Fault.GATEWAY_TIMEOUT_AFTER] == 1
    assert floor.faults.fired[Fault.LAGGING_ACTIVITIES] >= 1
    markets = [each for each in floor.closes() if each["limit_price"] is None]
    assert len(markets) == 1 and markets[0]["state"] == "FILLED", "nothing is sent while one may be filled"
    assert floor.held() == {}
    floor.check()

    floor = Floor()
    floor.opened()
    floor.arm(Fault.REFUSE_QTY, "submit")
    before = len([each for each in floor.of("account_inbox") if each["payload"][0].endswith("InboxBroker")])
    floor.close(DAY_CALL).move(1)
    after = len([each for each in floor.of("account_inbox") if each["payload"][0].endswith("InboxBroker")])
    assert after > before, "refused for the balance: perhaps closed already, so the positions are compared"
    flat(floor)


@case(21, "a market close is partly filled and waits for ever; the part is not recorded")
def partial_market_close() -> None:
    floor = expiring(Floor(), 4)
    floor.arm(Fault.NO_FILL, "submit", count=3, seconds=600)
    floor.arm(Fault.PARTIAL_FILL, "fill", seconds=1800)
    floor.wait_for(lambda: floor.faults.fired[Fault.PARTIAL_FILL], 60)
    left = floor.at_broker()
    assert 0 < left[TODAY_CALL] < FOUR and floor.held() == left, "the part is booked at once"
    floor.move(120)
    assert floor.held() == {}, "what remains gets a close of its own"
    assert floor.closes()[-1]["qty"] == left[TODAY_CALL]
    floor.check()


@case(22, "an entry is partly filled and the rest times out: exits are sized as if it were whole")
def undersized() -> None:
    floor = Floor()
    floor.arm(Fault.NO_FILL, "submit", seconds=8)
    floor.arm(Fault.CANCEL_PART_FILLED, "cancel")
    floor.arm(Fault.NO_FILL, "submit", count=2, seconds=60)
    floor.signal()
    floor.wait_for(lambda: floor.faults.fired[Fault.CANCEL_PART_FILLED] and not floor.state.parents, 60)
    got = floor.at_broker()[DAY_CALL]
    assert 0 < got < FOUR and floor.held() == {DAY_CALL: got}
    last = floor.orders()[-1]
    assert last["reason"] == "REPRICE_EXHAUSTED" and last["detail"] == f"UNDERSIZED: {got} of 4 filled"
    assert len(floor.proposals()) == 1, "more of it would be another decision"
    floor.close(DAY_CALL).wait_for(lambda: not floor.state.parents)
    assert floor.sold() == got and floor.closes()[0]["qty"] == got
    floor.check()


@case(23, "a partly filled stop is canceled, and the next one is sized wrong")
def parted_twice() -> None:
    floor = Floor()
    assert floor.opened("AMD", "BUY_STOCK") == "AMD"
    floor.arm(Fault.NO_FILL, "submit", count=3, seconds=60)
    floor.arm(Fault.CANCEL_PART_FILLED, "cancel", count=2)
    left = floor.held()["AMD"]
    floor.close("AMD").wait_for(lambda: not floor.state.parents, 200)
    assert floor.faults.fired[Fault.CANCEL_PART_FILLED] == 2
    for each in floor.closes():
        assert each["qty"] == left, "what remains is the fold of the executions"
        left -= each["filled_qty"]
    assert left == 0 and floor.held() == {}
    floor.check()


@case(25, "a cancel succeeds and its answer is malformed: the trade is never removed")
def malformed_cancel() -> None:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", seconds=60)
    floor.arm(Fault.MALFORMED_AFTER, "cancel")
    floor.arm(Fault.UPDATE_LOST, "canceled")
    floor.close(DAY_CALL)
    flat(floor)
    assert floor.faults.fired[Fault.MALFORMED_AFTER] == 1
    first = floor.states(floor.closes()[0]["client_order_id"])
    assert first[-3:] == ["CANCEL_PENDING", "UNKNOWN", "CANCELED"], "in doubt, asked about, and done"
