"""Committed records and holes of a partition's log, from batches as a broker sends them."""

import struct

import numpy as np
import pytest

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.isolation import committed
from tapedeck.connectors.kafka.bulk.records import batches_of
from tapedeck.connectors.kafka.bulk.source import KafkaSource, Look
from tapedeck.connectors.kafka.cluster import Cluster
from tests.support.scripted_broker import FETCH, LAYOUT, PART, SILENT_S, Scripted
from tests.unit.connectors.test_bulk_records import array, batch, changed, simple

COMMIT, ABORT = 1, 0
ONE, TWO, THREE = 4001, 4002, 4003


@pytest.fixture
def broker():
    broker = Scripted()
    yield broker
    broker.close()


def by(producer, content, attributes=K.TRANSACTIONAL):
    """The batch as one of a transactional producer."""
    content = bytearray(content)
    struct.pack_into(">q", content, 43, producer)
    return changed(content, attributes=attributes)


def records(producer, base, count=2, **settings):
    return by(producer, batch(simple(count), base, **settings))


def mark(producer, base, kind):
    """A control batch that ends a transaction of ``producer``."""
    row = (1000, struct.pack(">hh", 0, kind), struct.pack(">hi", 0, 7), [])
    return by(producer, batch([row], base), K.TRANSACTIONAL | K.CONTROL)


def emptied(content):
    """The batch without its records, as compaction leaves it."""
    content = bytearray(content[:61])
    struct.pack_into(">i", content, 8, 49)
    struct.pack_into(">i", content, 57, 0)
    return changed(content)


def wanted(content, *aborted):
    """The first offsets of the batches that count."""
    data = array(content)
    table = batches_of(data, PART)
    return table[committed(data, table, aborted), K.BASE].tolist()


def test_only_the_aborted_transactions_of_two_interleaved_producers_are_left_out():
    content = b"".join(
        [
            records(ONE, 0), records(TWO, 2), batch(simple(2), 4), records(ONE, 6),
            mark(ONE, 8, ABORT), records(TWO, 9), mark(TWO, 11, COMMIT),
            records(ONE, 12), records(TWO, 14), mark(TWO, 16, ABORT), mark(ONE, 17, COMMIT),
        ]
    )  # fmt: skip
    assert wanted(content, (TWO, 14), (ONE, 0)) == [2, 4, 9, 12]
    assert wanted(content) == [0, 2, 4, 6, 9, 12, 14], "a log without aborted transactions is taken as it is"


def test_a_fetch_that_begins_within_an_aborted_transaction_leaves_the_rest_of_it_out():
    content = records(ONE, 6) + mark(ONE, 8, ABORT) + records(ONE, 9) + mark(ONE, 11, COMMIT)
    assert wanted(content, (ONE, 0)) == [9]


def test_a_transaction_that_is_aborted_again_and_again_begins_anew_each_time():
    content = b"".join(
        records(ONE, at) + mark(ONE, at + 2, ABORT if at % 6 else COMMIT) for at in range(0, 18, 3)
    )
    assert wanted(content, *((ONE, at) for at in (3, 9, 15))) == [0, 6, 12]


def test_a_batch_of_the_producer_outside_transactions_counts():
    content = records(ONE, 0) + mark(ONE, 2, ABORT) + by(ONE, batch(simple(2), 3), attributes=0)
    assert wanted(content, (ONE, 0)) == [3]


def test_a_control_batch_that_compaction_emptied_is_passed_over():
    content = emptied(mark(TWO, 0, ABORT)) + records(ONE, 1) + mark(ONE, 3, ABORT) + records(TWO, 4)
    assert wanted(content, (ONE, 1)) == [4]


def answer(content, aborted=(), end=None):
    stable = 1000 if end is None else end
    return (0, 0, 1, [("p.bars", [(0, 0, stable + 50, stable, 0, list(aborted), -1, content)])])


def looked(broker, start, end):
    return KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S).look(PART, start, end)


def offsets_of(look):
    return [message.offset for message in look.messages]


def test_a_look_tells_records_control_batches_and_holes_apart(broker):
    content = b"".join(
        [records(ONE, 0), mark(ONE, 2, ABORT), batch(simple(2), 5), records(TWO, 7), mark(TWO, 9, COMMIT)]
    )
    broker.answers[FETCH] = [answer(content + batch(simple(1), 12), [(ONE, 0)])]
    found = looked(broker, 0, 9)
    assert offsets_of(found) == [5, 6, 7, 8]
    assert (found.holes, found.seen_to) == ([(3, 5), (10, 12)], 13)
    found = looked(broker, 4, 6)
    assert (offsets_of(found), found.holes, found.seen_to) == ([5], [(4, 5), (10, 12)], 13)


def test_a_look_finds_the_holes_within_a_batch(broker):
    content = batch(simple(3), 0, gaps=3) + emptied(batch(simple(2), 7))
    broker.answers[FETCH] = [answer(content)]
    found = looked(broker, 1, 9)
    assert offsets_of(found) == [3, 6]
    assert (found.holes, found.seen_to) == ([(1, 3), (4, 6), (7, 9)], 9)


def test_a_look_over_several_answers_joins_what_they_show(broker):
    broker.answers[FETCH] = [answer(batch(simple(2), 0)), answer(batch(simple(1), 4)), answer(b"")]
    assert looked(broker, 0, 9) == Look(looked_messages(broker), [(2, 4), (5, 9)], 9)


def looked_messages(broker):
    broker.answers[FETCH] = [answer(batch(simple(2), 0)), answer(batch(simple(1), 4)), answer(b"")]
    source = KafkaSource(Cluster(broker.bootstrap, LAYOUT), SILENT_S)
    return [message for block in source.stream(PART, 0, 9) for message in block.messages()]


def test_records_that_an_open_transaction_withholds_are_waited_for(broker):
    broker.answers[FETCH] = [answer(b"", end=0), answer(b"", end=0), answer(records(ONE, 0), end=2)]
    assert offsets_of(looked(broker, 0, 2)) == [0, 1]
    assert len(broker.asked[FETCH]) == 3


@pytest.mark.parametrize("compression", range(5))
def test_an_aborted_batch_is_left_out_however_it_is_compressed(broker, compression):
    content = (
        records(ONE, 0, 50, compression=compression)
        + records(TWO, 50, 50, compression=compression)
        + mark(ONE, 100, ABORT)
        + mark(TWO, 101, COMMIT)
    )
    broker.answers[FETCH] = [answer(content, [(ONE, 0)])]
    found = looked(broker, 0, 102)
    assert (offsets_of(found), found.holes, found.seen_to) == (list(range(50, 100)), [], 102)


def test_all_aborted_transactions_of_an_answer_are_taken_even_where_they_are_many(broker):
    content = b"".join(records(ONE, at) + mark(ONE, at + 2, ABORT) for at in range(0, 900, 3))
    aborted = [(ONE, at) for at in range(0, 900, 3)]
    broker.answers[FETCH] = [answer(content + records(ONE, 900) + mark(ONE, 902, COMMIT), aborted)]
    assert offsets_of(looked(broker, 0, 903)) == [900, 901]


def test_every_request_asks_for_committed_records(broker):
    broker.answers[FETCH] = [answer(batch(simple(2), 0))]
    looked(broker, 0, 2)
    (request,) = broker.asked[FETCH]
    head = 2 + 2 + 4 + 2 + len("tapedeck-bulk")
    isolation = np.frombuffer(request, np.uint8)[head + 16]  # replica, wait, least and most bytes before it
    assert isolation == 1
