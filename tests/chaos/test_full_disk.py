"""A disk that takes no more: the worker ends itself, says why, and the next one goes on."""

import pytest

from tapedeck.agents.process import FAILED_EXIT
from tests.chaos.clean import a_log, check_clean
from tests.support.live import KILLED, Workers

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
FILE_BYTES = 256 * 1024


@pytest.mark.long
def test_a_worker_whose_state_cannot_be_written_ends_itself_and_the_next_one_goes_on(
    workers: Workers,
) -> None:
    workers.write(a_log())
    full = workers.start("features", extra={"TAPE_TEST_BATCH": "50"}, file_bytes=FILE_BYTES)
    assert full.wait(60) == FAILED_EXIT
    said = next(line for line in workers.log_of("features").splitlines() if "cannot be written" in line)
    assert "CRITICAL" in said and "File too large" in said
    assert str(workers.folder / "disk") in said
    assert said.endswith("free some space on that disk and restart the worker: it continues where it stopped")
    workers.start("features")
    check_clean(workers)


@pytest.mark.long
def test_a_worker_that_has_no_room_to_recover_ends_itself_and_the_next_one_recovers(
    workers: Workers,
) -> None:
    workers.write(a_log())
    kill = {"TAPE_TEST_KILL": "inputs acked:6", "TAPE_TEST_BATCH": "40"}
    assert workers.start("features", disk="one", extra=kill).wait(60) == KILLED
    for file_bytes, what in ((4_000, "opened"), (9_000, "written")):
        (workers.folder / "features.log").write_text("")  # the limit holds for its log as well
        full = workers.start("features", disk="two", file_bytes=file_bytes)
        assert full.wait(60) == FAILED_EXIT
        assert f"cannot be {what}: IO error" in workers.log_of("features")
    workers.start("features", disk="two")
    check_clean(workers)
