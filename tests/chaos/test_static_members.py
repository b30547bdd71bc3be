"""Workers with a fixed name in their group: a restart moves nothing, and one that is gone for good leaves."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.leaving import leave
from tests.conftest import Broker
from tests.support.live import Workers, eventually, last_minute, until_label
from tests.support.sim_tapes import CONFIG, small_tape, written

pytestmark = pytest.mark.integration

LONG_S = "180"
SOON_S = 90.0
"""Far less than the session time-out: what happens by then does not wait for it."""


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


@pytest.mark.long
def test_a_static_member_keeps_its_place_through_a_restart_and_leaves_when_it_is_gone_for_good(
    workers: Workers,
) -> None:
    def start(name: str, leaves: str = "no") -> "subprocess.Popen[bytes]":
        extra = {
            "TAPE_GROUP_INSTANCE": name, "TAPE_SESSION_TIMEOUT_S": LONG_S, "TAPE_LEAVE_ON_STOP": leaves
        }  # fmt: skip
        return workers.start("features", disk=name, extra=extra)

    groups, group = KafkaGroups(workers.cluster), workers.layout.group("features")
    minutes = slice(60, 80)
    workers.write(written(small_tape(), minutes=minutes, history_tail=20))
    stays, leaves, lost = start("stays"), start("leaves", "yes"), start("lost")
    until_label(workers, "features", last_minute(small_tape(), minutes))
    eventually(lambda: len(groups.members(group)) == 3, "three members")
    for process in (stays, leaves, lost):
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON_S) == 0
    assert len(groups.members(group)) == 2, "one has left; the others are expected back"
    assert "leaves has left the group" in workers.log_of("features")
    stopped = time.monotonic()
    assert leave(workers.cluster, group, "lost")
    assert not leave(workers.cluster, group, "lost"), "it is no member any more"
    assert len(groups.members(group)) == 1
    back = start("stays")
    more = slice(80, 100)
    workers.write(written(small_tape(), minutes=slice(60, 100), history_tail=20))
    until_label(workers, "features", last_minute(small_tape(), more), SOON_S)
    assert time.monotonic() - stopped < float(LONG_S), "the time-out was not waited for"
    assert back.poll() is None
