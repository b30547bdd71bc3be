"""A join of one partition, whose every record each of four tasks must see once, while workers come and go."""

import re
from collections.abc import Mapping

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.streams.changelog import wins
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, tasks_of
from tapedeck.tape.rebuild.live import group_of
from tapedeck.tape.rebuild.rest import at_rest
from tapedeck.tape.rebuild.whole import live_outputs
from tapedeck.topics.catalogue import Layout
from tests.support.live import KILLED, Workers, bodies, eventually, until_label
from tests.support.market_bodies import minute, score_row
from tests.support.paths import wire
from tests.support.shells import bar
from tests.support.toy_stages.broadcast import TOPOLOGY
from tests.support.toy_stages.chained.definition import Chained

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
SYMBOLS = ("AMD", "BAC", "MSFT", "NVDA", "WMT", "XOM")
MINUTES = 40
TOY = {TOPOLOGY_VARIABLE: "tests.support.toy_stages.broadcast:TOPOLOGY"}
(BROADCAST,) = TOPOLOGY
UNSAID = {
    "config_digest": "",
    "rules_version": "",
    "inputs": [],
    "sentiment_n": 0,
    "sentiment_avg": 0.0,
    "sentiment_age_s": 0.0,
}
State = Mapping[int, str]


def session(first: int, last: int) -> MemoryLog:
    """Minutes [first, last) of bars, and a score of every symbol each minute."""
    log = MemoryLog(Layout())
    writer = log.writer()
    if first == 0:
        for name in BROADCAST.inputs:
            writer.watermark(name, minute(-1))
    for n in range(first, last):
        for symbol in SYMBOLS:
            writer.send("scores", score_row(symbol, minute(n), n / MINUTES).body | UNSAID)
            writer.send("bars", bar(symbol, minute(n)))
        for name in BROADCAST.inputs:
            writer.watermark(name, minute(n))
    return log


def sim(*logs: MemoryLog) -> tuple[list[SimTask], MemoryLog]:
    """The sim driver over the inputs in ``logs``."""
    whole = MemoryLog(Layout())
    for log in logs:
        for name in BROADCAST.inputs:
            for message in log.messages(name):
                whole.append(wire(message))
    tasks = tasks_of(BROADCAST, Chained(), whole)
    drain(tasks)
    return tasks, whole


def live_state(workers: Workers) -> State:
    """The state's digest by partition, as a recovery would have it."""
    tables: dict[int, dict[bytes, bytes]] = {home: {} for home in range(4)}
    for message in read_topic(workers.cluster, BROADCAST.changelog):
        assert message.key is not None and message.value is not None
        table = tables[message.partition]
        if wins(message.value, table.get(message.key)):
            table[message.key] = message.value
    return {home: of_state(table) for home, table in tables.items()}


@pytest.mark.long
def test_every_task_sees_a_join_of_one_partition_whole_through_a_kill_and_a_rebalance(
    workers: Workers,
) -> None:
    """The third worker's disk is empty: its tasks read the join from where the changelog stands."""
    first, second = session(0, MINUTES // 2), session(MINUTES // 2, MINUTES)
    workers.write(first, BROADCAST.inputs)
    workers.start("features", disk="one", extra=TOY)
    dying = workers.start(
        "features", disk="two", extra={**TOY, "TAPE_TEST_KILL": "outputs written:2", "TAPE_TEST_BATCH": "30"}
    )
    assert dying.wait(60) == KILLED, workers.log_of("features")
    until_label(workers, "features", minute(MINUTES // 2 - 1))
    workers.write(second, BROADCAST.inputs)
    workers.start("features", disk="three", extra=TOY)
    until_label(workers, "features", minute(MINUTES - 1))
    starts = re.findall(r"reads scores/0 from offset (\d+) on", workers.log_of("features"))
    assert any(map(int, starts)), "every task began at the start of the log: none went on from its table"
    tasks, log = sim(first, second)
    expected = {task.home: of_state(dict(task.disk.items(task.home))) for task in tasks}
    assert len({len(dict(task.disk.items())) for task in tasks}) == 1, "each task has every symbol's scores"
    eventually(lambda: live_state(workers) == expected, "the state that the sim driver has", 30)
    with KafkaSource(workers.cluster) as source:
        outputs = live_outputs("bars.late", source)
        for task in (TaskId(BROADCAST, home) for home in expected):
            group = group_of(task, workers.layout)
            values, committed = at_rest(task, source, KafkaGroups(workers.cluster), group)
            assert values and committed["scores", 0] is None, "no group says where a task stands there"
    assert not outputs.conflicts
    assert outputs.hexdigest() == of_messages("bars.late", log.messages("bars.late")).hexdigest()
    eventually(lambda: bodies(workers.cluster, "heartbeats")[-1]["lag"] == 0, "a heartbeat without lag", 60)
