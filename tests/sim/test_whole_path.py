"""A tape through every stage to filled orders, in memory; and the account stage again from its inbox."""

import json
import os
import subprocess
import sys

import pytest

from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.sim.simulation import Simulation
from tests.support.cases import REPOSITORY, few
from tests.support.paths import (
    ACCOUNTS,
    CONFIG,
    INBOX,
    OUTPUTS,
    UNTIL,
    account_task,
    at_broker,
    bodies,
    copied,
    cut,
    held,
    inbox_of,
    morning,
    whole_day,
)
from tests.support.sim_tapes import run_clean, small_tape
from tests.support.whatifs import SOURCES


def account_digests(simulation: Simulation) -> dict[str, str]:
    wanted = (*OUTPUTS, *(f"{account} state" for account in ACCOUNTS))
    return {name: digest for name, digest in simulation.digests().items() if name in wanted}


def test_the_synthetic_day_fills_an_option_order_in_each_tier_and_a_stock_order() -> None:
    day = whole_day()
    filled = [order for order in bodies(day.log, "orders") if order["state"] == "FILLED"]
    options = {order["account_id"] for order in filled if order["instrument"] != order["underlying"]}
    assert options == set(ACCOUNTS)
    assert [order for order in filled if order["instrument"] == order["underlying"]]
    for account in ACCOUNTS:
        assert held(day.log, account) == at_broker(day, account) == {}, "the day ends flat"


def test_every_signal_reaches_every_account_and_ends_in_one_proposal() -> None:
    log = whole_day().log
    signals = {signal["signal_id"] for signal in bodies(log, "signals")}
    assert signals
    for account in ACCOUNTS:
        proposed = [p["signal_id"] for p in bodies(log, "proposals") if p["account_id"] == account]
        assert sorted(proposed) == sorted(signals)


def test_no_topic_holds_one_event_id_with_two_bodies_and_nothing_is_a_dead_letter() -> None:
    day = whole_day()
    for name in (
        "bars",
        INBOX,
        *OUTPUTS,
        *(each for spec in TOPOLOGY.market for each in spec.outputs),
    ):
        assert not day.outputs(name).conflicts, name
    assert list(day.log.messages("dead_letters")) == []


def test_the_minute_by_minute_run_gives_what_one_run_over_the_whole_log_gives() -> None:
    run = morning()
    again = copied(run.log, *SOURCES)
    run_clean(again, CONFIG)
    for name in (name for spec in TOPOLOGY.market for name in spec.outputs):
        assert of_messages(name, again.messages(name)).hexdigest() == run.outputs(name).hexdigest(), name


@pytest.mark.long
def test_one_seed_gives_one_run_whatever_the_order_of_hashes() -> None:
    """``tape sim`` in two processes with different hash seeds: equal digests of everything."""
    command = [sys.executable, "-m", "tapedeck", "sim", "--minutes", "115", "--json"]
    runs = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": seed}, stdout=subprocess.PIPE
        )
        for seed in ("1", "2")
    ]
    first, second = (json.loads(run.communicate(timeout=240)[0]) for run in runs)
    assert first == second
    assert first["topics"]["executions"]["records"] > 0
    assert first["digests"]["executions"] != first["digests"]["signals"]


def test_another_seed_of_the_exchange_fills_otherwise_but_decides_the_same() -> None:
    other = Simulation(TOPOLOGY, cut(small_tape(), slice(UNTIL)), CONFIG, seed=5).play().rest(2)
    ours, theirs = morning().digests(), other.digests()
    assert ours["executions"] != theirs["executions"]
    assert ours["signals"] == theirs["signals"]


@pytest.mark.parametrize("poll", [1, 7, 1000])
def test_the_recorded_inbox_gives_the_same_account_again_in_any_batch_size(poll: int) -> None:
    run = morning()
    log = copied(run.log, INBOX)
    tasks = {account: account_task(log, account) for account in ACCOUNTS}
    drain(list(tasks.values()), poll)
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in OUTPUTS}
    found |= {f"{account} state": of_state(dict(task.disk.items())) for account, task in tasks.items()}
    assert found == account_digests(run)


@pytest.mark.parametrize("seed", few(range(12), 2))
def test_crashes_of_the_account_stage_leave_the_digests_of_the_recorded_run(seed: int) -> None:
    run = morning()
    log = copied(run.log, INBOX)
    tasks = {account: account_task(log, account) for account in ACCOUNTS}
    faults = run_schedule(list(tasks.values()), seed, crash_share=0.9)
    assert faults.crashes > 0
    found = {name: of_messages(name, log.messages(name)) for name in OUTPUTS}
    assert not any(digest.conflicts for digest in found.values())
    states = {f"{account} state": of_state(dict(task.disk.items())) for account, task in tasks.items()}
    digests = {name: digest.hexdigest() for name, digest in found.items()}
    assert digests | states == account_digests(run)


def test_an_inbox_holds_what_happened_in_the_order_of_its_time() -> None:
    for account in ACCOUNTS:
        times = [message.timestamp for message in inbox_of(morning().log, account)]
        assert times == sorted(times)
