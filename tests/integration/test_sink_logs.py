"""Whose records the sink reads: committed ones, of the log that it knows, for its own cluster's audit."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids
from tapedeck.connectors.postgres import sink as sink_module
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.counts import Rows, distinct_events, rows_per_table
from tapedeck.connectors.postgres.database import downgrade, upgrade
from tapedeck.connectors.postgres.offsets import lag
from tapedeck.connectors.postgres.resuming import adopt, claim
from tapedeck.connectors.postgres.sink_input import read_events
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import CatalogueMismatch, Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.logs import short
from tapedeck.tape.cli.sink import sink as sink_command
from tapedeck.topics.catalogue import Layout
from tests.support.audit import Pipeline, bar, eventually

pytestmark = pytest.mark.integration
OFTEN_S = 0.3


@pytest.fixture
def pipeline(kafka: Any, postgres: Any, prefix: str) -> Iterator[Pipeline]:
    layout = Layout(prefix, symbol_partitions=2, account_partitions=1)
    ensure(Cluster(kafka.bootstrap, layout))
    upgrade(postgres.url, prefix)
    yield Pipeline(kafka.bootstrap, postgres.url, layout)
    downgrade(postgres.url, prefix)


def _admin(pipeline: Pipeline) -> AdminClient:
    return AdminClient({"bootstrap.servers": pipeline.bootstrap})


def _id(pipeline: Pipeline, name: str) -> bytes:
    found = describe_ids(pipeline.cluster, [name])[name]
    assert found is not None
    return found.topic_id


def _make_anew(pipeline: Pipeline, name: str) -> None:
    """Delete the topic, and create it under its name."""
    wire, before, admin = pipeline.layout.wire_name(name), _id(pipeline, name), _admin(pipeline)
    admin.delete_topics([wire])[wire].result(10)
    eventually("the topic is gone", lambda: describe_ids(pipeline.cluster, [name]) == {name: None})
    ensure(pipeline.cluster)
    assert _id(pipeline, name) != before


def _adopt(pipeline: Pipeline, *names: str, **more: Any) -> list[str]:
    return adopt(pipeline.url, pipeline.cluster, names, **more)


def _bars(pipeline: Pipeline) -> tuple[Rows, int]:
    """The counted rows of bars, and the distinct events that the topic holds."""
    (rows,) = rows_per_table(pipeline.url, pipeline.cluster, ["bars"]).values()
    (found,) = distinct_events(pipeline.cluster, ["bars"]).values()
    return rows, found.events


# -- transactions


def _send_transactions(pipeline: Pipeline, codec: str, numbers: range) -> None:
    """A bar a transaction, each first aborted with another close; the log ends in the marker of an abort."""
    producer = Producer(
        {
            "bootstrap.servers": pipeline.bootstrap,
            "transactional.id": f"{pipeline.layout.prefix}-{codec}",
            "compression.type": codec,
        }
    )
    producer.init_transactions(20)
    sent = [(n, rolled_back) for n in numbers for rolled_back in (True, False)]
    for n, rolled_back in sent + [(n, True) for n in numbers[:5]]:
        body = bar(n, close=999.0 if rolled_back else 10.0 + n)
        producer.begin_transaction()
        producer.produce(
            pipeline.layout.wire_name("bars"),
            encode("bars", body),
            body["symbol"],
            pipeline.layout.partition("bars", body),
            headers=[("x-retry", None), ("tape-code-version", None)],
        )
        producer.flush(10)
        (producer.abort_transaction if rolled_back else producer.commit_transaction)(20)


def test_only_committed_records_are_rows_and_a_marker_at_the_end_is_no_lag(pipeline: Pipeline) -> None:
    """Five codecs, null headers, and every partition ends in the marker of an aborted transaction."""
    for codec, first in zip(("none", "gzip", "snappy", "lz4", "zstd"), range(0, 50, 10), strict=True):
        _send_transactions(pipeline, codec, range(first, first + 10))
    sink = pipeline.drain()
    assert (sink.stats.inserted, sink.stats.repeats, sink.stats.dead_letters) == (50, 0, 0)
    closes = pipeline.query("SELECT close FROM t_bars ORDER BY close")
    assert closes == [(10.0 + n,) for n in range(50)]
    assert _bars(pipeline) == (Rows(50, 0), 50)
    assert lag(pipeline.url, pipeline.cluster)["bars"] == 0
    eventually("a heartbeat without lag", lambda: _last_lag(pipeline) == 0)

    ends = pipeline.query("SELECT sum(next_offset) FROM sink_offsets WHERE topic = 'bars'")
    assert ends == [(2 * 5 * 25,)], "each record has a marker behind it"
    assert pipeline.drain().stats.read == 0


def test_a_transaction_that_hangs_open_is_named_once_and_is_no_lag(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sink_module, "CHECK_TOPICS_S", OFTEN_S)
    producer = Producer({"bootstrap.servers": pipeline.bootstrap, "transactional.id": pipeline.layout.prefix})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(pipeline.layout.wire_name("bars"), encode("bars", bar(1)), b"S1", 1)
    producer.flush(10)

    def named() -> list[str]:
        return [record.getMessage() for record in caplog.records if "withheld" in record.getMessage()]

    with pipeline.running() as sink:
        eventually("the transaction is named", named)
        time.sleep(3 * OFTEN_S)
        assert len(named()) == 1 and f"transactional id {pipeline.layout.prefix}" in named()[0]
        assert (sink.stats.read, lag(pipeline.url, pipeline.cluster)["bars"]) == (0, 0)
        producer.commit_transaction(20)
        eventually("the record is read", lambda: sink.stats.inserted == 1)


def _last_lag(pipeline: Pipeline) -> int | None:
    beats = [decode("heartbeats", beat.value) for beat in read_events(pipeline.cluster, ["heartbeats"])]
    return beats[-1]["lag"] if beats else None


# -- another log under the same name


def test_a_topic_made_anew_while_the_sink_is_stopped_is_adopted_and_each_record_applied_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.send("bars", [bar(n) for n in range(10)])
    pipeline.drain()
    known = _id(pipeline, "bars")
    _make_anew(pipeline, "bars")
    pipeline.send("bars", [bar(n) for n in range(5, 30)])
    with pytest.raises(Fatal, match=r"topic bars was recreated.*tape sink --adopt bars` once") as refused:
        pipeline.run()
    assert short(known) in str(refused.value) and refused.value.value == short(_id(pipeline, "bars"))
    assert pipeline.rows("bars") == 10

    (tmp_path / "tape.toml").write_text(Config().to_toml())
    told = {"DATABASE_URL": pipeline.url, "TAPE_CONFIG": str(tmp_path / "tape.toml")}
    for variable, value in (pipeline.cluster.environment() | told).items():
        monkeypatch.setenv(variable, value)
    sink_command(adopt=["bars"])
    assert "will be read from its start" in capsys.readouterr().out
    assert "nothing to adopt" in _adopt(pipeline, "bars", "signals")[0]
    sink = pipeline.drain()
    assert (sink.stats.inserted, sink.stats.repeats, sink.stats.conflicts) == (20, 5, 0)
    assert _bars(pipeline) == (Rows(now=25, earlier=5), 25)
    places = pipeline.query("SELECT count(*) FROM t_bars WHERE first_topic_id = %s", known)
    assert places == [(10,)]
    assert pipeline.drain().stats.read == 0


def test_a_topic_made_anew_or_wider_while_the_sink_runs_stops_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "CHECK_TOPICS_S", OFTEN_S)
    pipeline.send("bars", [bar(n) for n in range(10)])
    with pytest.raises(Fatal, match=r"recreated|is missing"), pipeline.running():
        pipeline.wait()
        _make_anew(pipeline, "bars")
        pipeline.send("bars", [bar(n) for n in range(100, 140)])
        time.sleep(4 * OFTEN_S)
    _adopt(pipeline, "bars")
    pipeline.drain()
    assert _bars(pipeline) == (Rows(now=40, earlier=10), 40)

    wire, admin = pipeline.layout.wire_name("bars"), _admin(pipeline)
    with pytest.raises(CatalogueMismatch, match="3 partitions, but the layout says 2"), pipeline.running():
        pipeline.wait()
        admin.create_partitions([NewPartitions(wire, 3)])[wire].result(10)
        time.sleep(4 * OFTEN_S)


def test_a_log_that_ends_before_what_was_read_is_refused_and_read_again(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(10)])
    pipeline.drain()
    pipeline.query("UPDATE sink_offsets SET next_offset = 999 WHERE topic = 'bars' RETURNING 1")
    with pytest.raises(Fatal, match=r"up to 999, but the topic ends at .*tape sink --adopt bars"):
        pipeline.run()
    assert "partition 0, 1 will be read from its start" in _adopt(pipeline, "bars")[0]
    sink = pipeline.drain()
    assert (sink.stats.inserted, sink.stats.repeats) == (0, 10)
    assert _bars(pipeline) == (Rows(10, 0), 10)


# -- a store of the former revision


def test_a_store_without_topic_ids_is_gone_on_with(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(10)])
    pipeline.drain()
    owner = pipeline.query("SELECT cluster_id FROM audit_clusters")
    downgrade(pipeline.url, pipeline.layout.prefix, "0001")
    assert pipeline.query("SELECT sum(next_offset) FROM sink_offsets WHERE topic = 'bars'") == [(10,)]
    upgrade(pipeline.url, pipeline.layout.prefix)
    assert pipeline.query("SELECT cluster_id FROM audit_clusters") == owner
    assert pipeline.query("SELECT count(first_topic_id), count(*) FROM t_bars") == [(0, 10)]
    assert lag(pipeline.url, pipeline.cluster)["bars"] == 0

    pipeline.send("bars", [bar(n) for n in range(5, 15)])
    sink = pipeline.drain()
    assert (sink.stats.read, sink.stats.inserted, sink.stats.repeats) == (10, 5, 5)
    assert _bars(pipeline) == (Rows(15, 0), 15)
    assert pipeline.query("SELECT count(*) FROM relogged") == [(0,)]


def test_a_store_without_topic_ids_whose_topic_was_made_anew_is_not_gone_on_with(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(10)])
    pipeline.drain()
    downgrade(pipeline.url, pipeline.layout.prefix, "0001")
    _make_anew(pipeline, "bars")
    upgrade(pipeline.url, pipeline.layout.prefix)
    with pytest.raises(Fatal, match="the topic ends at 0"):
        pipeline.run()
    _adopt(pipeline, "bars")
    pipeline.send("bars", [bar(n) for n in range(8, 12)])
    pipeline.drain()
    assert _bars(pipeline) == (Rows(now=4, earlier=8), 4)


# -- another cluster


def test_a_store_of_another_cluster_is_refused_and_taken_over_by_order_only(pipeline: Pipeline) -> None:
    pipeline.send("bars", [bar(n) for n in range(5)])
    with connect(pipeline.url, pipeline.layout.prefix) as connection:
        claim(connection, "elsewhere")
    with pytest.raises(Fatal, match=r"the audit of the Kafka cluster elsewhere.*--moved-from elsewhere"):
        pipeline.run()
    with pytest.raises(Fatal, match="cluster elsewhere"):
        _adopt(pipeline, "bars", moved_from="somewhere")
    assert pipeline.rows("bars") == 0
    _adopt(pipeline, moved_from="elsewhere")
    assert pipeline.drain().stats.inserted == 5
    with (
        connect(pipeline.url, pipeline.layout.prefix) as connection,
        pytest.raises(Fatal, match="got 'elsewhere'"),
    ):
        claim(connection, "elsewhere")
