"""A stage more, and two that join it where it is there: the sim with crashes and the rebuild agree.

The input is present, absent all day, or absent for a while; what comes late waits for a minute that has it.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.contract import MINUTE_US
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.identity import event_id
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import opening_wires
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.sim.tapes import CONFIG, SOURCES, small_tape

MINUTES = 40
AWAY = range(15, 25)
"""The minutes, by number, in which the input is absent for a while."""
SCENARIOS = {"present": range(0), "absent all day": range(MINUTES + 1), "absent for a while": AWAY}
SEEDS = range(3)
SYMBOL = "NVDA"


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterator[None]:
    with CATALOGUE.scratch():
        yield


@cache
def topology() -> Topology:
    from tests.toy.topology import TOPOLOGY

    return TOPOLOGY


def log_of(away: range) -> MemoryLog:
    """The tape with a note a minute about each symbol. In ``away`` moods are declared absent."""
    topology()
    tape, log = small_tape(), MemoryLog(Layout())
    writer = log.writer()
    minutes = tape.minutes[60 : 60 + MINUTES]
    first = minutes[0].label - MINUTE_US
    writer.send("universe", tape.universe)
    labels = [first, *(minute.label for minute in minutes)]
    for number, label in enumerate(labels):
        for name in SOURCES:
            for bar in minutes[number - 1].bars if number and name == "bars" else ():
                writer.send("bars", bar)
            writer.watermark(name, label)
            for wire in opening_wires(
                name, label, ("toy_moods",) if number in away else (), range(log.layout.partitions(name))
            ):
                log.append(wire)
        if number == 0:
            for bar in tape.history:
                writer.send("bars", bar)
    silent = len(away) > MINUTES
    for number, label in enumerate(() if silent else labels):
        for symbol in tape.symbols if number else ():
            writer.send("toy_notes", note(symbol, label))
        writer.watermark("toy_notes", label)
    return log


def note(symbol: str, t: int) -> dict[str, Any]:
    return {
        "event_id": event_id("toy_notes", (symbol, t)),
        "event_time": t + MINUTE_US,
        "symbol": symbol,
        "t": t,
        "good": (t // MINUTE_US) % 7 / 7,
    }


def digests(log: MemoryLog, tasks: list[SimTask]) -> dict[str, str]:
    """Of every output and table."""
    found = {
        name: of_messages(name, log.messages(name)).hexdigest()
        for spec in topology().market
        for name in spec.outputs
    }
    for spec in topology().market:
        mine = [task for task in tasks if task.spec.name == spec.name]
        found[f"{spec.name} state"] = of_state({k: v for task in mine for k, v in task.disk.items()})
    return found


@cache
def clean(scenario: str) -> tuple[MemoryLog, dict[str, str]]:
    log = log_of(SCENARIOS[scenario])
    tasks = market_tasks(topology(), log, CONFIG, xnys())
    drain(tasks)
    return log, digests(log, tasks)


def heard(log: MemoryLog) -> dict[int, int]:
    """How many notes each decision of the symbol knew, by the number of its minute."""
    first = small_tape().minutes[60].label
    bodies = [decode("decisions", m.value) for m in log.messages("decisions") if m.value is not None]
    return {
        (body["bar_t"] - first) // MINUTE_US + 1: body["sentiment_n"]
        for body in bodies
        if body["symbol"] == SYMBOL and body["bar_t"] >= first
    }


def test_a_minute_knows_the_notes_up_to_its_start_but_not_those_of_an_absent_input() -> None:
    """The bar of minute k is decided on the notes of the minutes up to k - 1."""
    assert heard(clean("present")[0]) == {k: k - 1 for k in range(1, MINUTES + 1)}
    assert set(heard(clean("absent all day")[0]).values()) == {0}
    known = heard(clean("absent for a while")[0])
    assert known == {k: (AWAY.start if k - 1 in AWAY else k) - 1 for k in range(1, MINUTES + 1)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rebuild_gives_what_the_sim_left(scenario: str) -> None:
    log, expected = clean(scenario)
    source = MemorySource(log.layout, (m for each in CATALOGUE for m in log.messages(each.name)), size=97)
    found: dict[str, str] = {}
    for spec in topology().market:
        rebuilt = rebuild_stage(spec, source, CONFIG, xnys()).digests()
        found |= {name if name in spec.outputs else f"{spec.name} state": d for name, d in rebuilt.items()}
    assert found == expected


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_crashes_between_any_two_effects_leave_the_same(scenario: str) -> None:
    crashes = 0
    for seed in SEEDS:
        log = log_of(SCENARIOS[scenario])
        tasks = market_tasks(topology(), log, CONFIG, xnys())
        crashes += run_schedule(tasks, seed, crash_share=0.2).crashes
        drain(tasks)
        assert digests(log, tasks) == clean(scenario)[1], seed
    assert crashes > len(SEEDS)


def test_the_scenarios_differ() -> None:
    assert len({clean(scenario)[1]["decisions"] for scenario in SCENARIOS}) == len(SCENARIOS)
    assert len({clean(scenario)[1]["scores"] for scenario in SCENARIOS}) == len(SCENARIOS)
