"""SIGKILL and SIGSTOP of the features worker: the digests of a clean run, nothing lost, nothing new."""

import random
import signal
import time
from itertools import cycle

import pytest

from tapedeck.agents.membership import DYNAMIC
from tapedeck.agents.process import STALLED_EXIT
from tests.chaos.clean import MINUTES, a_log, check_clean
from tests.support.cases import few
from tests.support.live import KILLED, Workers, end_of, eventually, last_minute, until_label
from tests.support.sim_tapes import small_tape

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
POINTS = ("outputs written", "changelog written", "table written", "inputs acked")
DISKS = ("same disk", "empty disk")
KILLS = [*zip(POINTS, cycle(DISKS)), *zip(POINTS, cycle(DISKS[::-1]))]


@pytest.mark.parametrize("point, disk", few(KILLS, 1))
def test_a_worker_killed_between_two_effects_leaves_the_digests_of_a_clean_run(
    workers: Workers, point: str, disk: str
) -> None:
    nth = random.Random(f"{point}{disk}").randint(1, 6)
    workers.write(a_log())
    first = workers.start(
        "features", disk="one", extra={"TAPE_TEST_KILL": f"{point}:{nth}", "TAPE_TEST_BATCH": "40"}
    )
    assert first.wait(60) == KILLED, workers.log_of("features")
    workers.start("features", disk="two" if disk == "empty disk" else "one")
    check_clean(workers)


@pytest.mark.long
@pytest.mark.parametrize("disk", DISKS)
def test_a_worker_killed_while_it_recovers_recovers_again(workers: Workers, disk: str) -> None:
    workers.write(a_log())
    first = workers.start(
        "features", disk="one", extra={"TAPE_TEST_KILL": "inputs acked:4", "TAPE_TEST_BATCH": "40"}
    )
    assert first.wait(60) == KILLED, workers.log_of("features")
    second = workers.start("features", disk="two", extra={"TAPE_TEST_KILL": "recovering:1"})
    assert second.wait(60) == KILLED, workers.log_of("features")
    workers.start("features", disk="three" if disk == "empty disk" else "two")
    check_clean(workers)


@pytest.mark.long
def test_a_worker_frozen_longer_than_its_session_exits_and_the_next_one_agrees(
    workers: Workers,
) -> None:
    log = a_log()
    first = workers.start("features", disk="one", extra={"TAPE_TEST_BATCH": "40"})
    workers.write(log)
    eventually(lambda: end_of(workers.cluster, "features") > 50, "the first features")
    first.send_signal(signal.SIGSTOP)
    frozen = time.monotonic()
    second = workers.start("features", disk="two")
    until_label(workers, "features", last_minute(small_tape(), MINUTES))
    time.sleep(max(0.0, frozen + DYNAMIC.session_timeout_s + 1 - time.monotonic()))
    first.send_signal(signal.SIGCONT)
    assert first.wait(30) == STALLED_EXIT, workers.log_of("features")
    assert second.poll() is None
    check_clean(workers)
