"""The stage's table: a Faust table on RocksDB whose writes the shell orders.

Faust recovers it from the changelog and moves it with the partitions. Writing is ours: the changelog is
produced in bulk and acknowledged first. Then one RocksDB batch holds the values together with the changelog
offset they are at. So the disk is never ahead of the changelog. A crash between the two is repaired by
recovery, with the rules of ``streams.changelog``: the winner per key, whoever wrote last, and an applied
rebuild as a whole. Keys whose newest record is not the winner are kept for the owner to write again. Staged
and commit records stay in RocksDB under their own keys until the owner has settled them.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import faust
import rocksdict
from faust.stores.rocksdb import Store as RocksStore
from faust.types import TP, EventT

from tapedeck.agents import disk_memory
from tapedeck.agents.disk_memory import SharedOptions
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.changelog import Settled, is_control, settle, wins
from tapedeck.streams.shell import Write

_FAUST_KEYS = b"__faust\0"
CHANGELOG_ID = _FAUST_KEYS + b"changelog_id"
"""Stored beside Faust's offset: the id of the changelog that the offset refers to."""


class ShellStore(RocksStore):
    """RocksDB by partition, with the shell's write order and the changelog's winner rule."""

    only_key: bytes | None = None
    probe: Callable[[str], None] | None = None
    changelog_id: bytes = b""
    """The id of the changelog topic, empty if it is not known."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outrun: dict[int, set[bytes]] = defaultdict(set)

    def value(self, partition: int, key: bytes) -> bytes | None:
        """The framed value of ``key``."""
        found: bytes | None = self._db_for_partition(partition).get(key)
        return found

    def values_of(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """(key, framed value) of one partition, in key order."""
        return ((key, value) for key, value in self.records_of(partition) if not is_control(key))

    def records_of(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """The same, including the staged and commit records of an applied rebuild."""
        for key, value in self._db_for_partition(partition).items():
            if not key.startswith(_FAUST_KEYS):
                yield key, value

    def settled(self, home: int, partitions: Sequence[int]) -> Settled:
        """What activates an applied rebuild of these table partitions, after recovery."""
        return settle(_Records(self), home, partitions)

    def remove(self, keys: Iterable[tuple[int, bytes]]) -> None:
        """Remove (partition, key) from the disk: what the changelog has nulled or the table no longer has."""
        for partition, key in keys:
            self._db_for_partition(partition).delete(key)

    def held(self) -> list[int]:
        """The table partitions that are open here."""
        return sorted(self._dbs)

    def write_batch(
        self, partition: int, writes: Iterable[Write], changelog_offset: int, nulled: Iterable[bytes] = ()
    ) -> None:
        """Write the values and the changelog offset in one batch. Raises Fatal if the disk refuses."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key in nulled:
            batch.delete(key)
        for write in writes:
            batch.put(write.key, write.value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        if self.changelog_id:
            batch.put(CHANGELOG_ID, self.changelog_id)
        try:
            self._db_for_partition(partition).write(batch)
        except Exception as error:  # rocksdict has no exception class for them
            raise self._refused(partition, "written", error) from error

    def write_all(self, writes: Iterable[Write], changelog_offset: Callable[[int], int]) -> None:
        """``write_batch`` per partition, at the offset that ``changelog_offset`` returns."""
        by_partition: dict[int, list[Write]] = {}
        for write in writes:
            by_partition.setdefault(write.partition, []).append(write)
        for partition, mine in by_partition.items():
            self.write_batch(partition, mine, changelog_offset(partition))

    def flush(self) -> None:
        """Begin to move what the write buffers hold into files. Raises Fatal if the disk refuses."""
        for partition, db in self._dbs.items():
            try:
                db.flush(wait=False)
            except Exception as error:  # rocksdict has no exception class for them
                raise self._refused(partition, "written", error) from error

    def _open_for_partition(self, partition: int) -> Any:
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            if "lock" in repr(error):  # Faust waits until the last owner has released it
                raise
            raise self._refused(partition, "opened", error) from error

    def _refused(self, partition: int, what: str, error: Exception) -> Fatal:
        return Fatal(
            f"the state of {self.table_name}/{partition} cannot be {what}: {error}",
            remedy="free some space on that disk and restart the worker: it continues where it stopped",
        )

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """For recovery: keep the winner per key and remember the keys whose newest record lost.

        A null removes a staged or commit record, but never a key of the table.
        """
        values: dict[int, dict[bytes, bytes | None]] = defaultdict(dict)
        offsets: dict[int, int] = {}
        for event in batch:
            message = event.message
            partition, key, value = message.partition, message.key, message.value
            offsets[partition] = max(message.offset, offsets.get(partition, -1))
            if key is None or (self.only_key is not None and key != self.only_key):
                continue
            if is_control(key):
                values[partition][key] = value
            elif value is None:
                continue
            elif wins(value, values[partition].get(key) or self.value(partition, key)):
                values[partition][key] = value
                self.outrun[partition].discard(key)
            else:
                self.outrun[partition].add(key)
        for partition, offset in offsets.items():
            found = values[partition].items()
            writes = [Write(partition, key, value) for key, value in found if value is not None]
            self._write_recovered(partition, writes, offset, [k for k, value in found if value is None])
            if self.probe is not None:
                self.probe("recovering")

    def _write_recovered(self, partition: int, writes: list[Write], offset: int, nulled: list[bytes]) -> None:
        """Faust ignores errors here and would wait forever, so this ends the process."""
        try:
            self.write_batch(partition, writes, offset, nulled)
        except Fatal as error:
            cast(faust.App, self.app).add_future(self.app.crash(error))
            raise

    def take_outrun(self, partition: int) -> list[Write]:
        """The winners of keys whose newest changelog record is not the winner."""
        keys = sorted(self.outrun.pop(partition, ()))
        return [
            Write(partition, key, value) for key in keys if (value := self.value(partition, key)) is not None
        ]


class _Records:
    """A store in the form that ``streams.changelog`` reads."""

    def __init__(self, store: ShellStore) -> None:
        self._store = store

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self._store.value(partition, key)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return self._store.records_of(partition)


class ShellTable(faust.Table[bytes, bytes]):
    """A Faust table over a ShellStore; stages access it only through the shell."""

    only_key: bytes | None = None
    probe: Callable[[str], None] | None = None
    brought: Collection[int] = ()
    """The partitions of the last recovery that was complete."""

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Every value of ``active_tps`` is read: what waits for that is called."""
        self.brought = {tp.partition for tp in active_tps}
        await super().on_recovery_completed(active_tps, standby_tps)

    def _new_store(self) -> ShellStore:
        store = ShellStore(
            "rocksdb://",
            self.app,
            self,
            table_name=self.name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            loop=self.loop,
            driver="rocksdict",
        )
        store.rocksdb_options = SharedOptions(disk_memory.of_process())
        store.only_key, store.probe = self.only_key, self.probe
        return store


class PartitionedStore:
    """A task's view of the table: the Store that a Shell reads."""

    def __init__(self, store: ShellStore, partitions: tuple[int, ...]) -> None:
        self._store = store
        self._partitions = partitions

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self._store.value(partition, key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for partition in self._partitions:
            yield from self._store.values_of(partition)


def read_disk(folder: Path) -> dict[bytes, bytes]:
    """Every framed value in a stopped worker's RocksDB partition folder, read-only."""
    options = rocksdict.Options(raw_mode=True)
    db = rocksdict.Rdict(str(folder), options=options, access_type=rocksdict.AccessType.read_only())
    try:
        pairs = cast(Iterator[tuple[bytes, bytes]], db.items())
        return {k: v for k, v in pairs if not k.startswith(_FAUST_KEYS) and not is_control(k)}
    finally:
        db.close()
