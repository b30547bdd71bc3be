"""What a stage appends, and the wait until the broker has it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from tapedeck.agents.patience import patiently
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.kafka.outbox import Batch, Outbox
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.shell import Dead, Write
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout

Permit = Callable[[int], Awaitable[None]]
"""Waits until so many records may be written."""


async def at_once(records: int) -> None:
    """The permit of a stage that needs none."""


class Writing:
    """Appends for one stage. ``permit`` is awaited before each write."""

    def __init__(self, spec: StageSpec, layout: Layout, outbox: Outbox) -> None:
        self._spec, self._layout, self._outbox = spec, layout, outbox
        self._clock = SystemClock()
        self.permit: Permit = at_once
        self.dead_letters: Counter[str] = Counter()
        """By reason; a batch that is repeated counts again."""

    async def written(self, wires: Iterable[Wire]) -> Batch:
        """Write until acknowledged; waits for a broker that is unavailable or refuses, and logs that."""
        wires = list(wires)
        if wires:
            await self.permit(len(wires))
        return await patiently(self._spec.name, lambda: self._outbox.write_async(wires))

    def changelog(self, writes: Iterable[Write]) -> list[Wire]:
        """Values of the table as changelog records."""
        now = self._clock.now() // 1000
        return [Wire(self._spec.changelog, w.partition, w.key, w.value, now, []) for w in writes]

    def dead(self, dead: Iterable[Dead]) -> list[Wire]:
        """The dead letters of inputs that were refused."""
        dead = list(dead)
        self.dead_letters.update(
            getattr(each.error, "reason", "") or type(each.error).__name__ for each in dead
        )
        return [dead_letter(self._layout, each.message, self._spec.name, each.error) for each in dead]
