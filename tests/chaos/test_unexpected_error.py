"""An error that nobody foresaw, with more records waiting: the process ends and no record is skipped."""

import pytest

from tapedeck.agents.process import FAILED_EXIT
from tests.chaos.clean import a_log, check_clean
from tests.support.live import Workers

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def test_a_worker_that_fails_between_two_effects_does_nothing_more_and_ends(workers: Workers) -> None:
    workers.write(a_log())
    first = workers.start(
        "features", extra={"TAPE_TEST_FAIL": "changelog written:3", "TAPE_TEST_BATCH": "40"}
    )
    assert first.wait(60) == FAILED_EXIT
    said = workers.log_of("features")
    assert "the features stage cannot continue: OSError('told to fail here')" in said
    workers.start("features")
    check_clean(workers)
