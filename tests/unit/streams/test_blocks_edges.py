"""The first and the last record of a partition whose offsets do not all hold one."""

import pytest

from tapedeck.streams.blocks import Block, MemorySource, first_record, last_record
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

PART = ("bars", 0)


def at(*offsets):
    messages = [Message(*PART, n, 1000 + n, b"k", b"v", ()) for n in offsets]
    return MemorySource(Layout("p", symbol_partitions=1), messages)


@pytest.mark.parametrize(
    ("offsets", "first", "last"),
    [
        ((0, 1, 2), 0, 2),
        ((700, 5_000), 700, 5_000),
        ((99_999,), 99_999, 99_999),
        ((0,), 0, 0),
        ((), None, None),
    ],
)
def test_the_outermost_records_are_found_however_far_from_the_ends(offsets, first, last):
    source = at(*offsets)
    found = first_record(source, PART, 0, 100_000), last_record(source, PART, 0, 100_000)
    assert tuple(each and each.offset for each in found) == (first, last)


def test_a_block_gives_the_same_messages_from_any_part_of_it():
    headers = [(), (("a", b"1"),), (("long" * 40, b"x" * 200), ("", b""))]
    messages = [
        Message(
            *PART, n, n, None if n % 3 == 1 else b"k%d" % n, None if n % 4 == 2 else b"v" * n, headers[n % 3]
        )
        for n in range(12)
    ]
    block = Block.of(messages)
    for low in range(12):
        for high in range(low, 13):
            assert list(block.part_of(low, high).messages()) == messages[low:high]
    bare = [m if m.value is None else m._replace(headers=()) for m in messages]
    assert list(block.bare_messages()) == bare
