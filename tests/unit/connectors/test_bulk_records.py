"""The log's record batches as columns, held against aiokafka's own reader and writer."""

import struct

import numpy as np
import pytest
from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.records import batches_of, blocks_of, check, seal
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import Message

PART = ("bars", 2)
FAR = 2**62
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

some_bytes = st.none() | st.binary(max_size=300)
some_headers = st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=20)), max_size=200)
times = st.integers(0, 2**52)
rows = st.lists(st.tuples(times, some_bytes, some_bytes, some_headers | st.just([])), min_size=1, max_size=30)


def batch(rows, base=0, compression=0, attributes=0, gaps=1):
    """A batch of (time, key, value, headers) rows at ``base`` by aiokafka; offsets rise by ``gaps``."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 24,
    )  # fmt: skip
    for n, (time, key, value, headers) in enumerate(rows):
        assert builder.append(n * gaps, time, key, value, headers) is not None
    return changed(builder.build(), base=base, attributes=attributes)


def changed(content, base=None, attributes=0):
    """The batch with another base offset and more attribute bits, and a CRC that fits."""
    content = bytearray(content)
    if base is not None:
        struct.pack_into(">q", content, 0, base)
    struct.pack_into(">h", content, 21, struct.unpack_from(">h", content, 21)[0] | attributes)
    struct.pack_into(">I", content, 17, calc_crc32c(bytes(content[21:])))
    return bytes(content)


def array(content):
    return np.frombuffer(bytearray(content), dtype=np.uint8)


def read(content, start=0, end=FAR):
    """The messages in fetched bytes."""
    data = array(content)
    table = batches_of(data, PART)
    check(data, table, PART)
    return [m for block in blocks_of(data, table, PART, start, end) for m in block.messages()]


def message(offset, row):
    time, key, value, headers = row
    return Message(*PART, offset, time, key, value, tuple(headers))


def simple(count, size=10):
    return [(1000 + n, b"k%d" % n, bytes([n % 256]) * size, [("h", b"x")]) for n in range(count)]


@given(st.lists(rows, max_size=4), st.integers(1, 3))
def test_what_aiokafka_writes_is_read_field_by_field(batches, gaps):
    content, expected, base = b"", [], 7
    for each in batches:
        content += batch(each, base, gaps=gaps)
        expected += [message(base + n * gaps, row) for n, row in enumerate(each)]
        base += len(each) * gaps
    assert (read(content) if batches else []) == expected


@given(rows, st.integers(0, 40), st.integers(0, 40))
def test_a_block_is_trimmed_to_the_offsets_asked_for(rows, start, end):
    expected = [message(5 + n, row) for n, row in enumerate(rows) if start <= 5 + n < end]
    assert read(batch(rows, 5), start, end) == expected


@pytest.mark.parametrize("name", CODECS)
def test_a_compressed_batch_is_unpacked(name):
    rows = simple(500, size=100)
    assert len(batch(rows, compression=CODECS[name])) < len(batch(rows)) / 2, "nothing was compressed"
    content = batch(rows[:3], 0) + b"".join(batch(rows, 3 + 500 * n, CODECS[name]) for n in range(3))
    content += batch(rows[:2], 1503)
    expected = [message(at, row) for at, row in enumerate([*rows[:3], *rows, *rows, *rows, *rows[:2]])]
    assert read(content) == expected
    assert read(content, 600, 700) == expected[600:700]


def test_what_is_unpacked_is_cut_into_blocks_of_a_few_mb():
    rows = simple(10, size=400_000)
    content = b"".join(batch(rows, 10 * n, CODECS["gzip"]) for n in range(5))
    data = array(content)
    blocks = list(blocks_of(data, batches_of(data, PART), PART, 0, FAR))
    assert [len(block) for block in blocks] == [20, 20, 10]
    assert max(len(block.data) for block in blocks) < 9 << 20


@pytest.mark.parametrize("name", ["snappy", "lz4", "zstd"])
def test_a_codec_that_is_not_installed_is_named_with_its_package(name, monkeypatch):
    content = batch(simple(50), compression=CODECS[name])
    monkeypatch.setattr(codec, "cramjam", None)
    with pytest.raises(Fatal, match=rf"{name}.*bars/2.*cramjam"):
        read(content)


@pytest.mark.parametrize("name", CODECS)
def test_a_compressed_batch_that_cannot_be_unpacked_is_damaged(name):
    content = batch(simple(50), 9, CODECS[name])
    content = changed(content[:61] + bytes(reversed(content[61:])))
    with pytest.raises(Fatal, match=rf"bars/2 is damaged: the {name} of the batch at offset 9"):
        read(content)


def test_an_unknown_compression_is_damage():
    with pytest.raises(Fatal, match="names compression 7"):
        read(changed(batch(simple(3)), attributes=7))


def test_a_batch_cut_off_at_the_end_is_left_for_the_next_fetch():
    first, second = batch(simple(3)), batch(simple(3), 3)
    for cut in range(len(second)):
        assert len(read(first + second[:cut])) == 3
    assert len(read(first + second)) == 6


@given(st.data())
def test_a_flipped_bit_is_found(data):
    content = bytearray(batch(simple(5)) + batch(simple(5), 5))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    in_batch = at % (len(content) // 2)
    if in_batch < 8 or 12 <= in_batch < 16:  # the base offset and the leader's epoch are the broker's to set
        return
    try:
        found = read(content)
    except Fatal as error:
        assert "damaged" in str(error) or "before Kafka 0.11" in str(error)
    else:
        assert 8 <= in_batch < 12, "only a length may pass, where it says that the batch goes on"
        assert len(found) < 10


@given(st.data())
def test_nonsense_with_a_good_checksum_is_refused_or_read_inside_its_bytes(data):
    content = bytearray(batch(simple(8)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(57, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    whole = array(changed(content))
    try:
        blocks = list(blocks_of(whole, batches_of(whole, PART), PART, -FAR, FAR))
    except Fatal as error:
        assert "damaged" in str(error)
        return
    for block in blocks:
        for spans in (block.keys, block.values, block.headers):
            assert (spans[:, 1] >= -1).all()
            assert (spans[:, 0] + spans[:, 1] <= len(whole)).all()


def test_control_batches_are_left_out():
    commit = changed(batch([(1, b"\0\0\0\1", b"\0" * 6, [])], 3), attributes=K.CONTROL | 0x10)
    content = batch(simple(3)) + commit + batch(simple(3), 4)
    assert [m.offset for m in read(content)] == [0, 1, 2, 4, 5, 6]
    assert read(commit) == []


def test_log_append_time_is_the_time_of_every_record():
    content = changed(batch([(10, b"a", b"", []), (30, b"b", b"", [])]), attributes=K.LOG_APPEND_TIME)
    assert [m.timestamp for m in read(content)] == [30, 30]


def test_a_batch_that_compaction_emptied_has_no_records():
    empty = bytearray(batch(simple(1), 4)[:61])
    struct.pack_into(">i", empty, 8, 61 - 12)
    struct.pack_into(">i", empty, 57, 0)
    content = batch(simple(2)) + changed(empty) + batch(simple(1), 9)
    assert [m.offset for m in read(content)] == [0, 1, 9]
    table = batches_of(array(content), PART)
    assert table[:, K.LAST].tolist() == [1, 4, 9]


def test_a_count_beyond_the_bytes_makes_no_room():
    content = bytearray(batch(simple(2), 6))
    struct.pack_into(">i", content, 57, 2**31 - 1)
    with pytest.raises(Fatal, match="from offset 6 on have impossible counts"):
        read(changed(content))


@pytest.mark.parametrize("magic", [0, 1])
def test_an_old_message_format_is_refused_with_what_to_do(magic):
    content = bytearray(batch(simple(2)))
    content[16] = magic
    with pytest.raises(Fatal, match=r"before Kafka 0.11.*bars/2.*copy it"):
        read(bytes(content))


def test_bytes_that_are_no_batch_are_damage():
    with pytest.raises(Fatal, match="after offset 1 are not a record batch"):
        read(batch(simple(2)) + b"\xff" * 100)


def test_a_first_batch_that_is_cut_off_is_damage():
    with pytest.raises(Fatal, match="the bytes are not a record batch"):
        read(batch(simple(2))[:-1])


def filled(block, limit=1 << 20, producer=(77, 3), sequence=5):
    """Batches of ``limit`` bytes at most of all records in ``block``, as bytes."""
    out, row, found = np.empty(limit, dtype=np.uint8), 0, []
    while row < len(block):
        filling = np.array([K.HEADER, 0, 0, 0], dtype=np.int64)
        columns = (block.data, block.timestamps, block.keys, block.values, block.headers)
        after = K.fill(*columns, row, out, limit, filling)
        assert after > row, "a record is larger than the limit"
        found.append(bytes(seal(out, filling, producer, sequence)))
        row = after
    return found


@given(rows)
def test_what_is_filled_is_read_by_aiokafka(rows):
    block = Block.of([message(n, row) for n, row in enumerate(rows)])
    (content,) = filled(block)
    other = DefaultRecordBatch(content)
    assert other.validate_crc()
    assert (other.base_offset, other.producer_id, other.producer_epoch, other.base_sequence) == (0, 77, 3, 5)
    assert other.next_offset == len(rows)
    assert other.max_timestamp == max(row[0] for row in rows)
    found = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in other]
    assert found == [(n, *row) for n, row in enumerate(rows)]


@given(rows)
def test_what_is_filled_is_read_back(rows):
    messages = [message(n, row) for n, row in enumerate(rows)]
    (content,) = filled(Block.of(messages))
    assert read(content) == messages


@given(rows, st.integers(0, 3000))
def test_no_batch_is_over_the_limit_and_none_could_take_the_next_record(rows, room):
    messages = [message(n, row) for n, row in enumerate(rows)]
    block = Block.of(messages)
    largest = max(len(filled(block.part_of(n, n + 1))[0]) for n in range(len(block)))
    limit = largest + room
    batches = filled(block, limit)
    assert all(len(each) <= limit for each in batches)
    base = 0
    content = b""
    for each in batches:
        count = struct.unpack_from(">i", each, 57)[0]
        if base + count < len(block):
            assert len(filled(block.part_of(base, base + count + 1))[0]) > limit
        content += changed(each, base=base)
        base += count
    assert read(content) == messages


def test_a_record_over_the_limit_is_not_begun():
    block = Block.of([message(0, (1, b"k", b"x" * 1000, []))])
    filling = np.array([K.HEADER, 0, 0, 0], dtype=np.int64)
    columns = (block.data, block.timestamps, block.keys, block.values, block.headers)
    assert K.fill(*columns, 0, np.empty(500, dtype=np.uint8), 500, filling) == 0
    assert filling[K.F_AT] == K.HEADER and filling[K.F_COUNT] == 0
