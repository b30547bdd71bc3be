"""A stage more, and two that join it where it is there: the sim with crashes and the rebuild agree.

The input is present, absent all day, or absent for a while; what comes late waits for a minute that has it.
"""

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import drain, market_tasks
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.cases import few
from tests.support.sim_tapes import CONFIG
from tests.support.toy_days import AWAY, MINUTES, SCENARIOS, clean, digests, first_label, log_of

SEEDS = range(3)
SYMBOL = "NVDA"
Days = dict[str, tuple[MemoryLog, dict[str, str]]]


@pytest.fixture(scope="module")
def days(toys: Topology) -> Days:
    return {scenario: clean(toys, scenario) for scenario in SCENARIOS}


def heard(log: MemoryLog) -> dict[int, int]:
    """How many notes each decision of the symbol knew, by the number of its minute."""
    bodies = [decode("decisions", m.value) for m in log.messages("decisions") if m.value is not None]
    return {
        (body["bar_t"] - first_label()) // MINUTE_US: body["sentiment_n"]
        for body in bodies
        if body["symbol"] == SYMBOL and body["bar_t"] > first_label()
    }


def test_a_minute_knows_the_notes_up_to_its_start_but_not_those_of_an_absent_input(days: Days) -> None:
    """The bar of minute k is decided on the notes of the minutes up to k - 1."""
    assert heard(days["present"][0]) == {k: k - 1 for k in range(1, MINUTES + 1)}
    assert set(heard(days["absent all day"][0]).values()) == {0}
    known = heard(days["absent for a while"][0])
    assert known == {k: (AWAY.start if k - 1 in AWAY else k) - 1 for k in range(1, MINUTES + 1)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rebuild_gives_what_the_sim_left(toys: Topology, days: Days, scenario: str) -> None:
    log, expected = days[scenario]
    source = MemorySource(log.layout, (m for each in CATALOGUE for m in log.messages(each.name)), size=97)
    found: dict[str, str] = {}
    for spec in toys.market:
        rebuilt = rebuild_stage(spec, source, CONFIG, xnys()).digests()
        found |= {name if name in spec.outputs else f"{spec.name} state": d for name, d in rebuilt.items()}
    assert found == expected


@pytest.mark.parametrize("scenario", few(reversed(SCENARIOS), 1))
def test_crashes_between_any_two_effects_leave_the_same(toys: Topology, days: Days, scenario: str) -> None:
    crashes = 0
    for seed in SEEDS:
        log = log_of(scenario)
        tasks = market_tasks(toys, log, CONFIG, xnys())
        crashes += run_schedule(tasks, seed, crash_share=0.2).crashes
        drain(tasks)
        assert digests(toys, log, tasks) == days[scenario][1], seed
    assert crashes > len(SEEDS)


def test_the_scenarios_differ(days: Days) -> None:
    for name in ("decisions", "scores"):
        assert len({found[name] for _, found in days.values()}) == len(SCENARIOS)
