"""A dispatcher whose lease has run out writes nothing: neither its inbox nor what its account stage makes."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tapedeck.agents.covered import covered
from tapedeck.agents.writing import Writing
from tapedeck.connectors.dispatch.lease import STALE_WRITE, Lease, MemoryLeases
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.topics.catalogue import Layout


class Held:
    """A writing whose permit is the lease of ``one``, on a clock that the test moves."""

    def __init__(self) -> None:
        self.seconds, self.written = 100.0, list[int]()
        self.store = MemoryLeases(lambda: self.seconds)
        self.lease = self.of("one")
        self.lease.acquire()
        outbox = SimpleNamespace(write_async=self._write)
        self.writing = Writing(TOPOLOGY.account, Layout(), cast(Any, outbox))
        self.writing.permit = partial(covered, self.lease, "large")

    def of(self, holder: str) -> Lease:
        return Lease(self.store, "large", holder, monotonic=lambda: self.seconds)

    async def _write(self, wires: list[int]) -> None:
        self.written += wires

    def write(self, *wires: int) -> None:
        asyncio.run(self.writing.written(cast(Any, wires)))


def test_records_are_written_while_the_lease_runs() -> None:
    held = Held()
    held.seconds += 9.9
    held.write(1, 2)
    assert held.written == [1, 2] and not held.lease.stopped


def test_nothing_to_write_waits_for_nothing() -> None:
    held = Held()
    held.seconds += 60
    held.write()
    assert not held.lease.stopped


def test_records_of_a_lease_that_has_run_out_wait_until_it_is_renewed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    held = Held()
    held.seconds += 60

    async def both() -> None:
        writing = asyncio.create_task(held.writing.written(cast(Any, [1, 2])))
        await asyncio.sleep(0.05)
        assert held.written == []
        held.lease.renew()
        await writing

    asyncio.run(both())
    assert held.written == [1, 2] and held.lease.stopped == {STALE_WRITE: 2}
    said = [record.getMessage() for record in caplog.records if record.name == "tapedeck.lease"]
    assert said == ["large waits: its lease has run out, so it writes nothing", "large no longer waits"]


def test_records_of_a_process_whose_account_another_one_has_are_never_written() -> None:
    held = Held()
    held.seconds += 60
    held.of("two").acquire()

    async def woken() -> None:
        async with asyncio.timeout(0.05):
            await held.writing.written(cast(Any, [1]))

    with pytest.raises(TimeoutError):
        asyncio.run(woken())
    assert held.written == [] and held.lease.stopped == {STALE_WRITE: 1}
