"""Each worker in turn is stopped and started again while records arrive, as in an upgrade."""

import signal

import pytest

from tests.chaos.clean import a_log, check_clean
from tests.support.live import Workers, end_of, eventually

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


@pytest.mark.long
def test_two_workers_restarted_in_turn_leave_the_digests_of_a_clean_run(workers: Workers) -> None:
    disks = ("one", "two")
    running = {disk: workers.start("features", disk=disk, extra={"TAPE_TEST_BATCH": "20"}) for disk in disks}
    workers.write(a_log())
    restarts = 0
    for disk in disks:
        before = end_of(workers.cluster, "features")
        eventually(lambda at=before: end_of(workers.cluster, "features") > at + 20, "features flow", 60)
        running[disk].send_signal(signal.SIGTERM)
        assert running[disk].wait(20) == 0, workers.log_of("features")
        running[disk] = workers.start("features", disk=disk)
        restarts += 1
    check_clean(workers)
    assert restarts == 2 and all(each.poll() is None for each in running.values())
