"""Topics of transactional producers: every reader takes what is committed, and ends where that ends."""

import random
import time
from itertools import chain

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition
from typer.testing import CliRunner

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk import fetches
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, read_topic, to_message
from tapedeck.connectors.kafka.transactions import open_transactions
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.schemas.codec import encode
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import watermark_wires
from tapedeck.tape.cli.main import app
from tapedeck.tape.recording import read_recording
from tapedeck.topics.catalogue import Layout
from tests.integration.test_bulk_log import NAME, layout_with_topic
from tests.integration.test_cli_log import MINUTE, OPEN, bar

pytestmark = pytest.mark.integration

PART = (NAME, 0)
AT_ONCE_S = 5.0
COMPILED_S = 120.0
"""For a command that may have to compile the kernels first."""
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def transactional(cluster, name, **settings):
    """A producer with an initialized transactional id under the cluster's prefix."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "transactional.id": f"{cluster.prefix}-{name}",
            "linger.ms": 20,
            "log_level": 2,
            **settings,
        }
    )
    producer.init_transactions(30)
    return producer


def by_librdkafka(cluster, part=PART):
    """What librdkafka's read-committed consumer gives of a partition, up to its end; and its bounds."""
    consumer = new_consumer(cluster, **{"enable.partition.eof": True})
    found = []
    try:
        wire = TopicPartition(cluster.layout.wire_name(part[0]), part[1], 0)
        bounds = consumer.get_watermark_offsets(wire, timeout=20)
        consumer.assign([wire])
        while (record := consumer.poll(20)) is not None:
            if record.error() is None:
                found.append(to_message(record, cluster.layout))
            elif record.error().code() == KafkaError._PARTITION_EOF:
                return found, bounds
    finally:
        consumer.close()
    raise AssertionError("librdkafka did not reach the end")


def write_interleaved(cluster, rounds, seed):
    """Transactions of one producer per codec, batch beside batch; a third of them aborted, the last one too.

    Returns (records, aborted ones).
    """
    rng, topic, written, aborted = random.Random(seed), cluster.layout.wire_name(NAME), 0, 0
    producers = [transactional(cluster, name, **{"compression.type": name}) for name in CODECS]
    plain = Producer({"bootstrap.servers": cluster.bootstrap})
    for n in range(rounds):
        counts = dict.fromkeys(range(len(producers)), 0)
        for producer in producers:
            producer.begin_transaction()
        for _ in range(3):
            for each, producer in enumerate(producers):
                for _ in range(rng.randrange(1, 9)):
                    producer.produce(
                        topic,
                        rng.choice([None, b"", b"v" * 90, rng.randbytes(40)]),
                        rng.choice([None, b"k%d" % n]),
                        0,
                        timestamp=OPEN // 1000 + rng.randrange(10_000),
                        headers=rng.choice([None, [("h", b"x")], [("null", None), ("h", b"")]]),
                    )
                    counts[each] += 1
                producer.flush(30)
        plain.produce(topic, b"plain", b"k", 0)
        plain.flush(30)
        written += sum(counts.values()) + 1
        for each in rng.sample(range(len(producers)), len(producers)):
            if rng.random() < 0.35 or n == rounds - 1:
                producers[each].abort_transaction(30)
                aborted += counts[each]
            else:
                producers[each].commit_transaction(30)
    return written, aborted


@pytest.mark.parametrize("fetch_bytes", [fetches.FETCH_BYTES, 3000])
def test_interleaved_transactions_of_every_codec_read_as_librdkafka_reads_them(
    kafka, prefix, monkeypatch, fetch_bytes
):
    monkeypatch.setattr(fetches, "FETCH_BYTES", fetch_bytes)
    cluster = Cluster(kafka.bootstrap, layout_with_topic(kafka.bootstrap, prefix))
    written, aborted = write_interleaved(cluster, 6, seed=7)
    expected, bounds = by_librdkafka(cluster)
    assert 0 < len(expected) == written - aborted < written, "nothing was aborted"
    assert bounds[1] > expected[-1].offset + 1, "the last offset holds a record"
    source = KafkaSource(cluster)
    assert source.ends([NAME]) == ends_of(cluster, [NAME]) == {PART: bounds}
    blocks = list(source.stream(PART, *bounds))
    assert list(chain.from_iterable(block.messages() for block in blocks)) == expected
    assert read_topic(cluster, NAME) == expected
    found = source.look(PART, *bounds)
    assert (found.messages, found.holes, found.seen_to) == (expected, [], bounds[1])
    half = bounds[1] // 2
    assert source.look(PART, half, half + 40).messages == [
        each for each in expected if half <= each.offset < half + 40
    ]


@pytest.fixture
def cluster(kafka, prefix, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", prefix)
    made = Cluster(kafka.bootstrap, Layout(prefix))
    ensure(made)
    return made


def tape(*arguments, within_s=AT_ONCE_S):
    """A command's (standard output, standard error), which must come at once."""
    started = time.monotonic()
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    assert time.monotonic() - started < within_s, "an end without a record was waited for"
    return result.stdout, result.stderr


def send(cluster, producer, body):
    layout = cluster.layout
    producer.produce(
        layout.wire_name(NAME),
        encode(NAME, body),
        body["symbol"].encode(),
        layout.partition(NAME, body),
        timestamp=body["event_time"] // 1000,
    )


def mark(cluster, producer, label):
    for wire in watermark_wires(NAME, label, range(cluster.layout.partitions(NAME))):
        producer.produce(
            cluster.layout.wire_name(NAME), wire.value, wire.key, wire.partition,
            timestamp=wire.timestamp, headers=wire.headers,
        )  # fmt: skip


def test_an_end_of_control_records_and_aborted_ones_is_an_end_for_every_command(cluster):
    producer = transactional(cluster, "bars")
    for minute in range(3):
        for closing in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            send(cluster, producer, bar("NVDA", minute))
            mark(cluster, producer, OPEN + minute * MINUTE)
            producer.flush(30)
            closing(30)
    producer.begin_transaction()
    for minute in range(3, 300):
        send(cluster, producer, bar("NVDA", minute))
        mark(cluster, producer, OPEN + minute * MINUTE)
    producer.flush(30)
    producer.abort_transaction(30)

    read_recording(TOPOLOGY, cluster)  # loads the kernels
    started = time.monotonic()
    recording = read_recording(TOPOLOGY, cluster)
    assert len(recording.bodies(NAME)) == recording[NAME].records == 3
    assert set(last_watermarks(cluster, (NAME,)).values()) == {OPEN + 2 * MINUTE}
    assert time.monotonic() - started < AT_ONCE_S
    shown, _ = tape("tail", NAME, "-n", "50")
    assert shown.count('"NVDA"') == 6, shown  # as a key and in the body
    assert tape("tail", NAME, "-n", "2", "--key", "NVDA")[0].count("\n") == 2
    tape("digest")


def test_a_transaction_that_hangs_open_ends_the_log_for_readers_and_is_named(cluster):
    done = transactional(cluster, "done")
    done.begin_transaction()
    send(cluster, done, bar("NVDA", 0))
    done.commit_transaction(30)
    partition = cluster.layout.partition(NAME, bar("NVDA", 0))
    assert open_transactions(cluster, [NAME, "quotes"]) == []
    assert "withheld" not in tape("topics")[1]

    hanging = transactional(cluster, "hanging", **{"transaction.timeout.ms": 45_000})
    hanging.begin_transaction()
    send(cluster, hanging, bar("NVDA", 1))
    hanging.flush(30)
    plain = Producer({"bootstrap.servers": cluster.bootstrap})
    send(cluster, plain, bar("NVDA", 2))
    plain.flush(30)

    (low, end) = ends_of(cluster, [NAME])[NAME, partition]
    assert (low, end) == (0, 2) == by_librdkafka(cluster, (NAME, partition))[1]
    assert [message.offset for message in read_topic(cluster, NAME)] == [0]
    (found,) = open_transactions(cluster, [NAME, "quotes"])
    assert (found.topic, found.partition, found.first, found.withheld) == (NAME, partition, 2, 2)
    assert found.transactional_id == f"{cluster.prefix}-hanging"
    assert found.producer_id >= 0 and found.producer_epoch >= 0 and found.timeout_ms == 45_000
    assert found.start_ms > OPEN // 1000
    for command in (["topics"], ["tail", NAME], ["digest"], ["rebuild", "features"]):
        shown, said = tape(*command, within_s=COMPILED_S if command[0] == "rebuild" else AT_ONCE_S)
        assert f"bars/{partition}: 2 offsets from 2 on are withheld" in said, command
        assert f"transactional id {cluster.prefix}-hanging" in said and "--start-offset 2" in said
        assert shown, command
    hanging.abort_transaction(30)
    assert open_transactions(cluster, [NAME]) == []
    assert [message.offset for message in read_topic(cluster, NAME)] == [0, 3]
