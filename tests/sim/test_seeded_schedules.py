"""Crashes, redelivery, duplicates and any order of work leave what a run without faults leaves."""

import json
import os
import subprocess
import sys

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import SimTask, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.sim.schedules import DEAD_LETTERS, Schedules, run_seeds
from tapedeck.tape.sim.short_tape import LAYOUT
from tapedeck.topics.catalogue import topic
from tests.support.broken import BROKEN
from tests.support.cases import MARKET_STAGES, REPOSITORY, few
from tests.support.sim_tapes import CONFIG, run_clean, small_tape, written

SEEDS = (20, 2000)
FOUND_WITHIN = 100
WINDOW = slice(60, 130)
OUTPUTS = tuple(name for spec in TOPOLOGY.market for name in spec.outputs)


@pytest.mark.parametrize("seeds", few(SEEDS, 1))
def test_schedules_of_the_short_tape_leave_what_a_clean_run_leaves(seeds: int) -> None:
    outcome = run_seeds(TOPOLOGY, range(seeds), workers=2)
    assert not outcome.failed, "\n" + outcome.as_text()
    never = [name for name, count in outcome.counts().items() if count == 0]
    assert not never, f"faults that no schedule had: {never}"
    assert outcome.faults.crashes > 5 * seeds


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_shell_that_breaks_one_rule_is_found_and_the_command_is_named(broken: type[SimTask]) -> None:
    schedules = Schedules(TOPOLOGY, broken)
    outcome = next((o for o in map(schedules.run, range(FOUND_WITHIN)) if o.failed), None)
    assert outcome is not None, f"{FOUND_WITHIN} schedules did not find: {broken.__doc__}"
    (seed,) = outcome.failed
    assert f"repeat it with: tape sim short --seed {seed}\n" in outcome.as_text()


@pytest.mark.long
def test_the_named_command_runs_the_same_schedule_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tapedeck", "sim", "short", "--seed", "7", "--json"]
    environment = os.environ | {"PYTHONHASHSEED": "5"}
    told = json.loads(subprocess.check_output(command, cwd=REPOSITORY, env=environment, timeout=120))
    assert told["faults"] == Schedules(TOPOLOGY).run(7).counts()
    assert told["faults"]["crashes"] > 0
    assert told["failed"] == {}


def test_the_short_tape_has_everything_that_a_stage_must_survive() -> None:
    clean = Schedules(TOPOLOGY).clean

    def bodies(name: str) -> list[dict[str, object]]:
        parts = [clean[f"{name}/{partition}"] for partition in range(LAYOUT.partitions(name))]
        return [decode(topic(name).schema or "", value) for rows in parts for _, value in rows]

    assert len(clean[DEAD_LETTERS]) == 2
    assert len(bodies("bars.late")) == 1
    assert len(bodies("signals")) == 1
    assert {place["on_watchlist"] for place in bodies("memberships")} == {True, False}
    assert {feature["revision"] for feature in bodies("features")} == {0, 1}
    assert len({feature["session_date"] for feature in bodies("features")}) >= 2
    assert {order["state"] for order in bodies("orders")} >= {"INTENT", "FILLED"}
    assert bodies("executions")
    assert bodies("positions")
    assert any(body["sentiment_n"] for body in bodies("decisions")), "decisions know the news"
    assert bodies("sentiment_windows") and bodies("mentions") and bodies("stories") and bodies("post_links")


def digests(log: MemoryLog, tasks: list[SimTask]) -> dict[str, str]:
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in OUTPUTS}
    for stage in MARKET_STAGES:
        values = {key: value for task in tasks if task.spec.name == stage for key, value in task.disk.items()}
        found[f"{stage} state"] = of_state(values)
    return found


@pytest.fixture(scope="module")
def clean() -> dict[str, str]:
    log = written(small_tape(), minutes=WINDOW, history_tail=150)
    tasks = run_clean(log)
    assert sum(1 for _ in log.messages("decisions")) > 300
    return digests(log, tasks)


@pytest.mark.parametrize("seed", range(5))
def test_a_longer_tape_from_an_empty_state_gives_the_digests_of_a_clean_run(
    seed: int, clean: dict[str, str]
) -> None:
    log = written(small_tape(), minutes=WINDOW, history_tail=150)
    tasks = market_tasks(TOPOLOGY, log, CONFIG, xnys())
    faults = run_schedule(tasks, seed)
    assert faults.crashes > 0
    assert faults.redelivered > 0
    assert digests(log, tasks) == clean, f"seed {seed}: repeat with pytest {__file__} -k [{seed}]"
