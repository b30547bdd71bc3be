"""SIGKILL and SIGSTOP of the features worker: the digests of a clean run, nothing lost, nothing new."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.process import STALLED_EXIT
from streams.digests import of_messages, of_state
from tape.rebuild import Source, live_outputs, live_state
from tests.conftest import Broker
from tests.live import KILLED, Workers, end_of, eventually, last_minute, until_label
from tests.sim.tapes import CONFIG, run_clean, small_tape, written

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
MINUTES = slice(60, 180)
POINTS = ("outputs written", "changelog written", "table written", "inputs acked")


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    tasks = run_clean(log)
    values = {k: v for t in tasks if t.spec.name == "features" for k, v in t.disk.items()}
    return {
        "features": of_messages("features", log.messages("features")).hexdigest(),
        "state": of_state(values),
    }


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def check(workers: Workers, expected: dict[str, str]) -> None:
    """Everything arrived, and it is what a clean run leaves."""
    until_label(workers, "features", last_minute(small_tape(), MINUTES))
    source = Source(workers.bootstrap, workers.layout)
    outputs = live_outputs("features", source)
    assert not outputs.conflicts
    assert outputs.hexdigest() == expected["features"]
    eventually(
        lambda: of_state(live_state("features", source)) == expected["state"], "the state of a clean run", 20
    )


@pytest.mark.parametrize("empty_disk", [False, True], ids=["same disk", "empty disk"])
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_between_two_effects_leaves_the_digests_of_a_clean_run(
    workers: Workers, expected: dict[str, str], point: str, empty_disk: bool
) -> None:
    nth = random.Random(f"{point}{empty_disk}").randint(1, 6)
    workers.write(written(small_tape(), minutes=MINUTES, history_tail=150))
    first = workers.start(
        "features", disk="one", extra={"TAPE_TEST_KILL": f"{point}:{nth}", "TAPE_TEST_BATCH": "200"}
    )
    assert first.wait(60) == KILLED, workers.log_of("features")
    workers.start("features", disk="two" if empty_disk else "one")
    check(workers, expected)


@pytest.mark.parametrize("empty_disk", [False, True], ids=["same disk", "empty disk"])
def test_a_worker_killed_while_it_recovers_recovers_again(
    workers: Workers, expected: dict[str, str], empty_disk: bool
) -> None:
    workers.write(written(small_tape(), minutes=MINUTES, history_tail=150))
    first = workers.start(
        "features", disk="one", extra={"TAPE_TEST_KILL": "inputs acked:4", "TAPE_TEST_BATCH": "200"}
    )
    assert first.wait(60) == KILLED, workers.log_of("features")
    second = workers.start("features", disk="two", extra={"TAPE_TEST_KILL": "recovering:1"})
    assert second.wait(60) == KILLED, workers.log_of("features")
    workers.start("features", disk="three" if empty_disk else "two")
    check(workers, expected)


def test_a_worker_frozen_longer_than_its_session_exits_and_the_next_one_agrees(
    workers: Workers, expected: dict[str, str]
) -> None:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    first = workers.start("features", disk="one", extra={"TAPE_TEST_BATCH": "100"})
    workers.write(log)
    eventually(lambda: end_of(workers.bootstrap, workers.layout, "features") > 50, "the first features")
    first.send_signal(signal.SIGSTOP)
    second = workers.start("features", disk="two")
    until_label(workers, "features", last_minute(small_tape(), MINUTES))
    time.sleep(1.0)
    first.send_signal(signal.SIGCONT)
    assert first.wait(30) == STALLED_EXIT, workers.log_of("features")
    assert second.poll() is None
    check(workers, expected)
