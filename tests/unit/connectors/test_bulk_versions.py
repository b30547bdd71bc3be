"""The bulk reader before brokers of other versions, and before one that wants to be asked less."""

import struct
import time
from itertools import pairwise

import pytest
from aiokafka.protocol.fetch import FetchRequest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.blocks import Block
from tests.support.scripted_broker import (
    FETCH,
    LAYOUT,
    NOT_LEADER,
    OFFSETS,
    PART,
    PRODUCE,
    SILENT_S,
    SPOKEN,
    VERSIONS,
    Break,
    Scripted,
    batch,
    fetched,
    messages,
    offsets,
    produced,
    read,
)


@pytest.fixture
def broker():
    broker = Scripted()
    yield broker
    broker.close()


def speak_fetch(broker, version):
    """Let the broker speak this version at most, and answer in it."""
    broker.spoken[FETCH] = version
    (kind,) = [each for each in FetchRequest._CLASSES if version == each.API_VERSION]
    broker.schemas[FETCH] = kind.RESPONSE_TYPE.SCHEMA


def in_version(answer, version):
    """An answer of version 11 in an older one."""
    throttle, code, session, topics = answer
    topics = [
        (name, [
            (part, error, high, end, *([low] if version >= 5 else []), aborted,
             *([replica] if version >= 11 else []), records)
            for part, error, high, end, low, aborted, replica, records in parts
        ])
        for name, parts in topics
    ]  # fmt: skip
    return (throttle, *((code, session) if version >= 7 else ()), topics)


@pytest.mark.parametrize("version", [4, 5, 6, 7, 8, 9, 10, 11])
def test_every_version_of_fetch_that_knows_committed_records_is_read(broker, version):
    speak_fetch(broker, version)
    script = [fetched(code=NOT_LEADER), fetched(batch(0)), fetched(throttle=20), fetched(batch(3))]
    broker.answers[FETCH] = [in_version(each, version) for each in script]
    assert read(broker) == [0, 1, 2, 3, 4, 5]
    assert {struct.unpack_from(">hh", request) for request in broker.asked[FETCH]} == {(FETCH, version)}


def test_the_error_of_a_whole_fetch_is_told_in_every_version_that_has_one(broker):
    speak_fetch(broker, 7)
    broker.answers[FETCH] = [
        (0, 56, 0, []),
        in_version(fetched(batch(0)), 7),
        in_version(fetched(batch(3)), 7),
    ]
    assert read(broker) == [0, 1, 2, 3, 4, 5]


def test_a_broker_too_old_to_tell_committed_records_is_named_with_its_versions(broker):
    broker.spoken[FETCH] = 3
    with pytest.raises(Fatal, match=r"FetchRequest that this release knows; got 'v0 to v3'; use Kafka 0.11"):
        read(broker)
    assert not broker.asked[FETCH]


def test_a_broker_too_new_is_named_with_its_versions(broker):
    broker.answers[VERSIONS] = [(0, [(key, 40 if key == FETCH else 0, 50) for key in SPOKEN])]
    with pytest.raises(Fatal, match=r"got 'v40 to v50'; use a newer tapedeck.* up to v11"):
        read(broker)


def waited(broker, key):
    """Seconds between a broker's requests of one kind."""
    times = broker.times[key]
    return [after - before for before, after in pairwise(times)]


def test_a_reader_waits_as_long_as_the_broker_says(broker):
    broker.answers[FETCH] = [fetched(batch(0), throttle=300), fetched(throttle=200), fetched(batch(3))]
    assert read(broker) == [0, 1, 2, 3, 4, 5]
    first, second = waited(broker, FETCH)
    assert first >= 0.29 and second >= 0.19


def test_throttling_longer_than_patience_is_no_silence(broker):
    broker.answers[FETCH] = [
        *[fetched(throttle=250)] * 4, fetched(batch(0), throttle=900), Break(), fetched(batch(3)),
    ]  # fmt: skip
    started = time.monotonic()
    assert read(broker) == [0, 1, 2, 3, 4, 5]
    assert time.monotonic() - started > 3 * SILENT_S, "nothing was waited for"


def test_offsets_are_not_asked_for_while_the_broker_wants_quiet(broker):
    broker.answers[OFFSETS] = [(400, *offsets(0)[1:]), offsets(6)]
    assert KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).ends(["bars"]) == {PART: (0, 6)}
    assert waited(broker, OFFSETS)[0] >= 0.39


def test_a_writer_waits_as_long_as_the_broker_says(broker):
    broker.answers[PRODUCE] = [(produced(0)[0], 800), produced(3)]
    writer = BulkWriter(Cluster(broker.bootstrap, LAYOUT), SILENT_S)
    for _ in range(2):
        writer.write(Block.of(messages(3)))
        writer.flush()
    assert waited(broker, PRODUCE)[0] >= 0.79, "longer than its patience"


def test_records_behind_an_open_transaction_are_named_where_they_are_asked_for(broker):
    broker.answers[FETCH] = [
        fetched(batch(0), end=3), (0, 0, 1, [("p.bars", [(0, 0, 9, 3, 0, None, -1, b"")])]),
    ]  # fmt: skip
    with pytest.raises(Retry, match=r"open transaction withholds offsets 3 to 8.*kafka-transactions"):
        read(broker)
