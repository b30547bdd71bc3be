"""The bulk reader and writer before a broker that answers by a script: elections, breaks, refusals."""

import struct
import time

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.blocks import Block
from tests.support.scripted_broker import (
    CORRUPT,
    DUPLICATE,
    FETCH,
    LAYOUT,
    METADATA,
    NO_LEADER,
    NOT_LEADER,
    OFFSETS,
    PART,
    PRODUCE,
    PRODUCER,
    SILENCE,
    SILENT_S,
    TOO_FEW_REPLICAS,
    TOO_LARGE,
    UNKNOWN_PRODUCER,
    UNKNOWN_TOPIC,
    VERSIONS,
    Break,
    Raw,
    Scripted,
    batch,
    fetched,
    messages,
    offsets,
    produced,
    read,
    written,
)


@pytest.fixture
def broker():
    broker = Scripted()
    yield broker
    broker.close()


def test_the_script_serves_a_whole_partition(broker):
    broker.answers[FETCH] = [fetched(batch(0)), fetched(batch(3))]
    broker.answers[OFFSETS] = [offsets(0), offsets(6)]
    assert KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"]) == {PART: (0, 6)}
    assert read(broker) == [0, 1, 2, 3, 4, 5]


def test_an_election_is_waited_for_where_ends_are_asked(broker):
    broker.answers[METADATA] = [broker.metadata(leader=-1)] * 3 + [
        broker.metadata(code=NO_LEADER),
        broker.metadata(),
    ]
    broker.answers[OFFSETS] = [offsets(-1, NOT_LEADER), offsets(2), offsets(6)]
    assert KafkaSource(Cluster(broker.bootstrap, LAYOUT), 3).ends(["bars"]) == {PART: (2, 6)}
    assert len(broker.asked[METADATA]) > 4 and len(broker.asked[OFFSETS]) == 3


def test_a_topic_made_a_moment_ago_is_waited_for(broker):
    broker.answers[METADATA] = [broker.metadata(code=UNKNOWN_TOPIC), broker.metadata()]
    broker.answers[OFFSETS] = [offsets(0), offsets(6)]
    assert KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"]) == {PART: (0, 6)}
    assert len(broker.asked[METADATA]) == 2


def test_a_topic_that_is_not_there_is_fatal_within_seconds(broker):
    broker.answers[METADATA] = [broker.metadata(code=UNKNOWN_TOPIC)]
    with pytest.raises(Fatal, match=r"p.bars cannot be read: the cluster does not have it"):
        KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"])


def test_an_election_without_end_is_a_retry(broker):
    broker.answers[METADATA] = [broker.metadata(leader=-1)]
    with pytest.raises(Retry, match=r"sent nothing for 0.6 s while the ends.*p.bars/0 has no leader"):
        KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"])


@pytest.mark.parametrize(
    "fault",
    [fetched(code=NOT_LEADER), fetched(code=TOO_FEW_REPLICAS), (0, 56, 0, []), Break(), Break(3), Break(8)],
)
def test_a_fetch_that_fails_for_the_moment_is_asked_again(broker, fault):
    broker.answers[FETCH] = [fetched(batch(0)), fault, fault, fetched(batch(3))]
    assert read(broker) == [0, 1, 2, 3, 4, 5]
    assert len(broker.asked[FETCH]) == 4
    assert len(broker.asked[METADATA]) == 3, "the leader was not asked for anew"


def test_a_throttled_answer_without_records_is_not_the_end(broker):
    broker.answers[FETCH] = [fetched(throttle=50), fetched(batch(0)), fetched(throttle=50), fetched(batch(3))]
    assert read(broker) == [0, 1, 2, 3, 4, 5]


def test_an_answer_without_records_is_the_end_where_the_log_goes_that_far(broker):
    broker.answers[FETCH] = [fetched(batch(0), end=9), fetched(end=9)]
    assert read(broker, 0, 9) == [0, 1, 2]


def test_a_log_that_ends_before_the_offset_asked_for_is_a_retry_that_says_so(broker):
    broker.answers[FETCH] = [fetched(batch(0), end=3), fetched(end=3)]
    with pytest.raises(Retry, match="read at offset 3; got 'the log ends at offset 3, before offset 6'"):
        read(broker)


def test_a_broker_that_falls_silent_in_a_fetch_is_a_retry(broker):
    broker.answers[FETCH] = [fetched(batch(0)), SILENCE]
    started = time.monotonic()
    with pytest.raises(
        Retry, match=r"sent nothing for 0.6 s while p.bars/0 was read at offset 3; got .*timed out"
    ):
        read(broker)
    assert SILENT_S * 0.9 < time.monotonic() - started < SILENT_S * 2


def test_a_broker_that_does_not_answer_at_all_is_a_retry(broker):
    broker.answers[VERSIONS] = [SILENCE]
    with pytest.raises(Retry, match="sent nothing"):
        KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"])


def test_what_is_no_broker_is_named(broker):
    broker.answers[VERSIONS] = [Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")]
    with pytest.raises(Fatal, match=rf"answers at {broker.bootstrap} does not speak Kafka; got b'HTTP/1.1'"):
        KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"])


def test_an_answer_out_of_turn_is_not_taken(broker):
    broker.answers[FETCH] = [Raw(struct.pack(">iii", 8, 99, 0))]
    with pytest.raises(Fatal, match="does not speak Kafka"):
        read(broker)


def test_nobody_there_is_a_retry(broker):
    broker.close()
    with pytest.raises(Retry, match=r"sent nothing for 0.6 s.*refused"):
        read(broker)


def test_a_refusal_for_good_is_fatal_with_its_name(broker):
    broker.answers[FETCH] = [fetched(code=CORRUPT)]
    with pytest.raises(
        Fatal, match=r"the broker refused: reading p.bars/0 at offset 0: CorruptRecord.* \(2\)"
    ):
        read(broker)


def test_a_stream_left_early_leaves_no_answer_behind(broker):
    broker.answers[FETCH] = [fetched(batch(0)), fetched(batch(3)), fetched(batch(0)), fetched(batch(3))]
    source = KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S)
    stream = source.stream(PART, 0, 6)
    assert next(stream).offsets.tolist() == [0, 1, 2]
    while len(broker.asked[FETCH]) < 2:
        time.sleep(0.01)
    stream.close()
    assert [m.offset for block in source.stream(PART, 0, 6) for m in block.messages()] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "fault", [produced(-1, NOT_LEADER), produced(-1, TOO_FEW_REPLICAS), Break(), Break(5), SILENCE]
)
def test_a_batch_that_fails_for_the_moment_is_sent_again_as_it_was(broker, fault):
    broker.answers[PRODUCE] = [fault, produced(40)]
    writer = BulkWriter(Cluster(broker.bootstrap, LAYOUT), SILENT_S)
    writer.write(Block.of(messages(3)))
    if fault is SILENCE:
        with pytest.raises(Retry, match="sent nothing"):
            writer.flush()
    assert writer.flush() == {PART: 42}
    first, second = broker.asked[PRODUCE]
    assert first[-100:] == second[-100:], "the same sequence and bytes"


def test_sequences_go_on_over_batches(broker):
    broker.answers[PRODUCE] = [produced(0), produced(3)]
    writer = BulkWriter(Cluster(broker.bootstrap, LAYOUT), SILENT_S)
    for _ in range(2):
        writer.write(Block.of(messages(3)))
        writer.flush()
    found = [
        request[request.index(struct.pack(">qh", 4711, 0)) + 10 :][:4] for request in broker.asked[PRODUCE]
    ]
    assert [struct.unpack(">i", each)[0] for each in found] == [0, 3]


def test_a_duplicate_counts_as_written(broker):
    broker.answers[PRODUCE] = [produced(-1, DUPLICATE)]
    found, requests = written(broker)
    assert found == {PART: 2}
    assert len(requests) == 1


def test_a_log_that_forgot_the_writer_is_a_retry_of_the_whole(broker):
    broker.answers[PRODUCE] = [produced(-1, UNKNOWN_PRODUCER)]
    with pytest.raises(Retry, match=r"p.bars/0 no longer knows this writer.*repeat the whole operation"):
        written(broker)


def test_a_refused_batch_is_fatal_with_its_name(broker):
    broker.answers[PRODUCE] = [produced(-1, TOO_LARGE)]
    with pytest.raises(Fatal, match=r"refused: writing to p.bars/0: MessageSizeTooLarge.* \(10\)"):
        written(broker)


def test_a_producer_id_is_waited_for(broker):
    broker.answers[PRODUCER] = [(0, 15, -1, -1), (0, 0, 4711, 0)]
    broker.answers[PRODUCE] = [produced(0)]
    assert written(broker)[0] == {PART: 2}
    assert len(broker.asked[PRODUCER]) == 2


def test_an_election_is_waited_for_where_records_are_written(broker):
    broker.answers[METADATA] = [broker.metadata(), *[broker.metadata(leader=-1)] * 3, broker.metadata()]
    broker.answers[PRODUCE] = [produced(-1, NOT_LEADER), produced(0)]
    assert written(broker)[0] == {PART: 2}
    assert len(broker.asked[METADATA]) >= 4


def test_what_waits_is_bounded(broker):
    broker.answers[PRODUCE] = [SILENCE]
    writer = BulkWriter(Cluster(broker.bootstrap, LAYOUT), SILENT_S, batch_bytes=1000, queue_bytes=5000)
    with pytest.raises(Retry, match="bytes were written"):
        for _ in range(10):
            writer.write(Block.of(messages(100)))


def test_nothing_written_is_nothing_to_flush(broker):
    with BulkWriter(Cluster(broker.bootstrap, LAYOUT), SILENT_S) as writer:
        assert writer.flush() == {}
    assert not broker.asked[PRODUCER]


@pytest.fixture
def near():
    made = Scripted()
    yield made
    made.close()


def test_a_reader_with_a_rack_goes_to_the_replica_that_the_leader_names(broker, near):
    broker.answers[METADATA] = [broker.metadata(others=[near])]
    broker.answers[FETCH] = [fetched(nearer=2)]
    near.answers[FETCH] = [fetched(batch(0)), fetched(batch(3))]
    assert read(broker, rack="az-1") == list(range(6))
    assert len(broker.asked[FETCH]) == 1 and len(near.asked[FETCH]) == 2
    assert b"az-1" in broker.asked[FETCH][0]


@pytest.mark.parametrize("code", [1, NOT_LEADER, 78], ids=["out of range", "no replica", "not yet there"])
def test_a_near_replica_that_cannot_answer_is_left_for_the_leader(broker, near, code):
    broker.answers[METADATA] = [broker.metadata(others=[near])]
    broker.answers[FETCH] = [fetched(nearer=2), fetched(batch(0)), fetched(batch(3))]
    near.answers[FETCH] = [fetched(code=code)]
    assert read(broker, rack="az-1") == list(range(6))
    assert len(near.asked[FETCH]) == 1


def test_a_reader_without_a_rack_stays_with_the_leader(broker):
    broker.answers[FETCH] = [fetched(batch(0)), fetched(batch(3))]
    assert read(broker) == list(range(6))
