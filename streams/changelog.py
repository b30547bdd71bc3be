"""Restoring a table from its changelog: the winner per key, and the switch to an applied rebuild.

For each key the value with the highest (epoch, cursor sum) wins, whoever wrote last. All values of a task's
table have the epoch of its ``~watermark`` value. A value with a lower epoch is not part of the table.

An applied rebuild is written beside the table, in one epoch above all others:

1. every value as a *staged* record, key ``~staged\\0`` + key, in the table partition it belongs to;
2. when these are acknowledged and the group's offsets are set, one *commit* record, key ``~applied``, in the
   task's home partition: how many staged records each partition has, and where they come from.

A commit record and all its staged records together replace the whole table. Without the commit, or with one
staged record missing, they change nothing. So any subset of these records, compacted or not, gives the old
table or the new one. Before it processes anything, the owner writes the promoted values under their own keys,
then nulls the commit record, then the staged ones. A staged record without its commit is nulled as well, so a
commit that arrives after the owner went on is void. A null never deletes a key, because it has no epoch: a
key that is missing from the rebuilt table is left behind by its epoch.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.frame import OWN, Cursors, pack, precedence, unpack
from tapedeck.topics.catalogue import WATERMARK_KEY

STAGED = b"~staged\0"
APPLIED_KEY = b"~applied"

Values = dict[tuple[int, bytes], bytes]
"""Framed values by (table partition, key), including the ``~watermark`` value."""


class Records(Protocol):
    """The newest record per table partition and key, staged and commit records included."""

    def get(self, partition: int, key: bytes) -> bytes | None: ...

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...


class Commit(NamedTuple):
    """The commit record of an applied rebuild. ``staged``: how many staged records, by table partition."""

    epoch: int
    labels: Cursors
    staged: Mapping[int, int]
    source: str

    def packed(self) -> bytes:
        body = {"staged": {str(part): n for part, n in sorted(self.staged.items())}, "source": self.source}
        return pack(self.epoch, self.labels, json.dumps(body).encode())

    @classmethod
    def unpacked(cls, data: bytes) -> "Commit":
        """Raises Fatal for bytes that are no commit record."""
        value = unpack(data)
        try:
            body = json.loads(value.body)
            staged = {int(part): int(n) for part, n in body["staged"].items()}
            return cls(value.epoch, value.cursors, staged, str(body["source"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "run the release that wrote it, or `tape rebuild --apply` again with the worker stopped"
            raise Fatal("the commit record of an applied rebuild cannot be read", remedy=remedy) from error


class Settled(NamedTuple):
    """The writes that make the switch, as (partition, key): ``promoted`` values to write, ``dropped`` keys
    that are not part of the table, records to null in this order. ``source``: where an applied rebuild came
    from."""

    promoted: Values
    dropped: tuple[tuple[int, bytes], ...]
    nulls: tuple[tuple[int, bytes], ...]
    source: str | None


def is_control(key: bytes) -> bool:
    """True for a record of an applied rebuild, which is not part of the table."""
    return key == APPLIED_KEY or key.startswith(STAGED)


def wins(value: bytes, known: bytes | None) -> bool:
    """Whether a later record of a key beats the known one; on a tie the later one does."""
    return known is None or precedence(value) >= precedence(known)


def at_epoch(data: bytes, epoch: int) -> bytes:
    """The value in ``data`` moved to another epoch, without the id of the changelog that it was in."""
    value = unpack(data)
    logs = {rank: topic_id for rank, topic_id in value.logs.items() if rank != OWN}
    return pack(epoch, value.cursors, value.body, logs)


def staged_records(values: Values, epoch: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(partition, key, value) of the staged records that activate ``values`` at ``epoch``.

    The values may come from another changelog, such as a snapshot's. From now on they belong to this one.
    """
    for (partition, key), data in sorted(values.items()):
        yield partition, STAGED + key, at_epoch(data, epoch)


def commit_of(values: Values, epoch: int, home: int, source: str) -> Commit:
    """The commit record for ``staged_records(values, epoch)``."""
    counts: dict[int, int] = defaultdict(int)
    for partition, _ in values:
        counts[partition] += 1
    return Commit(epoch, unpack(values[home, WATERMARK_KEY]).cursors, counts, source)


def settle(records: Records, home: int, partitions: Sequence[int]) -> Settled:
    """Find the active table of one task, whose ``~watermark`` value is in ``home``, and how to get there."""
    staged: list[tuple[int, bytes]] = []
    own: list[tuple[int, bytes, int]] = []
    for partition in partitions:
        for key, data in records.items(partition):
            if key.startswith(STAGED):
                staged.append((partition, key))
            elif key != APPLIED_KEY:
                own.append((partition, key, unpack(data).epoch))
    commit = _commit_in_force(records, home, staged)
    promoted = dict(_promoted(records, commit, staged))
    marked = promoted.get((home, WATERMARK_KEY)) or records.get(home, WATERMARK_KEY)
    epoch = unpack(marked).epoch if marked is not None else 0
    dropped = tuple((p, key) for p, key, at in own if at < epoch and (p, key) not in promoted)
    commits = ((home, APPLIED_KEY),) if records.get(home, APPLIED_KEY) is not None else ()
    return Settled(promoted, dropped, (*commits, *staged), commit.source if commit else None)


def _commit_in_force(records: Records, home: int, staged: list[tuple[int, bytes]]) -> Commit | None:
    found = records.get(home, APPLIED_KEY)
    if found is None:
        return None
    commit = Commit.unpacked(found)
    there: dict[int, int] = defaultdict(int)
    for partition, _, _ in _of_epoch(records, commit.epoch, staged):
        there[partition] += 1
    return commit if there == dict(commit.staged) else None


def _promoted(
    records: Records, commit: Commit | None, staged: list[tuple[int, bytes]]
) -> Iterator[tuple[tuple[int, bytes], bytes]]:
    if commit is None:
        return
    for partition, key, value in _of_epoch(records, commit.epoch, staged):
        known = records.get(partition, key)
        if known is None or precedence(value) > precedence(known):
            yield (partition, key), value


def _of_epoch(
    records: Records, epoch: int, staged: list[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes, bytes]]:
    for partition, key in staged:
        value = records.get(partition, key)
        if value is not None and unpack(value).epoch == epoch:
            yield partition, key.removeprefix(STAGED), value


class Changelog:
    """A whole table from its changelog: add records per partition in log order, then read the table.

    ``single``: one task owns all partitions, with its ``~watermark`` value in partition 0.
    """

    def __init__(self, single: bool) -> None:
        self._single = single
        self._parts: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        self.epoch = 0
        """The highest epoch of any record."""

    def add(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """The next record of ``partition``. Raises Fatal for a value of another format."""
        if key is None:
            return
        part = self._parts[partition]
        if value is None:
            if is_control(key):
                part.pop(key, None)
            return
        self.epoch = max(self.epoch, unpack(value).epoch)
        if is_control(key) or wins(value, part.get(key)):
            part[key] = value

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self._parts[partition].get(key)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        yield from list(self._parts[partition].items())

    def values(self) -> Values:
        """The active table."""
        found = {
            (partition, key): value
            for partition, part in self._parts.items()
            for key, value in part.items()
            if not is_control(key)
        }
        partitions = sorted(self._parts)
        tasks = [(0, partitions)] if self._single else [(part, [part]) for part in partitions]
        for home, parts in tasks:
            settled = settle(self, home, parts)
            found |= settled.promoted
            for each in settled.dropped:
                del found[each]
        return found
