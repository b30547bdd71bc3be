"""What follows a recovery judges and settles what it brought, and nothing once that no longer stands."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace

import pytest

from tapedeck.agents import identity
from tapedeck.agents.identity import CONFIRM_S, Identity
from tapedeck.agents.recovery import Recovered
from tapedeck.agents.settling import Settler
from tapedeck.agents.table import ShellStore
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Batch
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.changelog import APPLIED_KEY, is_control
from tapedeck.streams.frame import pack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.shell import Write
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import headers_for
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.unit.agents.test_table import recover, store
from tests.unit.streams.test_changelog import applied

__all__ = ["store"]
FEATURES = TOPOLOGY.stage("features")
PASSED = 5


class World:
    """Bars whose group has passed a watermark in every partition, and the generation of that group."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.generation = 3
        self.looks = 0
        self.waits: list[float] = []
        self.on_look: Callable[[int], None] = lambda _: None
        monkeypatch.setattr(identity, "KafkaGroups", lambda _: self)
        monkeypatch.setattr(
            identity, "ends_of", lambda _, names: {(n, p): (0, 9) for n in names for p in (0, 1)}
        )
        monkeypatch.setattr(identity, "read_parts", self._read)
        monkeypatch.setattr(identity, "time", SimpleNamespace(sleep=self.waits.append))

    def committed(self, group: str, parts: Iterable[Part]) -> dict[Part, int | None]:
        self.looks += 1
        self.on_look(self.looks)
        return dict.fromkeys(parts, PASSED)

    def _read(self, _: Cluster, passed: Iterable[Part]) -> Iterator[list[Message]]:
        yield [Message(n, p, 4, 0, WATERMARK_KEY, None, tuple(headers_for(60_000_000))) for n, p in passed]

    def check(self, store: ShellStore, *partitions: int) -> None:
        """The check of a recovery of ``partitions`` in generation 3."""
        recovered = Recovered(partitions, lambda: self.generation == 3)
        Identity(Cluster("nowhere:9"), FEATURES, "features").check(store, recovered)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, store: ShellStore) -> World:
    """``store`` has the state of partition 0; partition 1 is open and empty, as before its recovery."""
    store.write_batch(0, [Write(0, WATERMARK_KEY, pack(PASSED, {}, b""))], 7)
    assert store.persisted_offset(SimpleNamespace(partition=1)) is None and store.held() == [0, 1]  # type: ignore[arg-type]
    return World(monkeypatch)


def test_a_partition_that_is_open_but_not_recovered_is_not_judged(store: ShellStore, world: World) -> None:
    world.check(store, 0)
    assert world.looks == 1
    with pytest.raises(Fatal, match="has no state, but its group has passed offset 4 of bars/1"):
        world.check(store, 0, 1)


def test_a_finding_is_looked_at_twice(store: ShellStore, world: World) -> None:
    with pytest.raises(Fatal, match="no state"):
        world.check(store, 1)
    assert world.looks == 2 and world.waits == [CONFIRM_S]


@pytest.mark.parametrize("moves_at", [1, 2], ids=["while it looks", "before it looks again"])
def test_nothing_is_found_once_the_partitions_may_have_another_owner(
    store: ShellStore, world: World, moves_at: int
) -> None:
    world.on_look = lambda looks: setattr(world, "generation", 4 if looks == moves_at else 3)
    world.check(store, 1)
    assert world.looks == moves_at


def test_a_recovery_that_was_overtaken_before_the_check_asks_nobody(store: ShellStore, world: World) -> None:
    world.generation = 4
    world.check(store, 0, 1)
    assert world.looks == 0


# settling ----------------------------------------------------------------------------------------------


def settle(store: ShellStore, partitions: tuple[int, ...], stands: Callable[[int], bool]) -> list[Wire]:
    """What the settler of the features stage writes; ``stands`` is asked how many records it wrote so far."""
    found: list[Wire] = []

    async def written(wires: Iterable[Wire]) -> Batch:
        found.extend(wires)
        return Batch()

    settler = Settler(FEATURES, Layout(), 0, written=written, probe=lambda _: None)
    asyncio.run(settler.settle(store, Recovered(partitions, lambda: stands(len(found)))))
    return found


def staged(store: ShellStore, partition: int) -> list[bytes]:
    return [key for key, _ in store.records_of(partition) if is_control(key)]


@pytest.fixture
def half_read(store: ShellStore) -> ShellStore:
    """Staged records of a rebuild in both partitions; the commit record of neither has been read."""
    values = {(part, WATERMARK_KEY): pack(1, {}, b"new") for part in (0, 1)}
    recover(store, [entry for entry in applied(values, 1) if entry.key != APPLIED_KEY])
    assert staged(store, 0) and staged(store, 1)
    return store


def test_staged_records_whose_commit_record_may_still_come_are_left_alone(half_read: ShellStore) -> None:
    before = staged(half_read, 1)
    wires = settle(half_read, (0,), lambda _: True)
    assert {wire.partition for wire in wires} == {0}
    assert staged(half_read, 0) == [] and staged(half_read, 1) == before


@pytest.mark.parametrize("until", [0, 1], ids=["before", "while it settles"])
def test_an_overtaken_recovery_settles_nothing_more(half_read: ShellStore, until: int) -> None:
    before = staged(half_read, 0), staged(half_read, 1)
    wires = settle(half_read, (0, 1), lambda wrote: wrote < until)
    assert len(wires) == until and {wire.partition for wire in wires} <= {0}
    assert (staged(half_read, 0), staged(half_read, 1)) == before
