"""The rebuild driver's tasks give the outputs and tables that the sim driver leaves, to the byte."""

from collections import defaultdict
from functools import cache
from hashlib import sha256

import pytest

from tapedeck.schemas.codec import PREFIX, decode
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.columnar.job import Result, Start, TaskId
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import run_task, tasks_of
from tapedeck.streams.frame import unpack
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import label_of
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, topic
from tests.support.cases import MARKET_STAGES
from tests.support.paths import CONFIG, morning
from tests.support.sim_tapes import run_with_news, small_tape, written

MINUTES = slice(0, 200)


@cache
def clean() -> tuple[MemoryLog, list[SimTask]]:
    log = written(small_tape(), minutes=MINUTES, absent=())
    log.ids |= {each.name: sha256(each.name.encode()).digest()[:16] for each in CATALOGUE}
    return log, run_with_news(log, CONFIG)


def source_of(log: MemoryLog, size: int = 300) -> MemorySource:
    names = [each.name for each in CATALOGUE if each.schema]
    return MemorySource(log.layout, [m for name in names for m in log.messages(name)], size, log.ids)


def live_rows(log: MemoryLog, name: str, partition: int, account: bytes | None = None) -> Rows:
    rows, schema = Rows(), topic(name).schema
    assert schema is not None
    for message in log.read(name, partition, 0):
        key = message.key or b""
        if message.value is None or (account is not None and key.split(b"|")[0] != account):
            continue
        event_id = decode(schema, message.value)["event_id"]
        rows.add_one(key, event_id, message.value[PREFIX.size :])
    return rows


def table_of(tasks: list[SimTask], task: TaskId) -> dict[tuple[int, bytes], bytes]:
    (mine,) = [t for t in tasks if t.spec.name == task.stage and t.home == task.home]
    return mine.disk.values


def assert_same(result: Result, log: MemoryLog) -> None:
    account = result.task.account_id
    for (name, partition), rows in result.outputs.items():
        live = live_rows(log, name, partition, account.encode() if account else None)
        assert rows.hexdigest() == live.hexdigest(), (name, partition)


@pytest.mark.parametrize("stage", MARKET_STAGES)
def test_a_market_stage_gives_what_the_sim_driver_gives(stage: str) -> None:
    log, tasks = clean()
    written_rows = 0
    for task in tasks_of([TOPOLOGY.stage(stage)], log.layout, CONFIG):
        result = run_task(task, CONFIG, xnys(), source_of(log))
        assert_same(result, log)
        assert result.values == table_of(tasks, task)
        assert all(unpack(value).logs for value in result.values.values())
        written_rows += sum(map(len, result.outputs.values()))
        assert result.watermark == small_tape().minutes[MINUTES][-1].label
    assert written_rows > 0


def test_every_account_gives_what_its_dispatcher_wrote() -> None:
    log = morning().log
    tasks = tasks_of([TOPOLOGY.stage("account")], log.layout, CONFIG)
    assert [task.account_id for task in tasks] == [account.account_id for account in CONFIG.accounts]
    for task in tasks:
        result = run_task(task, CONFIG, xnys(), source_of(log))
        assert_same(result, log)
        assert any(map(len, result.outputs.values()))


@pytest.mark.parametrize("stage", MARKET_STAGES)
def test_a_sink_gets_the_records_and_watermarks_that_the_sim_driver_wrote(stage: str) -> None:
    log, _ = clean()
    for task in tasks_of([TOPOLOGY.stage(stage)], log.layout, CONFIG):
        blocks: dict[tuple[str, int], list[Block]] = defaultdict(list)
        result = run_task(
            task, CONFIG, xnys(), source_of(log), sink=lambda b, mine=blocks: mine[b.part].append(b)
        )
        for name, partition in result.outputs:
            got = [m for block in blocks[name, partition] for m in block.messages()]
            live = list(log.read(name, partition, 0))
            assert [m.offset for m in got] == list(range(len(live)))
            assert [marked(m) for m in got] == [marked(m) for m in live]
            assert [told(m) for m in got] == [told(m) for m in live]


def marked(message: Message) -> int | None:
    return label_of(message.key, message.value, message.headers)


def told(message: Message) -> tuple[object, ...]:
    """A message without what depends on the run."""
    depends = {"tape-ingest-time", "ce_source", "tape-code-version", "tape-config-digest"}
    names = [name for name, _ in message.headers]
    kept = [(name, content) for name, content in message.headers if name not in depends]
    return message.key, message.value, message.timestamp, names, kept


@pytest.mark.parametrize("stage", MARKET_STAGES)
def test_a_task_goes_on_from_where_another_stopped(stage: str) -> None:
    log, tasks = clean()
    source = source_of(log)
    for task in tasks_of([TOPOLOGY.stage(stage)], log.layout, CONFIG):
        ends = source.ends({name for spec in TOPOLOGY if spec.name == stage for name in spec.inputs})
        half = run_task(task, CONFIG, xnys(), source, cut={p: end // 2 for p, (_, end) in ends.items()})
        rest = run_task(task, CONFIG, xnys(), source, start=Start(half.values, half.applied))
        assert rest.values == table_of(tasks, task)
        for part, rows in rest.outputs.items():
            rows.absorb(half.outputs[part])
        assert_same(rest, log)


@pytest.mark.parametrize("stage", MARKET_STAGES)
def test_repeats_of_what_a_value_has_seen_change_nothing(stage: str) -> None:
    log, tasks = clean()
    for task in tasks_of([TOPOLOGY.stage(stage)], log.layout, CONFIG):
        whole = run_task(task, CONFIG, xnys(), source_of(log))
        again = run_task(task, CONFIG, xnys(), source_of(log), start=Start(whole.values))
        assert {k: unpack(v).body for k, v in again.values.items() if k[1] != WATERMARK_KEY} == {
            k: unpack(v).body for k, v in table_of(tasks, task).items() if k[1] != WATERMARK_KEY
        }
        assert not any(map(len, again.outputs.values()))
