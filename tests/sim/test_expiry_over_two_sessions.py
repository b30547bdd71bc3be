"""Contracts held over their expiry, in memory: the account ends as the broker does, and says why."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.dispatch.lease import MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.dispatch.steps import IDENTITY_US
from tapedeck.connectors.paper.expiry import Listed
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import watermark_wires
from tapedeck.topics.catalogue import Layout
from tests.support.paper import CALL, CLOSE, TEN, TODAY_CALL, TinyMarket, exchange, order
from tests.support.paths import CONFIG, INBOX, OUTPUTS, account_task, bodies, copied, held

ACCOUNT = "large"
NUMBER = CONFIG.account(ACCOUNT).broker_account_id
PUT_TODAY = "NVDA260217P00150000"
NEXT_OPEN = CLOSE + 17 * 60 * MINUTE_US + 30 * MINUTE_US


class Days:
    """One account's dispatcher beside an exchange, from minute to minute."""

    def __init__(self, listed: Listed) -> None:
        self.market = TinyMarket()
        self.market.price(PUT_TODAY, "1.00", "1.10")
        self.paper = exchange(self.market, listed=listed)
        self.log = MemoryLog(Layout())
        write_control(
            self.log.writer(),
            control(EVERY_ACCOUNT, KillState.ACTIVE, person="sim", reason="start", now=TEN),
        )
        self.dispatcher = SimDispatcher(
            self.log, CONFIG, TOPOLOGY, ACCOUNT, self.paper, calendar=xnys(),
            leases=MemoryLeases(lambda: self.paper.now / 1e6),
        )  # fmt: skip
        self.dispatcher.work()

    def until(self, when: int) -> None:
        """A minute of ``signals`` ends at ``when``: longer ago than the last comparison with the broker."""
        self.paper.advance(when)
        for wire in watermark_wires("signals", when // MINUTE_US * MINUTE_US - MINUTE_US, range(4)):
            self.log.append(wire)
        self.dispatcher.work()

    def buy(self, symbol: str, limit: str) -> None:
        self.paper.submit(NUMBER, order(f"by-hand-{symbol}", symbol=symbol, limit_price=limit))
        self.dispatcher.work()

    def at_broker(self) -> dict[str, D]:
        return {each["symbol"]: D(each["qty"]) for each in self.paper.positions(NUMBER)}

    def newest(self, instrument: str) -> dict[str, Any]:
        return [each for each in bodies(self.log, "positions") if each["instrument"] == instrument][-1]


@pytest.mark.parametrize("listed", Listed)
@pytest.mark.parametrize("killed", [False, True])
def test_contracts_that_expire_in_and_out_of_the_money_end_as_at_the_broker(
    listed: Listed, killed: bool
) -> None:
    days = Days(listed)
    for symbol, limit in ((TODAY_CALL, "1.10"), (PUT_TODAY, "1.10"), (CALL, "2.10")):
        days.buy(symbol, limit)
    assert held(days.log, ACCOUNT) == days.at_broker()
    days.market.price("NVDA", "150.99", "151.01")

    days.until(CLOSE + IDENTITY_US + 2 * MINUTE_US)
    assert days.at_broker() == {"NVDA": 200, CALL: 2}
    late = listed is Listed.NEXT_SESSION
    for symbol in (TODAY_CALL, PUT_TODAY):
        assert days.newest(symbol)["state"] == ("CLOSING" if late else "CLOSED")
    if killed:
        days.dispatcher.restart(empty_disk=True)

    days.until(NEXT_OPEN + IDENTITY_US)
    days.until(NEXT_OPEN + 3 * IDENTITY_US)
    assert held(days.log, ACCOUNT) == days.at_broker() == {}, "the next session closed what was left"
    assert (
        days.newest("NVDA")["exit_reason"] == "MAX_HOLD" and days.newest(CALL)["exit_reason"] == "THETA_DECAY"
    )
    assert days.dispatcher.starts == 1 + killed
    for symbol in (TODAY_CALL, PUT_TODAY):
        ended = days.newest(symbol)
        assert (ended["state"], ended["realised"]) == ("CLOSED", D("-1.10") * 2 * 100)
    shares = next(each for each in bodies(days.log, "positions") if each["instrument"] == "NVDA")
    assert (shares["average_cost"], shares["owner"], shares["state"]) == (150, "EXTERNAL", "OPEN")
    ended = [each for each in bodies(days.log, "executions") if each["source"] == "ACTIVITY"]
    assert len({each["execution_id"] for each in ended}) == len(ended) == 3
    assert not any(of_messages(name, days.log.messages(name)).conflicts for name in OUTPUTS)
    check_rebuilt(days)


def check_rebuilt(days: Days) -> None:
    """The recorded inbox alone gives the same outputs and the same state."""
    log = copied(days.log, INBOX)
    task = account_task(log, ACCOUNT)
    drain([task])
    for name in OUTPUTS:
        mine = of_messages(name, days.log.messages(name)).hexdigest()
        assert of_messages(name, log.messages(name)).hexdigest() == mine, name
    assert of_state(dict(task.disk.items())) == of_state(dict(days.dispatcher.task.disk.items()))
