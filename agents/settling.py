"""After a recovery, before anything is processed: makes the table what ``streams.changelog`` says it is."""

import logging
from collections.abc import Awaitable, Callable, Iterable

from tapedeck.agents.table import ShellStore
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.outbox import Batch
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.shell import Write
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout

log = logging.getLogger("tapedeck.settling")


class Settler:
    """Writes what a recovered table of one stage needs. ``written`` appends and waits for acknowledgements;
    ``generation`` returns the consumer group's: after a change the table has another owner."""

    def __init__(
        self,
        spec: StageSpec,
        layout: Layout,
        home: int,
        *,
        written: Callable[[Iterable[Wire]], Awaitable[Batch]],
        generation: Callable[[], int],
        probe: Callable[[str], None],
    ) -> None:
        self._spec, self._home, self._name = spec, home, layout.wire_name(spec.changelog)
        self._written, self._generation, self._probe = written, generation, probe
        self._now = SystemClock().now() // 1000

    async def settle(self, store: ShellStore) -> None:
        """Activate an applied rebuild, remove what is left of one that never became active, and rewrite the
        winners that late records hide."""
        for home, partitions in self._owned(store):
            await self._settle_task(store, home, partitions)
        for partition in list(store.outrun):
            writes = store.take_outrun(partition)
            if writes:
                await self._written(self._wires(writes))
                log.info("%s/%d: %d winners written again", self._spec.name, partition, len(writes))

    def _owned(self, store: ShellStore) -> list[tuple[int, list[int]]]:
        """Home and table partitions of each task that has an open table here."""
        held = store.held()
        if self._spec.scale == "single":
            return [(self._home, held)] if held else []
        return [(partition, [partition]) for partition in held]

    async def _settle_task(self, store: ShellStore, home: int, partitions: list[int]) -> None:
        generation, settled = self._generation(), store.settled(home, partitions)
        writes = [Write(partition, key, value) for (partition, key), value in settled.promoted.items()]
        if writes:
            batch = await self._written(self._wires(writes))
            self._probe("promoted written")
            if self._generation() != generation:
                return
            store.write_all(writes, lambda partition: batch.offsets[self._name, partition])
            what = "%s/%d: %d values of an applied rebuild are active (%s)"
            log.info(what, self._spec.name, home, len(writes), settled.source)
        # the commit record first: without it, the remaining staged records change nothing
        for nulls in (settled.nulls[:1], settled.nulls[1:]):
            await self._written(self._nulls(nulls))
            self._probe("nulls written")
        if self._generation() == generation:
            store.remove((*settled.nulls, *settled.dropped))

    def _wires(self, writes: Iterable[Write]) -> list[Wire]:
        return [Wire(self._spec.changelog, w.partition, w.key, w.value, self._now, []) for w in writes]

    def _nulls(self, keys: Iterable[tuple[int, bytes]]) -> list[Wire]:
        return [Wire(self._spec.changelog, partition, key, None, self._now, []) for partition, key in keys]
