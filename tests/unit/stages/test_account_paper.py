"""The account stage, the dispatcher's core and the paper exchange together, in one process."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.connectors.dispatch.lease import Lease, MemoryLeases
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.protocol import REQUESTS, Row
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.stage import AccountStage
from tests.support.account import check_schemas
from tests.support.paper import LARGE, MINUTE, SECOND, TEN, TODAY_CALL, TinyMarket, exchange

URL = "http://127.0.0.1:8765"
ACCOUNT = example_account("large", "large", URL)
CONFIG = Config(accounts=(ACCOUNT,))


class Floor:
    """Appends to an inbox, folds it, and performs what the stage asks, at the time it asks for."""

    def __init__(self) -> None:
        self.market = TinyMarket()
        self.market.price(TODAY_CALL, "1.98", "2.02")
        self.paper = exchange(self.market)
        self.clock = ManualClock(TEN)
        lease = Lease(MemoryLeases(lambda: 0.0), "large", "test", monotonic=lambda: 0.0)
        lease.acquire()
        broker = InProcessBroker(self.paper, LARGE.number, URL)
        self.desk = Dispatcher(CONFIG, ACCOUNT, broker, self.clock, lease=lease, calendar=xnys())
        broker.updates(lambda update: self.heard.extend(self.desk.on_trade_update(update)))
        self.stage = AccountStage(CONFIG, ACCOUNT, xnys())
        self.state: bytes | None = None
        self.heard: list[dict[str, Any]] = []
        self.rows: list[Row] = []
        self.outs: list[Any] = []

    def start(self) -> None:
        control = {"event_id": "c", "scope": "*", "state": "ACTIVE", "person": "tape up", "reason": "start"}
        self.feed(self.desk.started(1), self.desk.stream(True, "1"), self.desk.control(control))

    def feed(self, *bodies: dict[str, Any]) -> None:
        """Fold records one by one; then the answers they lead to, and what the stream says meanwhile."""
        waiting = list(bodies)
        while waiting:
            body = decode("account_inbox", encode("account_inbox", waiting.pop(0)))
            row = Row("account_inbox", b"large", body, 0, body["event_time"])
            self.rows.append(row)
            step = self.stage.step(b"large", self.state, [row])
            self.state = step.state
            self.outs += step.outs
            check_schemas(step.outs)
            for out in step.outs:
                if out.topic == REQUESTS:
                    self.move(self.desk.delay_s(out.body))
                    waiting += self.desk.perform(out.body)
            waiting += self.heard
            self.heard = []

    def signal(self, action: str = "BUY_CALL", name: str = "sg_1") -> None:
        bar_t = self.clock.now() // MINUTE * MINUTE - MINUTE
        signal = {
            "event_id": f"e-{name}", "signal_id": name, "symbol": "NVDA", "action": action,
            "strategy": "day_trade", "reason": "x", "direction": "BULL", "confidence": 0.8,
            "bar_t": bar_t, "as_of": bar_t + MINUTE, "close": 150.0, "universe_version": 1,
        }  # fmt: skip
        self.feed(*self.desk.collect([signal], {"NVDA": Newest(bar_t, bar_t)}))

    def move(self, seconds: int) -> None:
        self.clock.set(self.clock.now() + seconds * SECOND)
        self.paper.advance(self.clock.now())

    def wait(self, seconds: int) -> None:
        self.move(seconds)
        self.feed(*self.desk.ticks())

    def of(self, name: str) -> list[dict[str, Any]]:
        return [out.body for out in self.outs if out.topic == name]

    def states(self) -> list[str]:
        return [order["state"] for order in self.of("orders")]

    def at_broker(self) -> dict[str, D]:
        return {at["symbol"]: D(at["qty"]) for at in self.paper.positions(LARGE.number)}

    def held(self) -> dict[str, D]:
        newest = {position["instrument"]: position["qty"] for position in self.of("positions")}
        return {instrument: qty for instrument, qty in newest.items() if qty}


@pytest.fixture
def floor() -> Floor:
    trading = Floor()
    trading.start()
    return trading


def test_an_option_order_fills_when_the_market_comes_and_both_sides_agree(floor: Floor) -> None:
    floor.signal()
    assert [p["primary_reason"] for p in floor.of("proposals")] == ["OK"]
    assert floor.states() == ["INTENT", "SUBMITTED", "ACCEPTED"]
    floor.market.price(TODAY_CALL, "1.90", "1.98")
    floor.wait(61)
    assert floor.states()[-1] == "FILLED"
    assert floor.held() == floor.at_broker() == {TODAY_CALL: D(4)}


def test_a_stock_is_bought_and_sold_again(floor: Floor) -> None:
    floor.signal("BUY_STOCK")
    floor.market.price("NVDA", "149.90", "149.95")
    floor.wait(61)
    assert floor.held() == floor.at_broker() == {"NVDA": D(166)}
    floor.wait(60)
    floor.signal("SELL_STOCK", "sg_2")
    floor.market.price("NVDA", "150.10", "150.15")
    floor.wait(61)
    assert floor.held() == floor.at_broker() == {}
    assert floor.of("positions")[-1]["state"] == "CLOSED"


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_AFTER])
def test_an_order_accepted_behind_an_error_is_found_and_not_sent_again(floor: Floor, fault: Fault) -> None:
    floor.paper.faults.arm(fault, operation="submit")
    floor.signal()
    assert floor.paper.faults.fired[fault] == 1
    assert "UNKNOWN" in floor.states()
    floor.market.price(TODAY_CALL, "1.90", "1.98")
    floor.wait(61)
    assert floor.states()[-1] == "FILLED"
    assert len(floor.paper.orders(LARGE.number, "all")) == 1
    assert floor.held() == floor.at_broker() == {TODAY_CALL: D(4)}


def test_an_order_that_never_arrived_ends_in_not_sent_after_four_questions(floor: Floor) -> None:
    floor.paper.faults.arm(Fault.GATEWAY_TIMEOUT_BEFORE, operation="submit")
    before = floor.clock.now()
    floor.signal()
    assert floor.states() == ["INTENT", "UNKNOWN", "NOT_SENT"]
    assert floor.clock.now() - before == 30 * SECOND
    assert floor.paper.orders(LARGE.number, "all") == []
    assert floor.held() == {}


def test_a_refused_order_leaves_nothing(floor: Floor) -> None:
    floor.paper.faults.arm(Fault.REJECT, operation="submit")
    floor.signal()
    assert (floor.states()[0], floor.states()[-1]) == ("INTENT", "REJECTED")
    assert not floor.of("executions")


def test_fills_that_the_stream_lost_or_repeated_are_folded_once(floor: Floor) -> None:
    floor.paper.faults.arm(Fault.UPDATE_TWICE, count=2)
    floor.paper.faults.arm(Fault.UPDATE_LOST, count=3)
    floor.signal()
    floor.market.price(TODAY_CALL, "1.90", "1.98")
    floor.wait(61)
    floor.feed(floor.desk.started(2), floor.desk.stream(True, "2"))
    assert floor.states()[-1] == "FILLED"
    assert floor.held() == floor.at_broker() == {TODAY_CALL: D(4)}


def test_the_recorded_inbox_gives_the_same_outputs_and_state_again(floor: Floor) -> None:
    floor.paper.faults.arm(Fault.GATEWAY_TIMEOUT_AFTER, operation="submit")
    floor.signal()
    floor.market.price(TODAY_CALL, "1.90", "1.98")
    floor.wait(61)
    step = AccountStage(CONFIG, ACCOUNT, xnys()).step(b"large", None, floor.rows)
    assert [out[1:] for out in step.outs] == [out[1:] for out in floor.outs]
    assert step.state == floor.state
