"""Columns to and from a real broker, held against librdkafka in both directions."""

import pickle
import time
from itertools import chain

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tapedeck.connectors.kafka.bulk import fetches
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.connection import Connection, Passing
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, read_topic
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import cache_dir
from tapedeck.topics.catalogue import Layout

pytestmark = pytest.mark.integration

NAME = "bars"
T0 = 1_381_411_800_000
SILENT_S = 1.0
FRAME = 61 + 9
"""Bytes of a batch beside key and value of its one record, whose value is some thousand bytes long."""


def layout_with_topic(bootstrap, prefix, partitions=1, **config):
    layout = Layout(prefix, symbol_partitions=partitions)
    settings = {"retention.ms": "-1"} | {name.replace("_", "."): value for name, value in config.items()}
    new = NewTopic(layout.wire_name(NAME), partitions, 1, config=settings)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([new]).values():
        future.result(20)
    return layout


def message(offset, partition=0, size=50):
    """A record; among them are those without key, value or headers, and times that go back."""
    key = None if offset % 11 == 3 else b"SYM%02d" % (offset % 28)
    value = None if offset % 7 == 5 else bytes([offset % 256]) * (size + offset % 40)
    headers = (("ce_id", b"%d" % offset), ("", b""), ("ce_type", b"bar"))[: offset % 4]
    return Message(NAME, partition, offset, T0 + 1000 * offset - 5000 * (offset % 5), key, value, headers)


def messages_of(source, part, start, end):
    return list(chain.from_iterable(block.messages() for block in source.stream(part, start, end)))


def everything(source):
    return [
        m for part, (low, end) in source.ends([NAME]).items() for m in messages_of(source, part, low, end)
    ]


def produce(cluster, messages, **settings):
    """By librdkafka, as any producer of the field would."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 50, **settings})
    topic = cluster.layout.wire_name(NAME)
    if transactional := "transactional.id" in settings:
        producer.init_transactions(30)
        producer.begin_transaction()
    for m in messages:
        producer.produce(
            topic, m.value, m.key, m.partition, timestamp=m.timestamp, headers=list(m.headers) or None
        )
    if transactional:
        producer.commit_transaction(30)
    assert producer.flush(30) == 0


def test_what_the_writer_writes_librdkafka_reads_byte_for_byte(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix, partitions=3)
    written = {p: [message(n, p) for n in range(1000 + p)] for p in range(3)}
    with BulkWriter(Cluster(kafka.bootstrap, layout), batch_bytes=4000) as writer:
        for at in range(0, 1100, 100):
            for messages in written.values():
                if messages[at : at + 100]:
                    writer.write(Block.of(messages[at : at + 100]))
        assert writer.flush() == {(NAME, p): len(messages) - 1 for p, messages in written.items()}
        assert writer.flush() == {(NAME, p): len(messages) - 1 for p, messages in written.items()}
    read = read_topic(Cluster(kafka.bootstrap, layout), NAME)
    for p, messages in written.items():
        assert [m for m in read if m.partition == p] == messages
    assert everything(KafkaSource(Cluster(kafka.bootstrap, layout))) == list(
        chain.from_iterable(written.values())
    )


def test_what_the_outbox_writes_the_source_reads(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix)
    written = [message(n)._replace(key=b"k") for n in range(500)]
    outbox = Outbox(Cluster(kafka.bootstrap, layout), "test")
    outbox.write(Wire(NAME, 0, b"k", m.value, m.timestamp, list(m.headers)) for m in written)
    outbox.close()
    source = pickle.loads(pickle.dumps(KafkaSource(Cluster(kafka.bootstrap, layout))))
    assert source.ends([NAME]) == {(NAME, 0): (0, 500)}
    assert messages_of(source, (NAME, 0), 0, 500) == written
    assert messages_of(source, (NAME, 0), 123, 321) == written[123:321]
    assert messages_of(source, (NAME, 0), 123, 123) == []


def test_the_compression_of_any_producer_is_unpacked(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix)
    written = []
    for name in ("none", "lz4", "zstd", "gzip", "snappy"):
        batch = [message(len(written) + n, size=200) for n in range(400)]
        produce(Cluster(kafka.bootstrap, layout), batch, **{"compression.type": name})
        written += batch
    assert everything(KafkaSource(Cluster(kafka.bootstrap, layout))) == written


def test_many_fetches_give_every_record_once(kafka, prefix, monkeypatch):
    monkeypatch.setattr(fetches, "FETCH_BYTES", 5000)
    layout = layout_with_topic(kafka.bootstrap, prefix)
    written = [message(n) for n in range(2000)]
    with BulkWriter(Cluster(kafka.bootstrap, layout), batch_bytes=2000) as writer:
        writer.write(Block.of(written))
    blocks = list(KafkaSource(Cluster(kafka.bootstrap, layout)).stream((NAME, 0), 0, 2000))
    assert len(blocks) > 10, "one fetch brought it all"
    assert [m for block in blocks for m in block.messages()] == written


def test_the_time_index_gives_the_first_offset_at_a_time(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix)
    with BulkWriter(Cluster(kafka.bootstrap, layout)) as writer:
        writer.write(Block.of([message(n)._replace(timestamp=T0 + 1000 * n) for n in range(100)]))
    source = KafkaSource(Cluster(kafka.bootstrap, layout))
    at = {us: source.offset_at((NAME, 0), us) for us in (-5, 0, T0 * 1000, (T0 + 4000) * 1000)}
    assert at == {-5: 0, 0: 0, T0 * 1000: 0, (T0 + 4000) * 1000: 4}
    assert source.offset_at((NAME, 0), (T0 + 4000) * 1000 + 1) == 5
    assert source.offset_at((NAME, 0), (T0 + 99_000) * 1000 + 1) == 100, "the end where nothing is so late"
    assert source.first_timestamp((NAME, 0)) == T0


def test_an_empty_partition_has_ends_and_no_records(kafka, prefix):
    source = KafkaSource(Cluster(kafka.bootstrap, layout_with_topic(kafka.bootstrap, prefix)))
    assert source.ends([NAME]) == {(NAME, 0): (0, 0)}
    assert messages_of(source, (NAME, 0), 0, 0) == []
    assert source.first_timestamp((NAME, 0)) is None
    assert source.offset_at((NAME, 0), T0) == 0


def test_offsets_without_records_are_passed_over(kafka, prefix):
    """A transaction's end takes an offset that no reader sees: here in the middle, and as the last."""
    layout = layout_with_topic(kafka.bootstrap, prefix)
    for n in range(2):
        produce(Cluster(kafka.bootstrap, layout), [message(n)], **{"transactional.id": prefix})
    source = KafkaSource(Cluster(kafka.bootstrap, layout))
    assert source.ends([NAME]) == {(NAME, 0): (0, 4)}
    started = time.monotonic()
    assert [m.offset for m in messages_of(source, (NAME, 0), 0, 4)] == [0, 2]
    assert time.monotonic() - started < 5, "the end was waited for"


def test_deleted_offsets_are_an_error_that_says_what_is_kept(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix)
    with BulkWriter(Cluster(kafka.bootstrap, layout)) as writer:
        writer.write(Block.of([message(n) for n in range(100)]))
    gone = TopicPartition(layout.wire_name(NAME), 0, 40)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_records([gone]).values():
        future.result(20)
    source = KafkaSource(Cluster(kafka.bootstrap, layout))
    assert source.ends([NAME]) == {(NAME, 0): (40, 100)}
    with pytest.raises(Fatal, match=rf"{prefix}.bars has no offset 39.*offsets 40 to 99 are kept"):
        messages_of(source, (NAME, 0), 39, 100)
    assert [m.offset for m in messages_of(source, (NAME, 0), 40, 100)] == list(range(40, 100))
    assert source.first_timestamp((NAME, 0)) == message(40).timestamp


def test_a_topic_that_is_not_there_is_named_with_what_to_do(kafka, prefix):
    layout = Layout(prefix)
    with pytest.raises(Fatal, match=rf"topic {prefix}.bars cannot be read.*tape topics --create"):
        KafkaSource(Cluster(kafka.bootstrap, layout)).ends([NAME])
    with pytest.raises(Fatal, match=rf"topic {prefix}.bars cannot be read"):
        messages_of(KafkaSource(Cluster(kafka.bootstrap, layout)), (NAME, 0), 0, 1)
    with pytest.raises(Fatal, match=rf"topic {prefix}.bars cannot be read"):
        BulkWriter(Cluster(kafka.bootstrap, layout)).write(Block.of([message(0)]))
    assert (
        f"{prefix}.bars"
        not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
    )


@pytest.mark.parametrize("counted", [1, 3])
def test_another_partition_count_than_the_layout_s_is_refused_by_every_reader(kafka, prefix, counted):
    layout_with_topic(kafka.bootstrap, prefix, partitions=2)
    cluster = Cluster(kafka.bootstrap, Layout(prefix, symbol_partitions=counted))
    said = rf"{prefix}.bars has 2 partitions, but the layout says {counted}.*set TAPE_SYMBOL_PARTITIONS=2 if"
    for read in (
        lambda: KafkaSource(cluster).ends([NAME]),
        lambda: ends_of(cluster, [NAME]),
        lambda: read_topic(cluster, NAME),
        lambda: last_watermarks(cluster, (NAME,)),
    ):
        with pytest.raises(Fatal, match=said) as error:
            read()
        assert "delete" not in str(error.value)


def test_batches_keep_below_what_the_topic_takes_and_a_larger_record_is_named(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix, max_message_bytes="3000")
    written = [message(n) for n in range(500)]
    with BulkWriter(Cluster(kafka.bootstrap, layout)) as writer:
        writer.write(Block.of([*written, message(500)._replace(key=None, value=b"x" * (3000 - FRAME))]))
        with pytest.raises(
            Fatal, match=r"no batch of 3000 bytes or more; got b'BIG'; raise its max.message.bytes"
        ):
            writer.write(Block.of([message(0)._replace(key=b"BIG", value=b"x" * (2998 - FRAME))]))
    found = everything(KafkaSource(Cluster(kafka.bootstrap, layout)))
    assert found[:500] == written and len(found) == 501


def test_a_batch_whose_answer_was_lost_is_sent_again_and_stands_there_once(kafka, prefix, monkeypatch):
    layout = layout_with_topic(kafka.bootstrap, prefix, partitions=2)
    written = {p: [message(n, p) for n in range(300)] for p in range(2)}
    lost, answer = [], Connection.answer

    def forgetful(connection):
        found = answer(connection)
        produced = hasattr(found, "topics") and "ProduceResponse" in type(found).__name__
        if (
            len(lost) < 5
            and produced
            and all(code == 0 for _, parts in found.topics for _, code, *_ in parts)
        ):
            lost.append(found.topics)
            raise Passing("the connection broke")
        return found

    monkeypatch.setattr(Connection, "answer", forgetful)
    with BulkWriter(Cluster(kafka.bootstrap, layout), batch_bytes=2000) as writer:
        for messages in written.values():
            writer.write(Block.of(messages))
        assert writer.flush() == {(NAME, 0): 299, (NAME, 1): 299}
    assert len(lost) == 5, "no answer was lost"
    assert everything(KafkaSource(Cluster(kafka.bootstrap, layout))) == [*written[0], *written[1]]


def test_reading_leaves_no_consumer_group_behind(kafka, prefix):
    layout = layout_with_topic(kafka.bootstrap, prefix)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def groups():
        return {group.group_id for group in admin.list_consumer_groups().result(20).valid}

    before = groups()
    produce(Cluster(kafka.bootstrap, layout), [message(0)])
    assert len(everything(KafkaSource(Cluster(kafka.bootstrap, layout)))) == 1
    assert groups() == before


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A broker that a test may freeze."""
    broker = EmbeddedKafka(tmp_path_factory.mktemp("kafka-own"), cache_dir())
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def test_a_frozen_broker_is_a_retry_in_time_and_thawed_everything_stands_there_once(own, prefix):
    layout = layout_with_topic(own.bootstrap, prefix)
    source = KafkaSource(Cluster(own.bootstrap, layout), SILENT_S)
    writer = BulkWriter(Cluster(own.bootstrap, layout), SILENT_S)
    written = [message(n) for n in range(3000)]
    writer.write(Block.of(written[:1000]))
    assert writer.flush() == {(NAME, 0): 999}
    own.freeze()
    try:
        writer.write(Block.of(written[1000:]))
        for attempt in (
            lambda: source.ends([NAME]),
            lambda: messages_of(source, (NAME, 0), 0, 1000),
            lambda: source.offset_at((NAME, 0), T0 * 1000),
            writer.flush,
            writer.flush,
        ):
            started = time.monotonic()
            with pytest.raises(Retry, match=rf"{own.bootstrap} sent nothing for {SILENT_S:g} s.*it runs"):
                attempt()
            assert SILENT_S * 0.9 < time.monotonic() - started < SILENT_S * 3
    finally:
        own.thaw()
    assert writer.flush() == {(NAME, 0): 2999}
    assert messages_of(source, (NAME, 0), 0, 3000) == written
    consumer = new_consumer(Cluster(own.bootstrap))
    assert consumer.get_watermark_offsets(TopicPartition(layout.wire_name(NAME), 0), timeout=10) == (0, 3000)
    consumer.close()
    writer.close()
