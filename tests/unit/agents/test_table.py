"""Recovery of a table on RocksDB: what ``streams.changelog`` says, whatever a crash leaves on the disk."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapedeck.agents.app import new_app
from tapedeck.agents.settings import Settings
from tapedeck.agents.table import PartitionedStore, ShellStore, ShellTable
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.streams.changelog import Values
from tapedeck.streams.frame import pack
from tapedeck.streams.shell import Write
from tests.unit.streams.test_changelog import KEYS, Entry, applied, as_log, owner, restored, tables

PARTITIONS = [0, 1]


@pytest.fixture
def store(tmp_path: Path) -> ShellStore:
    settings = Settings(Cluster("nowhere:9"), tmp_path / "tape.toml", tmp_path)
    app = new_app("test", settings, "scores", "single")
    topic = app.topic("scores.changelog", key_type=bytes, value_type=bytes, partitions=2)
    table = ShellTable(
        app, name="scores", key_type=bytes, value_type=bytes, partitions=2, changelog_topic=topic
    )
    return table._new_store()


def recover(store: ShellStore, log: Sequence[Entry], start: int = 0) -> None:
    """Feed the changelog from ``start`` on, as Faust does: in batches, offsets per partition."""
    batch = [
        SimpleNamespace(message=SimpleNamespace(partition=e.partition, key=e.key, value=e.value, offset=at))
        for at, e in enumerate(log)
        if at >= start
    ]
    for at in range(0, len(batch), 3):
        store.apply_changelog_batch(batch[at : at + 3], None, None)  # type: ignore[arg-type]


def perform(store: ShellStore, log: list[Entry]) -> None:
    """The owner's writes after recovery, to the log and the disk."""
    settled = store.settled(0, PARTITIONS)
    for (part, key), value in settled.promoted.items():
        store.write_batch(part, [Write(part, key, value)], len(log))
    log += owner(log, PARTITIONS)
    store.remove((*settled.nulls, *settled.dropped))


def held(store: ShellStore) -> Values:
    return {(part, key): value for part in PARTITIONS for key, value in store.values_of(part)}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recovery_in_pieces_gives_the_changelogs_table(store: ShellStore, data: st.DataObject) -> None:
    store.remove([(part, key) for part in PARTITIONS for key, _ in store.records_of(part)])
    old = data.draw(tables(PARTITIONS, 0, b"old "))
    log = [*as_log(old), *applied(data.draw(tables(PARTITIONS, 1, b"new ")), 1)]
    log = log[: data.draw(st.integers(0, len(log)))]
    seen = data.draw(st.integers(0, len(log)))
    recover(store, log[:seen])
    recover(store, log, start=data.draw(st.integers(0, seen)))
    perform(store, log)
    assert held(store) == restored(log, PARTITIONS).values()
    recover(store, log)
    perform(store, log)
    assert held(store) == restored(log, PARTITIONS).values()
    assert store.settled(0, PARTITIONS) == ({}, (), (), None)


def test_a_stage_sees_no_staged_value(store: ShellStore) -> None:
    new: Values = {(0, key): pack(1, {}, b"new") for key in KEYS} | {(0, b"~watermark"): pack(1, {}, b"")}
    recover(store, applied(new, 1))
    assert list(PartitionedStore(store, (0, 1)).items()) == []
    assert len(list(store.records_of(0))) == len(new) + 1
