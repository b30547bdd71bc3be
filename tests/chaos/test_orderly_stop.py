"""SIGTERM in the middle of the work: drained within ten seconds, exit 0, nothing lost or doubled."""

import signal
import time

import pytest

from tests.chaos.clean import a_log, check_clean
from tests.support.live import Workers, bodies, end_of, eventually, last_label

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


@pytest.mark.long
def test_a_worker_told_to_stop_in_the_middle_drains_and_the_next_one_goes_on(workers: Workers) -> None:
    workers.write(a_log())
    first = workers.start("features", extra={"TAPE_TEST_BATCH": "20"})
    eventually(lambda: end_of(workers.cluster, "features") > 50, "the first features")
    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert first.wait(15) == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in workers.log_of("features")
    workers.start("features")
    check_clean(workers)


@pytest.mark.long
def test_a_worker_that_starts_with_nothing_to_do_beats(workers: Workers) -> None:
    workers.write(a_log())
    first = workers.start("features")
    check_clean(workers)
    first.send_signal(signal.SIGTERM)
    assert first.wait(15) == 0
    before = len(beats(workers))
    workers.start("features")
    eventually(lambda: len(beats(workers)) >= before + 2, "an idle worker's heartbeats", 30)
    assert beats(workers)[-1]["last_watermark"] == last_label(workers.cluster, "features")


def beats(workers: Workers) -> list[dict[str, object]]:
    return bodies(workers.cluster, "heartbeats")
