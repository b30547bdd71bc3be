"""The tap on a real broker: the same frames, by the time index, and nobody else notices."""

import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

import tapedeck as td
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.postgres.mapping import TopicMap
from tapedeck.connectors.postgres.store import Store, Written
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.wire import Origin
from tapedeck.tape.local.state import Phase, ProcessState, StackState, write
from tapedeck.tape.notebook import place
from tapedeck.tape.notebook.connection import Connection, default
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.tape.notebook.query import NotKept
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.paths import CONFIG, morning
from tests.support.taps import START, at, bar, minutes, played

pytestmark = pytest.mark.integration


@pytest.fixture
def tapped(recorded, monkeypatch, tmp_path) -> Connection:
    """The recorded run, through the functions of the package."""
    config = tmp_path / "tape.toml"
    config.write_text(CONFIG.to_toml())
    monkeypatch.setenv("TAPE_CONFIG", str(config))
    monkeypatch.setattr(default, "connection", default.connection)
    return td.connect(bootstrap=recorded.cluster.bootstrap, prefix=recorded.layout.prefix)


def test_every_topic_gives_the_same_frame_as_out_of_memory(tapped):
    in_memory = Connection(source=played())
    for each in CATALOGUE:
        if each.schema:
            assert td.tap(each.name).equals(in_memory.tap(each.name)), each.name
    assert td.tap("bars", raw=True).equals(in_memory.tap("bars", raw=True))
    assert len(td.tap("dead_letters", raw=True)) == 0


def test_topics_and_asof_are_as_out_of_memory(tapped):
    in_memory = Connection(source=played())
    # The simulated log gives changelogs no time, so the broker gave them its own.
    facts = pl.col("key") != "bytes"
    assert td.topics().filter(facts).equals(in_memory.topics().filter(facts))
    for name in ("positions", "memberships", "universe", "watchlist"):
        moment = in_memory.tap(name)["event_time"].sort()[-1]
        assert td.asof(name, at=moment).equals(in_memory.asof(name, at=moment)), name


class Counting(KafkaSource):
    """Counts the records that are handed out."""

    read = 0

    def stream(self, part, start, end):
        for block in super().stream(part, start, end):
            type(self).read += len(block)
            yield block


def test_a_few_minutes_are_found_through_the_brokers_time_index(tapped, monkeypatch):
    monkeypatch.setattr(place, "KafkaSource", Counting)
    monkeypatch.setattr(Counting, "read", 0)
    whole = len(td.tap("features", raw=True))
    assert Counting.read == whole
    newest = td.tap("features")["event_time"].max()
    Counting.read = 0
    frame = td.tap("features", since="10min", until=newest, late="1min")
    assert frame["event_time"].max() < newest
    assert 0 < len(frame) <= Counting.read < whole / 10


def test_no_consumer_group_is_made_or_changed(tapped):
    admin = AdminClient({"bootstrap.servers": tapped._bootstrap})

    def groups():
        return {each.group_id for each in admin.list_consumer_groups().result(10).valid}

    before = groups()
    assert {f"{tapped._prefix}-features", f"{tapped._prefix}-signals"} <= before
    td.tap("features", symbols=["AMD"], since="1h")
    td.asof("positions", at="0s")
    td.topics()
    next(td.tap("bars", since="5min", follow=True))
    assert groups() == before


def connections() -> int:
    return len(psutil.Process().net_connections("tcp"))


def test_following_gives_what_arrives_and_its_connections_close_with_it(kafka, prefix):
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), Origin("test", "test", ""))
    writer.send("bars", bar("AMD", START))
    writer.flush()
    before = connections()
    frames = Connection(kafka.bootstrap, prefix).tap("bars", since="1h", follow=True)
    assert minutes(next(frames)) == [0]
    writer.send("bars", bar("WMT", START + 60_000_000))
    writer.flush()
    assert minutes(next(frames)) == [1]
    assert connections() > before
    frames.close()
    until = time.monotonic() + 5
    while connections() > before and time.monotonic() < until:
        time.sleep(0.05)
    assert connections() <= before
    writer.close()


def test_a_time_that_the_broker_has_deleted_is_refused_with_what_is_kept(kafka, prefix):
    layout = Layout(prefix, symbol_partitions=1)
    ensure(Cluster(kafka.bootstrap, layout))
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), Origin("test", "test", ""))
    for minute in range(10):
        writer.send("bars", bar("AMD", START + minute * 60_000_000))
    writer.close()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    gone = TopicPartition(layout.wire_name("bars"), 0, 4)
    admin.delete_records([gone])[gone].result(10)
    connected = Connection(source=KafkaSource(Cluster(kafka.bootstrap, layout)))
    with pytest.raises(NotKept, match="kept from 2024-03-08T14:34:00Z on"):
        connected.tap("bars", since=at(0))
    assert minutes(connected.tap("bars")) == [4, 5, 6, 7, 8, 9]
    assert minutes(connected.asof("bars", at=at(6))) == [6]
    with pytest.raises(NotKept, match="kept from"):
        connected.asof("bars", at=at(2))


@pytest.fixture
def audited(postgres, prefix) -> str:
    """The morning's positions and watchlists in an audit store of this prefix."""
    upgrade(postgres.url, prefix)
    with connect(postgres.url, prefix) as connection:
        for name in ("positions", "watchlist"):
            messages = [m for m in morning().log.messages(name) if m.value is not None]
            Store(connection).write(TopicMap(name), messages, Written())
    return postgres.url


@pytest.mark.parametrize("name", ["positions", "watchlist"])
def test_before_the_compaction_lag_the_audit_store_answers_the_same(name, audited, prefix):
    whole = Connection(source=played())
    times = whole.tap(name)["event_time"].sort()
    moment = times[len(times) // 2]
    layout = replace(Layout(prefix), symbol_partitions=4)
    held = [m for m in morning().log.messages(name) if m.timestamp > moment.timestamp() * 1000 + 1]
    left = MemoryTape(layout, [m._replace(offset=m.offset + 1_000) for m in held])
    answer = Connection(source=left, database=audited).asof(name, at=moment)
    assert answer.equals(whole.asof(name, at=moment))
    assert len(answer)


def compacted_away(prefix: str) -> MemoryTape:
    """A log that holds the newest position alone."""
    newest = list(morning().log.messages("positions"))[-1]
    return MemoryTape(Layout(prefix), [newest._replace(offset=100)])


def test_a_moment_before_the_log_and_the_audit_store_is_refused(audited, prefix):
    left = compacted_away(prefix)
    with pytest.raises(Fatal, match="neither the log nor the audit store"):
        Connection(source=left, database=audited).asof("positions", at="2020-01-01")


def test_an_audit_store_without_tables_is_refused_with_how_to_fill_it(postgres, prefix):
    left = compacted_away(prefix)
    with pytest.raises(Fatal, match=r"no tables of this prefix.*`tape sink`"):
        Connection(source=left, database=postgres.url).asof("positions", at="2020-01-01")


def test_the_local_stack_is_found_from_a_folder_below_it(recorded, kafka, monkeypatch, tmp_path):
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "TAPE_HOME", "TAPE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    myself = psutil.Process()
    supervisor = ProcessState(name="supervisor", pid=myself.pid, started=myself.create_time(), log="")
    folder: Path = tmp_path / ".tape" / "local"
    folder.mkdir(parents=True)
    write(
        folder,
        StackState(
            name="local", phase=Phase.READY, supervisor=supervisor, bootstrap=kafka.bootstrap,
            cluster_id=kafka.cluster_id, prefix=recorded.layout.prefix,
        ),
    )  # fmt: skip
    below = tmp_path / "notebooks"
    below.mkdir()
    monkeypatch.chdir(below)
    assert len(Connection().tap("positions")) == len(Connection(source=played()).tap("positions")) > 0


def test_an_order_is_explained_through_the_package(tapped):
    order = td.tap("orders")["client_order_id"][0]
    text = repr(td.explain(order))
    assert order in text
    assert "bars/" in text


def test_why_there_was_no_trade_is_said_through_the_package(tapped):
    assert "TRADED" in repr(td.why("AMD"))
    assert "OPTIONS_CONFIDENCE_TOO_LOW" in repr(td.why("WMT", at="2026-02-17T11:14-05:00"))


def test_commands_find_the_same_cluster_by_the_environment_of_a_connection(tapped, recorded, monkeypatch):
    monkeypatch.setenv("TAPE_CONFIG", "tape.toml")
    told = tapped.environment()
    assert told["KAFKA_BOOTSTRAP_SERVERS"] == recorded.cluster.bootstrap
    assert told["TAPE_PREFIX"] == recorded.layout.prefix
    assert (told["TAPE_CONFIG"], told["TAPE_SYMBOL_PARTITIONS"]) == ("tape.toml", "4")


def test_a_frame_becomes_pandas_with_zoned_times(tapped):
    frame = td.tap("decisions", since="30min", zone="America/New_York")
    pandas = frame.to_pandas()
    assert str(pandas["bar_t"].dtype) == "datetime64[us, America/New_York]"
    assert len(pandas) == len(frame)
    assert pl.from_pandas(pandas[["symbol", "confidence"]]).equals(frame.select("symbol", "confidence"))
