"""A dispatcher that dies at any effect and starts again never sends twice, and ends as the broker does."""

from collections import Counter
from typing import Any

import pytest

from tapedeck.connectors.alpaca.market.steps import Kind, market_event
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.faults import Faults as PaperFaults
from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sim.crash import Fuse
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.account.rules.orders import IN_DOUBT, TERMINAL, OrderState
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.sim.simulation import Chaos, Simulation
from tests.support.cases import few
from tests.support.paths import (
    ACCOUNTS,
    CONFIG,
    INBOX,
    ORDERED_AT,
    OUTPUTS,
    UNTIL,
    account_task,
    at_broker,
    bodies,
    by_minute,
    copied,
    cut,
    held,
    morning,
)
from tests.support.sim_tapes import small_tape

AROUND = (slice(104, 116), slice(146, UNTIL))
BROKEN = (
    Fault.GATEWAY_TIMEOUT_AFTER,
    Fault.GATEWAY_TIMEOUT_BEFORE,
    Fault.DROP_AFTER,
    Fault.RATE_LIMIT,
    Fault.UPDATE_LOST,
    Fault.UPDATE_TWICE,
    Fault.UPDATE_AFTER_NEXT,
)


class Replayed(Simulation):
    """The dispatchers of a run over the signals that the stages once gave: the minutes around the orders."""

    def __init__(self, *windows: slice, **options: Any) -> None:
        super().__init__(TOPOLOGY, cut(small_tape(), *(windows or AROUND)), CONFIG, **options)
        self._recorded = {name: by_minute(morning().log, name) for name in ("features", "signals")}

    def _run_stages(self) -> None:
        """What they gave is recorded."""

    def _follow(self, label: int) -> None:
        for minutes in self._recorded.values():
            for record in minutes[label]:
                self.log.append(record)
        for dispatcher in self.dispatchers:
            self._work(dispatcher)

    def newest(self, name: str) -> dict[str, dict[str, Any]]:
        """The newest state of each order or position."""
        key = {"orders": "client_order_id", "positions": "instrument"}[name]
        return {f"{body['account_id']}|{body[key]}": body for body in bodies(self.log, name)}


def check(run: Replayed) -> None:
    """What holds whatever has happened."""
    for account in ACCOUNTS:
        number = CONFIG.account(account).broker_account_id
        sent = [order["client_order_id"] for order in run.exchange.orders(number, "all")]
        mine = [order for order in run.newest("orders").values() if order["account_id"] == account]
        approved = {p["signal_id"]: p for p in bodies(run.log, "proposals") if p["account_id"] == account}
        filled: Counter[str] = Counter()
        for order in mine:
            filled[order["signal_id"]] += order["filled_qty"]
        assert all(qty <= approved[signal]["quantity"] for signal, qty in filled.items() if signal)
        steps = Counter((order["signal_id"], order["position_id"], order["attempt"]) for order in mine)
        assert set(steps.values()) <= {1}, "two orders for one step of a signal"
        assert len(sent) == len(set(sent))
        assert set(sent) <= {order["client_order_id"] for order in mine}, "sent without an INTENT"
        assert held(run.log, account) == at_broker(run, account)
    states = {OrderState(order["state"]) for order in run.newest("orders").values()}
    assert not states & (IN_DOUBT | {OrderState.INTENT})
    assert not any(run.outputs(name).conflicts for name in OUTPUTS)
    assert not of_messages(INBOX, run.log.messages(INBOX)).conflicts, "a fact heard again was written again"


def check_replay(run: Replayed) -> None:
    """The recorded inbox alone gives the same outputs and states."""
    log = copied(run.log, INBOX)
    tasks = [account_task(log, account) for account in ACCOUNTS]
    drain(tasks)
    for name in OUTPUTS:
        assert of_messages(name, log.messages(name)).hexdigest() == run.outputs(name).hexdigest(), name
    for dispatcher, task in zip(run.dispatchers, tasks, strict=True):
        assert of_state(dict(task.disk.items())) == of_state(dict(dispatcher.task.disk.items()))


def test_the_clean_run_fills_three_orders_one_of_them_at_its_last_step() -> None:
    run = Replayed().play().rest(3)
    sent = [order for a in CONFIG.accounts for order in run.exchange.orders(a.broker_account_id, "all")]
    filled = [order["client_order_id"][:8] for order in sent if order["status"] == "filled"]
    assert (len(sent), sorted(filled)) == (6, ["td1-o00-", "td1-o01-", "td1-o02-"])
    assert all(OrderState(order["state"]) in TERMINAL for order in run.newest("orders").values())
    check(run)


@pytest.mark.parametrize("seed", few(range(25), 4))
def test_crashes_anywhere_never_send_twice_and_end_as_the_broker_does(seed: int) -> None:
    chaos = Chaos(seed)
    run = Replayed(chaos=chaos).play().rest(3)
    assert chaos.dispatch.crashes > 3
    assert all(dispatcher.starts > 1 for dispatcher in run.dispatchers)
    check(run)
    check_replay(run)


class Halted(Replayed):
    """A run in which trading of ``symbol`` is halted in the minute ``label``."""

    def __init__(self, symbol: str, label: int, **options: Any) -> None:
        super().__init__(**options)
        self._halt = market_event(Kind.HALTED, symbol, CONFIG.bars.feed, event_time=label + MINUTE_US // 2)
        self._label = label

    def _follow(self, label: int) -> None:
        if label == self._label:
            self.log.writer().send(*self._halt)
        super()._follow(label)


def test_FLD_D14_a_halt_on_the_log_refuses_the_opening_of_that_minute_whatever_crashes() -> None:
    clean = bodies(Replayed().play().rest(3).log, "proposals")
    approved = (each for each in clean if each["verdict"] == "APPROVED")
    first = min(approved, key=lambda each: each["bar_t"])
    place = first["symbol"], first["bar_t"]
    for chaos in (None, Chaos(1)):
        run = Halted(*place, chaos=chaos).play().rest(3)
        there = [p for p in bodies(run.log, "proposals") if (p["symbol"], p["bar_t"]) == place]
        assert {each["primary_reason"] for each in there} == {"HALTED"}
        told = [each for each in bodies(run.log, INBOX) if each["payload"][0].endswith("InboxHalt")]
        assert {each["account_id"] for each in told} == set(ACCOUNTS)
        check(run)
        check_replay(run)


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("seed", few(range(3), 1))
def test_a_broker_that_fails_while_dispatchers_crash_gets_each_order_once(seed: int, fault: Fault) -> None:
    faults, chaos = PaperFaults(), Chaos(seed)
    operation = "update" if fault.name.startswith("UPDATE") else "submit"
    faults.arm(fault, operation=operation, count=2)
    run = Replayed(chaos=chaos, faults=faults).play().rest(3)
    assert faults.fired[fault] > 0
    assert chaos.dispatch.crashes > 3
    check(run)
    check_replay(run)


class OneCrash(Chaos):
    """Kills one dispatcher once: ``effect`` effects after the minute of its first order begins."""

    def __init__(self, account: str, effect: int) -> None:
        super().__init__(effect)
        self._account, self._effect = account, effect
        self.armed = False

    def arm(self, process: SimDispatcher | SimScorer) -> None:
        if self.armed or not isinstance(process, SimDispatcher) or process.account_id != self._account:
            return
        if process.now >= small_tape().minutes[ORDERED_AT].label + MINUTE_US:
            process.fuse, self.armed = Fuse(self._effect), True


@pytest.mark.parametrize("account, every", few([(ACCOUNTS[0], 5), *((each, 1) for each in ACCOUNTS)], 1))
def test_a_crash_at_every_single_effect_around_an_order_is_survived(account: str, every: int) -> None:
    """Not drawn by chance: the n-th effect, for each n until the fuse outlives the run, or every fifth."""
    died = 0
    for effect in range(0, 500, every):
        chaos = OneCrash(account, effect)
        run = Replayed(slice(ORDERED_AT - 1, ORDERED_AT + 3), chaos=chaos).play().rest(3)
        check(run)
        if not chaos.dispatch.crashes:
            break
        died += 1
    assert 40 < died * every < 500
