"""A join that may be absent, declared so in the log: a killed worker reads what the sim driver reads."""

from collections.abc import Collection

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, tasks_of
from tapedeck.streams.wire import opening_wires
from tapedeck.tape.rebuild.whole import live_outputs
from tapedeck.tape.topology import VARIABLE
from tapedeck.topics.catalogue import Layout
from tests.chaos.test_broadcast_join import MINUTES, SYMBOLS, UNSAID, live_state
from tests.live import KILLED, Workers, eventually, until_label
from tests.toys.chained.definition import Chained
from tests.toys.optional import TOPOLOGY
from tests.unit.market_bodies import minute, score_row
from tests.unit.shell_support import bar

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
(SPEC,) = TOPOLOGY
FOR_A_WHILE, ALL_DAY = range(10, 20), range(MINUTES)


def session(absent: Collection[int]) -> MemoryLog:
    """Bars with openings; scores that are absent come after the last of those minutes, or never."""
    log = MemoryLog(Layout())
    writer, late = log.writer(), list[int]()
    partitions = range(log.layout.partitions("bars"))
    for name in SPEC.inputs if 0 not in absent else ("bars",):
        writer.watermark(name, minute(-1))
    for n in range(MINUTES):
        names = ("scores",) if n in absent else ()
        for each in opening_wires("bars", minute(n - 1), names, partitions):
            log.append(each)
        for symbol in SYMBOLS:
            writer.send("bars", bar(symbol, minute(n)))
        writer.watermark("bars", minute(n))
        late.append(n)
        if n in absent:
            continue
        for done in late:
            for symbol in SYMBOLS:
                writer.send("scores", score_row(symbol, minute(done), 0.5).body | UNSAID)
            writer.watermark("scores", minute(done))
        late.clear()
    for each in opening_wires("bars", minute(MINUTES - 1), ("scores",) if late else (), partitions):
        log.append(each)
    return log


def sim(log: MemoryLog) -> list[SimTask]:
    tasks = tasks_of(SPEC, Chained(), log)
    drain(tasks)
    return tasks


@pytest.mark.parametrize("absent", [FOR_A_WHILE, ALL_DAY], ids=["for a while", "all day"])
def test_a_worker_killed_while_an_optional_join_is_absent_agrees_with_the_sim(
    workers: Workers, absent: range
) -> None:
    log = session(absent)
    workers.write(log, SPEC.inputs)
    told = {VARIABLE: "tests.toys.optional:TOPOLOGY"}
    killed = {"TAPE_TEST_KILL": "table written:4", "TAPE_TEST_BATCH": "60"}
    dying = workers.start("features", disk="one", extra={**told, **killed})
    assert dying.wait(60) == KILLED, workers.log_of("features")
    workers.start("features", disk="one", extra=told)
    until_label(workers, "features", minute(MINUTES - 1))
    expected = {task.home: of_state(dict(task.disk.items(task.home))) for task in sim(log)}
    eventually(lambda: live_state(workers) == expected, "the state that the sim driver has", 30)
    with KafkaSource(workers.cluster) as source:
        outputs = live_outputs("bars.late", source)
    assert outputs.hexdigest() == of_messages("bars.late", log.messages("bars.late")).hexdigest()
