"""The sink from Kafka to Postgres: nothing lost, nothing doubled, nothing that stops it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.counts import Rows, distinct_events, rows_per_table
from tapedeck.connectors.postgres.database import downgrade, upgrade
from tapedeck.connectors.postgres.offsets import Offsets, lag
from tapedeck.connectors.postgres.sink_input import read_events
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import CatalogueMismatch, Fatal, Retry
from tapedeck.streams.config.document import Config
from tapedeck.streams.watermarks import headers_for
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import cache_dir, free_port
from tapedeck.tape.local.postgres import EmbeddedPostgres
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.support.audit import MINUTE, ORIGIN, T0, TOPICS, Pipeline, bar, eventually
from tests.support.cases import few

pytestmark = pytest.mark.integration


@pytest.fixture
def pipeline(kafka: Any, postgres: Any, prefix: str) -> Iterator[Pipeline]:
    layout = Layout(prefix, symbol_partitions=2, account_partitions=1)
    ensure(Cluster(kafka.bootstrap, layout))
    upgrade(postgres.url, prefix)
    yield Pipeline(kafka.bootstrap, postgres.url, layout)
    downgrade(postgres.url, prefix)


def _letters(pipeline: Pipeline) -> list[tuple[str, str]]:
    """(reason, source topic) of the dead letters in Postgres."""
    return pipeline.query("SELECT reason, source_topic FROM t_dead_letters ORDER BY reason, source_offset")


def test_every_event_is_stored_once_and_watermarks_are_not(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(100)])
    for partition in range(2):
        pipeline.put("bars", None, WATERMARK_KEY, partition, headers=headers_for(T0))
    pipeline.flush()
    sink = pipeline.drain()
    assert pipeline.rows("bars") == 100
    assert (sink.stats.read, sink.stats.inserted, sink.stats.watermarks) == (102, 100, 2)
    assert lag(pipeline.url, pipeline.cluster) == pytest.approx(
        dict.fromkeys(rows_per_table(pipeline.url, pipeline.cluster), 0)
    )
    (row,) = pipeline.query(
        "SELECT symbol, extract(epoch FROM t) * 1000000, close, code_version, payload ->> 'origin',"
        " first_topic FROM t_bars WHERE event_id = %s",
        bar(7)["event_id"],
    )
    assert row == ("S2", T0 + 7 * MINUTE, 17.0, "9.9.9", "TEST", "bars")


def test_a_topic_replayed_from_its_start_adds_no_row_and_counts_repeats(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(50)])
    pipeline.drain()
    pipeline.query("DELETE FROM sink_offsets RETURNING 1")
    sink = pipeline.drain()
    assert pipeline.rows("bars") == 50
    assert (sink.stats.inserted, sink.stats.repeats, sink.stats.conflicts) == (0, 50, 0)


def test_the_same_event_written_again_keeps_its_first_place(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(1), bar(2), bar(1)])
    sink = pipeline.drain()
    (place,) = pipeline.query("SELECT first_offset FROM t_bars WHERE event_id = %s", bar(1)["event_id"])
    assert (pipeline.rows("bars"), place, sink.stats.repeats) == (2, (0,), 1)


@pytest.mark.parametrize("transaction", few([1, 3], 1))
def test_killed_between_copy_and_commit_loses_and_doubles_nothing(
    pipeline: Pipeline, transaction: int, tmp_path: Path
) -> None:
    pipeline.send("bars", [bar(n) for n in range(200)])
    child = f"""
import os, signal, threading
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.postgres import offsets, sink
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.streams.wire import Origin
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.topics.catalogue import Layout
sink.BATCH_RECORDS, moves, move = 30, [0], offsets.Offsets.move
def killed(self, to):
    moves[0] += 1
    if moves[0] == {transaction}:
        os.kill(os.getpid(), signal.SIGKILL)
    move(self, to)
offsets.Offsets.move = killed
cluster = Cluster(os.environ["BOOTSTRAP"], Layout({pipeline.layout.prefix!r}, 2, 1))
what = sink.SinkSettings(cluster=cluster, url=os.environ["URL"], topics={TOPICS!r})
outbox = Outbox(cluster, "test")
sink.Sink(what, outbox, SystemClock(), Origin("t", "1", "c")).run(threading.Event())
"""
    env = os.environ | {"BOOTSTRAP": pipeline.bootstrap, "URL": pipeline.url}
    done = subprocess.run(
        [sys.executable, "-c", child], env=env, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    before = pipeline.rows("bars")
    # The end of a partition, which the consumer tells, is one of the 30.
    assert before <= 30 * (transaction - 1) < before + 10
    sink = pipeline.drain()
    assert (pipeline.rows("bars"), sink.stats.inserted, sink.stats.repeats) == (200, 200 - before, 0)


def test_bad_records_go_to_dead_letters_and_the_sink_goes_on(pipeline: Pipeline) -> None:
    good = encode("bars", bar(1))
    unknown_schema = b"\x00" + (60_000).to_bytes(4, "big") + good[5:]
    for value in (good[:-3], b"\x07 no avro", unknown_schema, encode("controls", _control())):
        pipeline.put("bars", value, b"S1", 1)
    pipeline.put("bars", None, b"S1", 1)
    pipeline.send("bars", [bar(n) for n in range(10)])
    sink = pipeline.drain()
    assert pipeline.rows("bars") == 10
    assert sink.stats.dead_letters == 5
    reasons = ["BAD_PREFIX", "BAD_PREFIX", "MALFORMED", "UNKNOWN_SCHEMA", "WRONG_SCHEMA"]
    assert _letters(pipeline) == [(reason, "bars") for reason in reasons]
    letters = list(read_events(pipeline.cluster, ["dead_letters"]))
    assert {(m.key, m.partition) for m in letters} == {(b"bars", 1)}
    assert letters[0].value == good[:-3]
    assert dict(letters[0].headers)["__connect.errors.offset"] == b"0"


def _control() -> dict[str, Any]:
    return {
        "event_id": "c", "event_time": T0, "scope": "*", "seq": 1, "state": "ACTIVE",
        "person": "p", "reason": "",
    }  # fmt: skip


def test_a_record_that_postgres_cannot_hold_costs_only_itself(pipeline: Pipeline) -> None:
    bad = [
        bar(11, origin="nul\x00byte"),
        bar(12, event_time=-(2**63)),
        bar(13, event_id=os.urandom(20_000).hex()),
    ]
    pipeline.send("bars", [bar(n) for n in range(10)] + bad + [bar(n) for n in range(20, 30)])
    sink = pipeline.drain()
    assert pipeline.rows("bars") == 20
    assert (sink.stats.inserted, sink.stats.dead_letters) == (20 + 3, 3)
    assert {reason for reason, _ in _letters(pipeline)} == {"NOT_STORABLE"}


def test_one_event_id_with_two_bodies_is_a_red_alarm_and_both_are_kept(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(1)])
    pipeline.drain()
    pipeline.send("bars", [bar(1, close=99.0), bar(2)])
    sink = pipeline.drain()
    assert (sink.stats.conflicts, sink.stats.repeats, sink.stats.inserted) == (1, 1, 1 + 2)
    assert pipeline.query("SELECT close FROM t_bars WHERE event_id = %s", bar(1)["event_id"]) == [(11.0,)]
    assert _letters(pipeline) == [("BODY_CONFLICT", "bars")] * 2
    stored, newcomer = (
        pipeline.query("SELECT value FROM t_dead_letters WHERE source_offset = %s", offset)[0][0]
        for offset in (0, 1)
    )
    assert b'"close": 11.0' in stored
    assert decode("bars", newcomer)["close"] == 99.0


def test_an_inbox_record_appended_again_at_another_time_is_a_repeat(pipeline: Pipeline) -> None:
    def inbox(time: int) -> dict[str, Any]:
        payload = ("tapedeck.InboxStarted", {"lease_epoch": 1})
        return {"event_id": "i1", "event_time": time, "account_id": "tiny", "payload": payload}

    pipeline.send("account_inbox", [inbox(T0), inbox(T0 + 1)])
    sink = pipeline.drain()
    assert (sink.stats.inserted, sink.stats.repeats, sink.stats.conflicts) == (1, 1, 0)


def test_a_connection_ended_by_the_server_is_made_again(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(10)])
    with pipeline.running() as sink:
        pipeline.wait()
        ended = pipeline.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tapedeck' AND pid <> pg_backend_pid()"
        )
        assert ended
        pipeline.send("bars", [bar(n) for n in range(10, 30)])
        pipeline.wait()
    assert sink.stats.retries >= 1
    assert pipeline.rows("bars") == 30


def test_a_database_that_stops_pauses_the_sink_and_nothing_is_lost(
    kafka: Any, prefix: str, tmp_path: Path
) -> None:
    server = EmbeddedPostgres(tmp_path, port=free_port(), durable=False)
    server.start()
    try:
        layout = Layout(prefix, 2, 1)
        ensure(Cluster(kafka.bootstrap, layout))
        upgrade(server.url, prefix)
        pipeline = Pipeline(kafka.bootstrap, server.url, layout)
        with pipeline.running() as sink:
            pipeline.send("bars", [bar(n) for n in range(10)])
            pipeline.wait()
            server.stop()
            pipeline.send("bars", [bar(n) for n in range(10, 40)])
            eventually("the sink noticed", lambda: sink.stats.retries >= 2)
            server.start()
            pipeline.wait()
        assert pipeline.rows("bars") == 40
        assert sink.stats.repeats == 0
    finally:
        server.remove()


@pytest.mark.long
def test_a_frozen_broker_is_waited_for(postgres: Any, prefix: str, tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path, cache_dir())
    broker.start()
    try:
        layout = Layout(prefix, 2, 1)
        ensure(Cluster(broker.bootstrap, layout))
        upgrade(postgres.url, prefix)
        pipeline = Pipeline(broker.bootstrap, postgres.url, layout)
        with pipeline.running() as sink:
            pipeline.send("bars", [bar(n) for n in range(10)])
            pipeline.wait()
            broker.freeze()
            time.sleep(3)
            assert sink.stats.inserted == 10
            broker.thaw()
            pipeline.send("bars", [bar(n) for n in range(10, 20)])
            pipeline.wait()
        assert pipeline.rows("bars") == 20
    finally:
        broker.stop()
        downgrade(postgres.url, prefix)


def test_a_second_sink_of_the_group_is_fenced(pipeline: Pipeline) -> None:
    place = ("bars", 0)
    with (
        connect(pipeline.url, pipeline.layout.prefix) as one,
        connect(pipeline.url, pipeline.layout.prefix) as two,
    ):
        ids = {"bars": b"i" * 16}
        first, second = Offsets(one, "g", "c", ids), Offsets(two, "g", "c", ids)
        first.begin({place: 0})
        second.begin({place: 0})
        with one.transaction():
            first.move({place: 5})
        with pytest.raises(Fatal, match="another sink"), two.transaction():
            second.move({place: 9})
        assert Offsets(one, "g", "c", ids).next == {place: 5}


def test_offsets_of_another_cluster_are_not_gone_on_from(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(5)])
    pipeline.drain()
    pipeline.query("UPDATE sink_offsets SET cluster_id = 'elsewhere', next_offset = 999 RETURNING 1")
    assert pipeline.drain().stats.repeats == 5


def test_offsets_taken_by_retention_are_a_dead_letter_and_the_sink_goes_on(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n, symbol="S0") for n in range(10)])
    partition = pipeline.layout.partition("bars", bar(0, symbol="S0"))
    pipeline.drain()
    pipeline.query(
        "UPDATE sink_offsets SET next_offset = 2 WHERE topic = 'bars' AND next_offset = 10 RETURNING 1"
    )
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    at = TopicPartition(pipeline.layout.wire_name("bars"), partition, 6)
    for deleted in admin.delete_records([at]).values():
        deleted.result(10)
    pipeline.drain()
    assert _letters(pipeline) == [("RETENTION", "bars")]
    assert "offsets 2 to 5" in pipeline.query("SELECT message FROM t_dead_letters")[0][0]


def test_a_missing_topic_stops_the_sink_by_name(kafka: Any, postgres: Any, prefix: str) -> None:
    upgrade(postgres.url, prefix)
    pipeline = Pipeline(kafka.bootstrap, postgres.url, Layout(prefix, 2, 1))
    with pytest.raises(CatalogueMismatch, match=f"{prefix}.bars is missing"):
        pipeline.run()
    downgrade(postgres.url, prefix)


def test_a_wrong_partition_count_stops_the_sink_by_number(pipeline: Pipeline) -> None:
    pipeline.layout = Layout(pipeline.layout.prefix, 3, 1)
    with pytest.raises(CatalogueMismatch, match="the layout says 3; got 2; set TAPE_SYMBOL_PARTITIONS=2"):
        pipeline.run()


def test_tables_of_no_revision_stop_the_sink_with_the_command(kafka: Any, pipeline: Pipeline) -> None:
    downgrade(pipeline.url, pipeline.layout.prefix)
    with pytest.raises(Fatal, match="run `tape migrate`"):
        pipeline.run()
    upgrade(pipeline.url, pipeline.layout.prefix)


def test_update_delete_and_truncate_are_refused_to_the_sink(pipeline: Pipeline) -> None:
    for statement in (
        "UPDATE t_bars SET close = 0",
        "DELETE FROM t_bars",
        "TRUNCATE t_bars",
        "DELETE FROM sink_offsets",
    ):
        with (
            connect(pipeline.url, pipeline.layout.prefix) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def test_rows_equal_distinct_events_whatever_was_repeated(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in (*range(20), 3, 4, 5)])
    pipeline.put("bars", b"junk")
    pipeline.flush()
    pipeline.drain()
    counted = distinct_events(pipeline.cluster, TOPICS)
    rows = rows_per_table(pipeline.url, pipeline.cluster, TOPICS)
    assert rows == {name: Rows(found.events, 0) for name, found in counted.items()}
    assert (rows["bars"].now, rows["dead_letters"].now, counted["bars"].undecodable) == (20, 1, 1)


def test_a_heartbeat_tells_records_lag_and_counts(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(3)])
    pipeline.put("bars", None, WATERMARK_KEY, 0, headers=headers_for(T0))
    pipeline.flush()
    pipeline.drain()

    def beats() -> list[dict[str, Any]]:
        found = read_events(pipeline.cluster, ["heartbeats"])
        return [decode("heartbeats", message.value) for message in found]

    eventually("the last heartbeat", lambda: beats()[-1:] and beats()[-1]["records"] == 4)
    last = beats()[-1]
    assert (last["stage"], last["records"], last["last_watermark"]) == ("sink", 4, T0)
    assert (last["counts"]["OUT:rows"], last["code_version"]) == (3, ORIGIN.code_version)


def test_waiting_past_the_time_names_the_topics_behind(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(1)])
    with pytest.raises(Retry, match="'bars': 1"):
        pipeline.wait(timeout_s=0.1)


def test_the_command_copies_until_sigterm_and_ends_clean(pipeline: Pipeline, tmp_path: Path) -> None:
    config = tmp_path / "tape.toml"
    config.write_text(Config().to_toml())
    ready = tmp_path / "ready"
    env = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": pipeline.bootstrap,
        "DATABASE_URL": pipeline.url,
        "TAPE_CONFIG": str(config),
        "TAPE_PREFIX": pipeline.layout.prefix,
        "TAPE_SYMBOL_PARTITIONS": "2",
        "TAPE_ACCOUNT_PARTITIONS": "1",
        "TAPE_READY_FILE": str(ready),
    }
    pipeline.send("bars", [bar(n) for n in range(25)])
    process = subprocess.Popen([sys.executable, "-m", "tapedeck", "sink"], env=env, stderr=subprocess.PIPE)
    try:
        eventually("ready", ready.exists, 30)
        pipeline.wait()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
    assert pipeline.rows("bars") == 25
