"""Bars of a producer that writes no watermarks, with another partitioner: `tape watermark` mends both."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.whole import rebuild_stage
from tests.chaos.clean import a_log
from tests.conftest import Broker
from tests.support.live import Workers, eventually
from tests.support.sim_tapes import CONFIG

pytestmark = pytest.mark.integration


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def produce(cluster: Cluster, **settings: str) -> list[int]:
    """The log's bars without its watermarks, in the order of their minutes; their event times, micros."""
    out, bars = Producer(cluster.librdkafka("stranger", **settings)), []
    for message in sorted(a_log().messages("bars"), key=lambda each: (each.timestamp, each.offset)):
        if message.value is not None:
            place = {} if settings else {"partition": message.partition}
            out.produce(
                cluster.layout.wire_name("bars"),
                message.value,
                message.key,
                timestamp=message.timestamp,
                **place,
            )
            bars.append(message.timestamp * 1000)
    assert out.flush(30) == 0
    return bars


def features(cluster: Cluster) -> dict[str, str]:
    with KafkaSource(cluster) as source:
        found = rebuild_stage(TOPOLOGY.stage("features"), source, CONFIG, xnys())
        return found.digests() | {"refused": str(found.counts["NO_WATERMARK"])}


@pytest.mark.long
def test_a_backlog_is_copied_with_watermarks_and_into_the_partitions_of_its_keys(workers: Workers) -> None:
    workers.write(a_log())
    played = features(workers.cluster)
    assert played["refused"] == "0"
    strange = workers.cluster.under(f"{workers.layout.prefix}.strange")
    workers.tape("topics", "--create", "--prefix", strange.prefix).wait(60)
    bars = produce(strange, partitioner="consistent_random")
    assert features(strange)["refused"] == str(len(bars)), "without watermarks nothing is taken"
    into = f"{workers.layout.prefix}.marked"
    done = workers.tape("watermark", "--prefix", strange.prefix, "--into", into)
    assert done.wait(60) == 0, workers.log_of("watermark", "--prefix", strange.prefix, "--into", into)
    copied = features(workers.cluster.under(into))
    # When a late bar came is not in the log: the copy has it in its place, where the played one rolls back.
    assert {what: each for what, each in copied.items() if what != "features"} == {
        what: each for what, each in played.items() if what != "features"
    }


def test_bars_that_arrive_are_marked_by_the_minute(workers: Workers) -> None:
    first = min(m.timestamp for m in a_log().messages("bars") if m.value is not None) * 1000 - 60_000_000
    begin = datetime.fromtimestamp(first // 1_000_000, tz=UTC).isoformat()
    process = workers.tape("watermark", "--grace", "0.5", "--first", begin)
    opened = first - 60_000_000
    eventually(lambda: set(last_watermarks(workers.cluster, SOURCES).values()) == {opened}, "it has begun")
    bars = produce(workers.cluster)
    newest = max(bars) - 60_000_000  # the last minute is over when nothing has come for a minute
    eventually(
        lambda: set(last_watermarks(workers.cluster, SOURCES).values()) == {newest - 60_000_000},
        "every minute but the last is marked",
    )
    process.send_signal(signal.SIGINT)
    process.wait(10)
    assert features(workers.cluster)["refused"] == "0"
