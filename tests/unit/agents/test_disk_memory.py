"""The tables of one process share one cache, however many partitions are open."""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import rocksdict
from faust.stores.rocksdb import RocksDBOptions

from tapedeck.agents import disk_memory
from tapedeck.agents.app import new_app
from tapedeck.agents.disk_memory import BUFFERS, WRITE_BUFFER_BYTES, SharedOptions
from tapedeck.agents.settings import Settings
from tapedeck.agents.table import ShellStore, ShellTable
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.frame import pack
from tapedeck.streams.shell import Write

MB = 1024 * 1024
CACHE = 4 * MB
TABLES, KEYS = 6, 400
SLACK = 1.25
"""A buffer ends with the batch that fills it, and a cache counts the block that is being read."""


def fill(options: RocksDBOptions, folder: Path) -> list[rocksdict.Rdict]:
    """Open six tables, write 4 MB to each in two rounds, as a stage does, and read it from the files."""
    tables = [options.open(folder / str(place)) for place in range(TABLES)]
    random = Random(3)
    for _ in range(2):
        for table in tables:
            for start in range(0, KEYS, 50):
                batch = rocksdict.WriteBatch(raw_mode=True)
                for key in range(start, start + 50):
                    batch.put(b"%06d" % key, random.randbytes(10_000))
                table.write(batch)
    for table in tables:
        table.flush(wait=True)
        for key in range(KEYS):
            assert table.get(b"%06d" % key)
    return tables


def taken(tables: list[rocksdict.Rdict], name: str) -> int:
    return sum(table.property_int_value(f"rocksdb.{name}") or 0 for table in tables)


def test_many_tables_take_one_cache_and_their_buffers(tmp_path: Path) -> None:
    cache = rocksdict.Cache(CACHE)
    tables = fill(SharedOptions(cache), tmp_path)
    assert taken(tables, "total-sst-files-size") > 2 * CACHE
    assert CACHE / 2 < cache.get_usage() <= CACHE * SLACK
    assert taken(tables, "estimate-table-readers-mem") < MB / 10  # indexes and filters are in the cache
    for table in tables:
        assert taken([table], "block-cache-usage") == cache.get_usage()
        assert taken([table], "size-all-mem-tables") <= BUFFERS * WRITE_BUFFER_BYTES * SLACK


def test_tables_with_caches_of_their_own_take_more_with_each(tmp_path: Path) -> None:
    own = RocksDBOptions(block_cache_size=CACHE, write_buffer_size=WRITE_BUFFER_BYTES, use_rocksdict=True)
    tables = fill(own, tmp_path)
    assert taken(tables, "block-cache-usage") > 2 * CACHE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShellStore]:
    settings = Settings(Cluster("nowhere:9"), tmp_path / "tape.toml", tmp_path)
    app = new_app("test", settings, "scores", "single")
    topic = app.topic("scores.changelog", key_type=bytes, value_type=bytes, partitions=2)
    yield ShellTable(
        app, name="scores", key_type=bytes, value_type=bytes, partitions=2, changelog_topic=topic
    )._new_store()


def test_the_partitions_of_a_table_share_the_cache_of_the_process(store: ShellStore) -> None:
    shared = disk_memory.of_process()
    assert shared is disk_memory.of_process()
    for partition in (0, 1):
        writes = [Write(partition, b"%d" % key, pack(1, {}, b"x" * 10_000)) for key in range(100)]
        store.write_batch(partition, writes, 1)
        store._db_for_partition(partition).flush(wait=True)
        before = shared.get_usage()
        assert all(store.value(partition, write.key) == write.value for write in writes)
        assert shared.get_usage() > before


def test_what_the_buffers_hold_goes_to_files_and_is_read_as_before(store: ShellStore) -> None:
    for partition in (0, 1):
        writes = [Write(partition, b"%d" % key, pack(1, {}, b"x" * 10_000)) for key in range(100)]
        store.write_batch(partition, writes, 1)
    dbs = [store._db_for_partition(partition) for partition in (0, 1)]
    assert all(taken([db], "size-all-mem-tables") > MB / 2 for db in dbs)
    store.flush()
    deadline = time.monotonic() + 10
    while any(taken([db], "size-all-mem-tables") > MB / 10 for db in dbs):
        assert time.monotonic() < deadline, "nothing was moved"
        time.sleep(0.01)
    assert len(list(store.values_of(1))) == 100


def test_a_disk_that_takes_no_file_is_told(store: ShellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def flush(self, wait: bool) -> None:
            raise Exception("No space left on device")

    monkeypatch.setattr(store, "_dbs", {1: Full()})
    with pytest.raises(Fatal, match=r"scores/1 cannot be written: No space left.*free some space"):
        store.flush()
