"""Rows: digests and differences of outputs, whatever order they came in and however many there are."""

from hashlib import sha256
from tempfile import TemporaryFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.columnar import rows as module
from tapedeck.streams.columnar.rows import Difference, Rows, raw_id, row_of
from tapedeck.streams.columnar.sha256 import sha256_of
from tapedeck.streams.digests import OutputDigest

Record = tuple[bytes, str, bytes]
IDS = st.integers(0, 40).map(lambda n: sha256(str(n).encode()).hexdigest()[:32])
RECORDS = st.lists(st.tuples(st.binary(max_size=4), IDS, st.binary(max_size=9)), max_size=60)


def rows_of(records: list[Record]) -> Rows:
    found = Rows(TemporaryFile)
    for record in records:
        found.add_one(*record)
    return found


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_batched_sha256_gives_what_hashlib_gives(messages: list[bytes]) -> None:
    data = np.frombuffer(b"".join(messages) + b"\0", dtype=np.uint8)
    lengths = np.array([len(m) for m in messages], dtype=np.int64)
    spans = np.stack([np.cumsum(lengths) - lengths, lengths], axis=1)
    got = [row.tobytes() for row in sha256_of(data, spans)]
    assert got == [sha256(message).digest() for message in messages]


@given(RECORDS, st.randoms())
def test_order_and_repeats_change_nothing(records: list[Record], shuffler: object) -> None:
    again = records * 2
    shuffler.shuffle(again)  # type: ignore[attr-defined]
    assert rows_of(again).hexdigest() == rows_of(records).hexdigest()
    assert len(rows_of(again)) == len({row_of(*record) for record in records})


@given(RECORDS, RECORDS)
def test_runs_on_disk_give_what_memory_gives(mine: list[Record], theirs: list[Record]) -> None:
    whole, other = rows_of(mine), rows_of(theirs)
    held, module.HELD = module.HELD, 8
    try:
        spooled = rows_of(mine)
        assert spooled.hexdigest() == whole.hexdigest()
        assert list(spooled.differences(rows_of(theirs))) == list(whole.differences(other))
        assert spooled.conflicts() == whole.conflicts()
        with TemporaryFile() as file:
            assert Rows.load(file, spooled.save(file)).hexdigest() == whole.hexdigest()
    finally:
        module.HELD = held


@given(RECORDS, RECORDS)
def test_differences_are_what_only_one_side_holds(mine: list[Record], theirs: list[Record]) -> None:
    ours, others = ({row_of(*record) for record in side} for side in (mine, theirs))
    found = list(rows_of(mine).differences(rows_of(theirs)))
    told = {bytes.fromhex(each.event_id) + each.ours for each in found if each.ours is not None}
    assert told == ours - others
    told = {bytes.fromhex(each.event_id) + each.theirs for each in found if each.theirs is not None}
    assert told == others - ours


def test_a_changed_body_is_one_difference_with_both_hashes() -> None:
    event_id = "ab" * 16
    (found,) = rows_of([(b"k", event_id, b"one")]).differences(rows_of([(b"k", event_id, b"two")]))
    ours, theirs = (row_of(b"k", event_id, body)[16:] for body in (b"one", b"two"))
    assert found == Difference(event_id, ours, theirs)


@given(RECORDS)
def test_an_output_digest_and_rows_agree(records: list[Record]) -> None:
    once = {event_id: (key, event_id, body) for key, event_id, body in records}
    digest = OutputDigest()
    for record in once.values():
        digest.add(*record)
    assert digest.hexdigest() == rows_of(list(once.values())).hexdigest()


@given(RECORDS, RECORDS)
def test_two_partitions_make_the_digest_of_their_topic(one: list[Record], two: list[Record]) -> None:
    both = rows_of(one)
    both.absorb(rows_of(two))
    assert both.hexdigest() == rows_of(one + two).hexdigest()


def test_two_bodies_of_one_event_are_a_conflict() -> None:
    event_id = "0f" * 16
    assert rows_of([(b"k", event_id, b"one"), (b"k", event_id, b"two")]).conflicts() == [event_id]


@pytest.mark.parametrize("text", ["", "not hex" * 5, "ab" * 15, "zz" * 16])
def test_an_id_that_is_not_32_hex_digits_still_has_16_bytes(text: str) -> None:
    assert len(raw_id(text)) == 16
