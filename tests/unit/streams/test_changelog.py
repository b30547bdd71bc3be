"""An applied rebuild switches a table as a whole: any part of its records is the old table or the new one."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.changelog import (
    APPLIED_KEY,
    STAGED,
    Changelog,
    Commit,
    Values,
    commit_of,
    is_control,
    settle,
    staged_records,
)
from tapedeck.streams.frame import pack, unpack
from tapedeck.topics.catalogue import WATERMARK_KEY

HOME = 0
KEYS = (b"AMD", b"BAC", b"MSFT")


class Entry(NamedTuple):
    partition: int
    key: bytes
    value: bytes | None


def applied(values: Values, epoch: int) -> list[Entry]:
    """What an apply writes, in order: staged records, then the commit."""
    commit = commit_of(values, epoch, HOME, "test").packed()
    return [*(Entry(*each) for each in staged_records(values, epoch)), Entry(HOME, APPLIED_KEY, commit)]


def owner(log: Iterable[Entry], partitions: list[int]) -> list[Entry]:
    """What the owner writes after a recovery: promoted values, then nulls, the commit's first."""
    settled = settle(restored(log, partitions), HOME, partitions)
    promoted = [Entry(part, key, value) for (part, key), value in settled.promoted.items()]
    return [*promoted, *(Entry(part, key, None) for part, key in settled.nulls)]


def restored(log: Iterable[Entry], partitions: list[int]) -> Changelog:
    changelog = Changelog(single=len(partitions) > 1)
    for each in log:
        changelog.add(*each)
    return changelog


def table(log: Iterable[Entry], partitions: list[int]) -> dict[tuple[int, bytes], tuple[object, bytes]]:
    """The table as (cursors, body) by key: what must not be a mixture."""
    values = restored(log, partitions).values()
    return {at: (unpack(value).cursors, unpack(value).body) for at, value in values.items()}


def compacted(log: list[Entry]) -> list[Entry]:
    """The newest record per key, each where it stood."""
    newest = {(each.partition, each.key): place for place, each in enumerate(log)}
    return [each for place, each in enumerate(log) if newest[each.partition, each.key] == place]


@st.composite
def tables(draw: st.DrawFn, partitions: list[int], epoch: int, mark: bytes) -> Values:
    """A table whose values say which one they belong to."""
    keys = draw(st.sets(st.tuples(st.sampled_from(partitions), st.sampled_from(KEYS))))
    cursor = st.integers(0, 9)
    values = {at: pack(epoch, {(0, at[0]): draw(cursor)}, mark + at[1]) for at in sorted(keys)}
    return values | {(HOME, WATERMARK_KEY): pack(epoch, {(0, HOME): draw(cursor)}, mark)}


def as_log(values: Values) -> list[Entry]:
    return [Entry(part, key, value) for (part, key), value in values.items()]


parts = st.sampled_from([[0], [0, 1]])


@settings(max_examples=60)
@given(st.data())
def test_every_prefix_of_an_apply_is_the_old_table_or_the_new_one(data: st.DataObject) -> None:
    partitions = data.draw(parts)
    old = as_log(data.draw(tables(partitions, 0, b"old ")))
    new = data.draw(tables(partitions, 1, b"new "))
    records = applied(new, 1)
    before, after = table(old, partitions), table(as_log(new), partitions)
    for n in range(len(records) + 1):
        log = [*old, *records[:n]]
        expected = after if n == len(records) else before
        assert table(log, partitions) == expected
        assert table(compacted(log), partitions) == expected
        clearing = owner(log, partitions)
        for done in range(len(clearing) + 1):
            cleared = [*log, *clearing[:done]]
            assert table(cleared, partitions) == expected
            assert table(compacted(cleared), partitions) == expected
        assert all(not is_control(e.key) or e.value is None for e in compacted([*log, *clearing]))


@settings(max_examples=40)
@given(st.data())
def test_a_second_apply_after_an_interrupted_one_gives_the_second_table(data: st.DataObject) -> None:
    partitions = data.draw(parts)
    old = as_log(data.draw(tables(partitions, 0, b"old ")))
    first = applied(data.draw(tables(partitions, 1, b"one ")), 1)
    log = [*old, *first[: data.draw(st.integers(0, len(first) - 1))]]
    second = data.draw(tables(partitions, 2, b"two "))
    log += applied(second, restored(log, partitions).epoch + 1)
    assert table(log, partitions) == table(as_log(second), partitions)
    assert table(compacted(log), partitions) == table(as_log(second), partitions)


@settings(max_examples=40)
@given(st.data())
def test_late_writes_of_the_old_epoch_change_nothing(data: st.DataObject) -> None:
    partitions = data.draw(parts)
    old = as_log(data.draw(tables(partitions, 0, b"old ")))
    new = data.draw(tables(partitions, 1, b"new "))
    log = [*old, *applied(new, 1)]
    log += owner(log, partitions)
    far = {(0, 0): 1_000_000}
    log += [Entry(e.partition, e.key, pack(0, far, b"late")) for e in old]
    assert table(log, partitions) == table(as_log(new), partitions)


def test_a_commit_that_comes_after_the_owner_went_on_is_void() -> None:
    old = [Entry(0, b"AMD", pack(0, {(0, 0): 5}, b"old")), Entry(0, WATERMARK_KEY, pack(0, {(0, 0): 5}, b""))]
    new: Values = {(0, b"AMD"): pack(0, {(0, 0): 3}, b"new"), (0, WATERMARK_KEY): pack(0, {(0, 0): 3}, b"")}
    *staged, commit = applied(new, 1)
    log = [*old, *staged]
    nulls = owner(log, [0])
    assert [each.value for each in nulls] == [None, None]
    assert table([*log, *nulls, commit], [0]) == table(old, [0])
    assert table([*log, commit, *nulls], [0]) == table(old, [0])


def test_a_key_that_is_new_after_the_apply_is_kept_only_in_the_tables_epoch() -> None:
    new: Values = {(0, WATERMARK_KEY): pack(0, {(0, 0): 3}, b"")}
    log = applied(new, 4)
    log += owner(log, [0])
    kept, lost = Entry(0, b"AMD", pack(4, {(0, 0): 9}, b"a")), Entry(0, b"BAC", pack(3, {(0, 0): 9}, b"b"))
    assert table([*log, kept, lost], [0]).keys() == {(0, b"AMD"), (0, WATERMARK_KEY)}


def test_a_null_takes_no_key_of_the_table_away() -> None:
    value = Entry(0, b"AMD", pack(0, {(0, 0): 1}, b"a"))
    assert table([value, Entry(0, b"AMD", None)], [0]) == table([value], [0])


def test_staged_keys_are_no_keys_of_the_table() -> None:
    changelog = Changelog(single=False)
    changelog.add(0, STAGED + b"AMD", pack(7, {}, b"a"))
    assert changelog.values() == {}
    assert changelog.epoch == 7


def test_a_commit_record_that_cannot_be_read_says_what_to_do() -> None:
    with pytest.raises(Fatal, match=r"commit record .*--apply"):
        Commit.unpacked(pack(1, {}, b"[]"))
