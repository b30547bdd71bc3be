"""Dispatcher, account stage and paper exchange: a signal becomes a filled position, and survives doubt."""

from decimal import Decimal as D
from typing import Any

import pytest

from connectors.clock import ManualClock
from connectors.dispatch.dispatcher import Dispatcher
from connectors.dispatch.inbox import Newest
from connectors.dispatch.lease import Lease, MemoryLeases
from connectors.paper.faults import Fault
from connectors.paper.inprocess import InProcessBroker
from schemas.codec import decode, encode
from streams.config.document import Config
from streams.config.examples import example_account
from streams.contract import REQUESTS, Row
from streams.sessions import xnys
from streams.stages.account import AccountStage
from tests.paper import LARGE, MINUTE, SECOND, TEN, TinyMarket, exchange

URL = "http://127.0.0.1:8765"
SWING = "NVDA260306C00150000"
SIGNAL = {
    "event_id": "e1", "signal_id": "sg_1", "symbol": "NVDA", "action": "BUY_CALL",
    "strategy": "swing_trade", "reason": "OPTION_SWING_TRADE", "direction": "BULL", "confidence": 0.7,
    "bar_t": TEN - MINUTE, "as_of": TEN, "close": 150.0, "universe_version": 1,
}  # fmt: skip
ACTIVE = {"event_id": "c1", "scope": "*", "seq": 1, "state": "ACTIVE", "person": "ops", "reason": "up"}


class Shell:
    """The smallest shell: append, fold, perform, append the answers; waits are skipped."""

    def __init__(self) -> None:
        market = TinyMarket()
        market.price(SWING, "4.95", "5.05")
        account = example_account("large", "large", URL)
        self.clock = ManualClock(TEN)
        self.paper = exchange(market)
        self.broker = InProcessBroker(self.paper, LARGE.number, URL)
        lease = Lease(MemoryLeases(), "large", "test")
        epoch = lease.acquire()
        self.desk = Dispatcher(Config(), account, self.broker, self.clock, lease=lease, calendar=xnys())
        self.stage = AccountStage(Config(), account, xnys())
        self.state: bytes | None = None
        self.out: dict[str, list[dict[str, Any]]] = {}
        self.waiting: list[dict[str, Any]] = []
        self.broker.updates(lambda update: self.waiting.extend(self.desk.on_trade_update(update)))
        self.append(
            [self.desk.started(epoch), self.desk.control(ACTIVE), self.desk.stream(True, "connection 1")]
        )

    def append(self, bodies: list[dict[str, Any]]) -> None:
        todo = list(bodies)
        while todo:
            body = decode("account_inbox", encode("account_inbox", todo.pop(0)))
            row = Row("account_inbox", b"large", body, body["event_time"], body["event_time"])
            step = self.stage.step(b"large", self.state, [row])
            self.state = step.state
            for out in step.outs:
                if out.topic == REQUESTS:
                    todo += self.desk.perform(out.body)
                else:
                    encode(out.topic, out.body)
                    self.out.setdefault(out.topic, []).append(out.body)
            todo += self.waiting
            self.waiting.clear()

    def move(self, seconds: int) -> None:
        self.clock.set(self.clock.now() + seconds * SECOND)
        self.paper.advance(self.clock.now())
        self.append([self.desk.tick()])

    def states(self) -> list[str]:
        return [order["state"] for order in self.out.get("orders", [])]


def _signal(shell: Shell) -> None:
    newest = {"NVDA": Newest(TEN - MINUTE, TEN - MINUTE)}
    shell.append(shell.desk.collect([SIGNAL], newest))


def test_signal_becomes_a_filled_position_that_agrees_with_the_broker() -> None:
    shell = Shell()
    _signal(shell)
    (proposal,) = shell.out["proposals"]
    assert proposal["verdict"] == "APPROVED", proposal
    shell.move(600)
    assert shell.states()[0] == "INTENT"
    assert shell.states()[-1] == "FILLED"
    bought = sum((each["qty"] for each in shell.out["executions"]), D(0))
    (held,) = shell.broker.positions()
    assert (held.instrument, held.qty) == (SWING, bought)
    assert shell.out["positions"][-1]["qty"] == bought


def test_redelivered_signal_makes_no_second_order() -> None:
    shell = Shell()
    _signal(shell)
    _signal(shell)
    assert len(shell.out["proposals"]) == 1
    assert len(shell.paper.orders(LARGE.number, "all")) == 1


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_AFTER])
def test_order_whose_answer_was_lost_is_found_by_its_id_and_filled_once(fault: Fault) -> None:
    shell = Shell()
    shell.paper.faults.arm(fault, operation="submit")
    shell.paper.faults.arm(Fault.UPDATE_LOST, count=1)
    _signal(shell)
    shell.move(600)
    assert shell.paper.faults.fired[fault] == shell.paper.faults.fired[Fault.UPDATE_LOST] == 1
    assert "UNKNOWN" in shell.states()
    assert shell.states()[-1] == "FILLED"
    assert len(shell.paper.orders(LARGE.number, "all")) == 1


def test_order_that_never_reached_the_broker_ends_not_sent() -> None:
    shell = Shell()
    shell.paper.faults.arm(Fault.DROP_BEFORE, operation="submit")
    _signal(shell)
    assert shell.states() == ["INTENT", "UNKNOWN", "NOT_SENT"]
    assert shell.paper.orders(LARGE.number, "all") == []


def test_refused_order_is_rejected_and_frees_its_reservation() -> None:
    shell = Shell()
    shell.paper.faults.arm(Fault.REJECT)
    _signal(shell)
    assert shell.states()[-1] == "REJECTED"
    assert shell.out.get("executions") is None


@pytest.mark.parametrize("fault", [Fault.UPDATE_TWICE, Fault.UPDATE_AFTER_NEXT])
def test_disordered_stream_ends_in_the_same_position(fault: Fault) -> None:
    plain, shell = Shell(), Shell()
    shell.paper.faults.arm(fault, count=2)
    for each in (plain, shell):
        _signal(each)
        each.move(600)
    assert shell.paper.faults.fired[fault] >= 1
    assert shell.states()[-1] == plain.states()[-1] == "FILLED"
    assert shell.out["positions"][-1]["qty"] == plain.out["positions"][-1]["qty"]
