"""An applied rebuild and real workers: refused while they run, harmless where it dies, else the new table."""

import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tapedeck.agents.membership import DYNAMIC
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.frame import pack, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Wire
from tapedeck.tape.rebuild.apply import apply_group
from tapedeck.tape.rebuild.live import read_changelog
from tapedeck.tape.rebuild.rebuild import KafkaTarget, run, tasks_for
from tapedeck.tape.rebuild.work import Place, Prepare
from tests.chaos.clean import MINUTES, a_log, check_clean
from tests.support.live import KILLED, Workers, eventually, last_minute, until_label
from tests.support.sim_tapes import CONFIG, small_tape

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
SPLIT = small_tape().minutes[MINUTES][60].label
BACK_S = 60.0
DIES = {"between two partitions": 12, "before the switch": 10, "staging": 5}
"""Before which record or commit."""


class Died(Exception):
    """The applying process is gone."""


class Dying(KafkaTarget):
    """Dies before the ``nth`` record or commit."""

    def __init__(self, workers: Workers, nth: int | None) -> None:
        super().__init__(workers.cluster)
        self._left = nth

    def _effect(self) -> None:
        if self._left == 0:
            raise Died
        self._left = None if self._left is None else self._left - 1

    def write(self, wires: Iterable[Wire]) -> None:
        for each in wires:
            self._effect()
            super().write([each])

    def commit(self, group: str, offsets: Mapping[Part, int]) -> None:
        self._effect()
        super().commit(group, offsets)


def halves() -> tuple[list[Message], list[Message]]:
    """The sources up to and after the watermark of an hour."""
    first, second = [], []
    log: MemoryLog = a_log()
    for partition in range(log.layout.partitions("bars")):
        ended = False
        for message in log.read("bars", partition, 0):
            (second if ended else first).append(message)
            ended = ended or readable_label(message) == SPLIT
    return first, second


def worked(workers: Workers) -> None:
    """The first half is processed and the worker has left its group."""
    workers.put(halves()[0])
    worker = workers.start("features", disk="one")
    until_label(workers, "features", SPLIT)
    time.sleep(1.5)  # the commit interval
    worker.send_signal(signal.SIGTERM)
    worker.wait(20)


def applied(workers: Workers, nth: int | None = None) -> None:
    place = Place(workers.cluster, TOPOLOGY, CONFIG, Path())
    tasks = tasks_for(TOPOLOGY, ["features"], workers.layout, CONFIG, None)
    plans = run(Prepare(place), place, tasks, 1, "test")
    target, group = Dying(workers, nth), place.group(tasks[0])
    eventually(lambda: not target.members(group), "an empty group", 20)
    apply_group(plans, place.basis.source, target, group, now_ms=int(time.monotonic() * 1000))


def damage(workers: Workers) -> str:
    """Change one byte of a stored window, as its newest changelog record; gives its key."""
    with KafkaSource(workers.cluster) as source:
        values = read_changelog(source, TaskId(TOPOLOGY.stage("features"), 1)).values()
    (partition, key), value = max((at, v) for at, v in values.items() if at[1] != b"~watermark")
    epoch, cursors, body, _ = unpack(value)
    other = pack(epoch, cursors, body[:-9] + bytes([body[-9] ^ 64]) + body[-8:])
    outbox = Outbox(workers.cluster, "test")
    outbox.write([Wire("features.changelog", partition, key, other, 0, [])])
    outbox.close()
    return key.decode()


@pytest.mark.long
@pytest.mark.parametrize("dies", DIES)
def test_an_apply_that_dies_leaves_the_digests_of_a_clean_run(workers: Workers, dies: str) -> None:
    worked(workers)
    with pytest.raises(Died):
        applied(workers, DIES[dies])
    workers.start("features", disk="two")
    workers.put(halves()[1])
    check_clean(workers)


@pytest.mark.long
def test_an_applied_rebuild_repairs_a_table_and_an_emptied_worker_comes_back_with_it(
    workers: Workers,
) -> None:
    worked(workers)
    key = damage(workers)
    verify = workers.tape("rebuild", "features", "--verify", "--workers", "1")
    assert verify.wait(60) == 1
    told = workers.log_of("rebuild", "features", "--verify", "--workers", "1")
    assert f"CHANGED state/1, key {key}: window slot" in told
    applied(workers)
    settling = workers.start("features", disk="two", extra={"TAPE_TEST_KILL": "promoted written:2"})
    assert settling.wait(60) == KILLED, workers.log_of("features")
    started = time.monotonic()
    workers.start("features", disk="three")
    workers.put(halves()[1])
    until_label(workers, "features", last_minute(small_tape(), MINUTES), DYNAMIC.session_timeout_s + BACK_S)
    print(
        f"back after {time.monotonic() - started:.1f} s, of which the session time-out is "
        f"{DYNAMIC.session_timeout_s:g} s"
    )
    check_clean(workers)
    assert "values of an applied rebuild are active" in workers.log_of("features")


def test_an_apply_is_refused_while_a_worker_runs(workers: Workers) -> None:
    workers.put(halves()[0])
    workers.start("features")
    until_label(workers, "features", SPLIT)
    refused = workers.tape("rebuild", "features", "--apply", "--workers", "1")
    assert refused.wait(60) == 2
    told = workers.log_of("rebuild", "features", "--apply", "--workers", "1")
    assert "has members: nothing was changed" in told
    assert "tape down" in told
