"""Logs which open transaction withholds what a stage waits for: nobody reads past it, with no other sign."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from tapedeck.agents.runner import StageRunner
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.transactions import OpenTransaction, open_transactions
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.merge import Part

log = logging.getLogger("tapedeck.withheld")

LOOK_S = 2.0
PATIENCE_S = 10.0
"""How long a transaction may be open without a message: one that is being written is not worth reporting."""
AGAIN_S = 30.0

Ask = Callable[[Cluster, Iterable[str]], list[OpenTransaction]]


class Withheld:
    """Checks one runner's inputs."""

    def __init__(
        self,
        runner: StageRunner,
        cluster: Cluster,
        *,
        ask: Ask = open_transactions,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._cluster, self._ask, self._monotonic = runner, cluster, ask, monotonic
        self._since: dict[Part, float] = {}
        self._next = 0.0

    async def run(self) -> None:
        """Run forever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Check once; a warning names each transaction that has withheld records for PATIENCE_S."""
        now = self._monotonic()
        looked_at = (*self._runner.parts(), *self._runner.broadcasts)
        parts = [part for part in looked_at if self._runner.withheld(part)]
        self._since = {part: self._since.get(part, now) for part in parts}
        long = {part for part, since in self._since.items() if now - since >= PATIENCE_S}
        if not long or now < self._next:
            return
        self._next = now + AGAIN_S
        try:
            found = await asyncio.to_thread(self._ask, self._cluster, sorted({name for name, _ in long}))
        except TapeError as error:
            log.warning(
                "open transactions withhold records, but the broker cannot be asked about them: %s", error
            )
            return
        for each in found:
            if (each.topic, each.partition) in long:
                log.warning("%s waits: %s", self._runner.spec.name, each)
