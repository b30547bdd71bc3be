"""After a recovery, before anything is processed: makes the table what ``streams.changelog`` says it is."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from tapedeck.agents.recovery import Recovered
from tapedeck.agents.table import ShellStore
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.outbox import Batch
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.shell import Write
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout

log = logging.getLogger("tapedeck.settling")


class Settler:
    """Writes what a recovered table of one stage needs. ``written`` appends and awaits acknowledgements."""

    def __init__(
        self,
        spec: StageSpec,
        layout: Layout,
        home: int,
        *,
        written: Callable[[Iterable[Wire]], Awaitable[Batch]],
        probe: Callable[[str], None],
    ) -> None:
        self._spec, self._home, self._name = spec, home, layout.wire_name(spec.changelog)
        self._written, self._probe = written, probe
        self._now = SystemClock().now() // 1000

    async def settle(self, store: ShellStore, recovered: Recovered) -> None:
        """Activate an applied rebuild, remove what is left of one that never became active, and rewrite the
        winners that late records hide. Ends early once ``recovered`` no longer stands: the table has another
        owner, or the next recovery reads it."""
        for home, partitions in recovered.tasks(self._spec, self._home):
            if not recovered.stands():
                return
            await self._settle_task(store, home, partitions, recovered.stands)
        for partition in recovered.partitions:
            if not recovered.stands():
                return
            writes = store.take_outrun(partition)
            if writes:
                await self._written(self._wires(writes))
                log.info("%s/%d: %d winners written again", self._spec.name, partition, len(writes))

    async def _settle_task(
        self, store: ShellStore, home: int, partitions: Sequence[int], stands: Callable[[], bool]
    ) -> None:
        settled = store.settled(home, partitions)
        writes = [Write(partition, key, value) for (partition, key), value in settled.promoted.items()]
        if writes:
            batch = await self._written(self._wires(writes))
            self._probe("promoted written")
            if not stands():
                return
            store.write_all(writes, lambda partition: batch.offsets[self._name, partition])
            what = "%s/%d: %d values of an applied rebuild are active (%s)"
            log.info(what, self._spec.name, home, len(writes), settled.source)
        # the commit record first: without it, the remaining staged records change nothing
        for nulls in (settled.nulls[:1], settled.nulls[1:]):
            if not stands():
                return
            await self._written(self._nulls(nulls))
            self._probe("nulls written")
        if stands():
            store.remove((*settled.nulls, *settled.dropped))

    def _wires(self, writes: Iterable[Write]) -> list[Wire]:
        return [Wire(self._spec.changelog, w.partition, w.key, w.value, self._now, []) for w in writes]

    def _nulls(self, keys: Iterable[tuple[int, bytes]]) -> list[Wire]:
        return [Wire(self._spec.changelog, partition, key, None, self._now, []) for partition, key in keys]
