"""Crashes, redelivery and any order of work leave the same state and outputs as a clean run."""

import pytest

from streams.digests import of_messages, of_state
from streams.sessions import xnys
from streams.sim.log import MemoryLog
from streams.sim.schedule import run_schedule
from streams.sim.task import SimTask, market_tasks
from streams.topology import MARKET_STAGES, spec_of
from tests.sim.tapes import CONFIG, run_clean, small_tape, written

WINDOW = slice(60, 130)
OUTPUTS = tuple(name for stage in MARKET_STAGES for name in spec_of(stage).outputs)


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


@pytest.mark.parametrize("seed", range(25))
def test_a_seeded_schedule_with_crashes_gives_the_digests_of_a_clean_run(
    seed: int, clean: dict[str, str]
) -> None:
    log = written(small_tape(), minutes=WINDOW, history_tail=150)
    tasks = market_tasks(log, CONFIG, xnys())
    faults = run_schedule(tasks, seed)
    assert faults.crashes > 0
    assert faults.redelivered > 0
    assert digests(log, tasks) == clean, f"seed {seed}: repeat with pytest {__file__} -k [{seed}]"


def test_outputs_repeated_by_crashes_have_equal_bodies(clean: dict[str, str]) -> None:
    log = written(small_tape(), minutes=WINDOW, history_tail=150)
    faults = run_schedule(market_tasks(log, CONFIG, xnys()), 3, crash_share=0.5)
    repeats = {name: of_messages(name, log.messages(name)) for name in OUTPUTS}
    written_twice = sum(sum(1 for m in log.messages(name) if m.value) - len(d) for name, d in repeats.items())
    assert faults.crashes > 10
    assert written_twice > 0
    assert all(not digest.conflicts for digest in repeats.values())
