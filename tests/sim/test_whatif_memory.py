"""``whatif`` over more sessions than one: what it holds does not grow with them."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import numpy as np
import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part as TopicPart
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.whatif.diff import Diff, Part
from tapedeck.tape.whatif.inbox import INBOX, Inbox
from tapedeck.tape.whatif.overlay import Chained
from tapedeck.tape.whatif.spill import DAY_US, ByDay, Shelf
from tapedeck.tape.whatif.whatif import whatif_from
from tapedeck.topics.catalogue import Layout
from tests.bench.whatif_tape import recorded_year
from tests.support.whatifs import hours


def peak_of(work: Callable[[], object]) -> int:
    """Bytes that ``work`` holds at its peak, beyond what was there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_a_third_session_takes_hardly_more_memory_and_all_of_them_are_compared() -> None:
    """Two days are held at once: their peak is that of any longer recording."""
    base = Config()
    recordings = {sessions: recorded_year(sessions, base) for sessions in (2, 3)}
    found: dict[int, Diff] = {}

    def work(sessions: int) -> None:
        found[sessions] = whatif_from(TOPOLOGY, recordings[sessions], base, base)

    work(2)  # what is loaded once is not counted
    two, three = (peak_of(partial(work, sessions)) for sessions in (2, 3))
    compared = {sessions: each.compared[Part.DECISION] for sessions, each in found.items()}
    assert 2 * compared[3] == 3 * compared[2] > 60_000
    assert not found[3].differences
    assert three < 1.15 * two, f"{two:,} and {three:,} bytes"


class Repeated:
    """A recording whose inbox comes ``times`` times, each time with ids of its own."""

    def __init__(self, times: int) -> None:
        self._source, self._times, self.layout = hours(), times, Layout()

    def ends(self, names: list[str]) -> dict[TopicPart, tuple[int, int]]:
        return self._source.ends(names)

    def stream(self, part: TopicPart, start: int, end: int) -> Iterator[Block]:
        for turn in range(self._times):
            for block in self._source.stream(part, start, end):
                yield Block.of([m._replace(value=_renamed(m.value, turn)) for m in block.messages()])


def _renamed(value: bytes | None, turn: int) -> bytes | None:
    if value is None:
        return None
    body = decode(INBOX, value)
    return encode(INBOX, body | {"event_id": f"{turn:04d}{body['event_id'][4:]}"})


def test_an_inbox_is_read_again_each_time_and_only_ids_are_held_of_what_was_read() -> None:
    lengths: dict[int, int] = {}

    def work(times: int) -> None:
        lengths[times] = sum(1 for _ in Inbox(Repeated(times), "large"))  # type: ignore[arg-type]

    work(1)
    two, many = (peak_of(partial(work, times)) for times in (2, 12))  # of two blocks one is read, one held
    assert lengths[12] == 6 * lengths[2] > 1000
    assert many < two + 200 * lengths[12], f"{two:,} and {many:,} bytes for {lengths[12]} records"
    inbox = Inbox(hours(), "large")
    assert list(islice(inbox, 50)) == list(islice(inbox, 50)), "it begins anew"


def test_a_table_gives_each_days_rows_as_they_were_added_and_keeps_two_days_at_once() -> None:
    made: list[int] = []

    def look(rows: object) -> list[int]:
        found: list[int] = np.asarray(rows)["n"].tolist()
        made.append(len(found))
        return found

    table = ByDay(np.dtype([("n", np.int64)]), look)
    for numbers in ([5, 0], [7, 3, 6]):  # days out of order, late rows behind
        rows = np.array([(n,) for n in numbers], dtype=[("n", np.int64)])
        table.add(np.array(numbers) % 3 * DAY_US + 1, rows)
    assert table.days == [0, 1, 2]
    assert [table.day(day) for day in (0, 1, 2, 9)] == [[0, 3, 6], [7], [5], []]
    before = len(made)
    table.day(2)
    assert len(made) == before
    table.day(0)
    assert len(made) == before + 1


def test_blocks_on_disk_come_back_in_part_and_by_time_as_they_were() -> None:
    source = hours()
    made, part = Chained(MemorySource(Layout(), [])), ("decisions", 0)
    made.replace("decisions")
    (_, end) = source.ends(["decisions"])[part]
    for block in source.stream(part, 0, end):
        made.take(block)
    assert made.ends(["decisions"])[part] == (0, end)
    for low, high in ((0, end), (end // 3, end // 2), (end - 1, end)):
        there, here = (
            [m for b in each.stream(part, low, high) for m in b.messages()] for each in (source, made)
        )
        assert here == there and len(here) == high - low
    moment = next(iter(source.stream(part, end // 2, end))).message(0).timestamp * 1000
    for time in (0, moment, moment + 1, moment + 9 * DAY_US):
        assert made.offset_at(part, time) == source.offset_at(part, time)
    shelf = Shelf()
    shelf.put(7, b"seven")
    shelf.put(8, None)
    assert (shelf.get(7), shelf.get(8), shelf.get(9)) == (b"seven", None, None)
