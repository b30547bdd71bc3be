"""Liveness is progress per partition: what does not arrive is fetched again, or the process ends.

If more can be read than has arrived, and the stage waits for it, then the log is checked. If a record is
there and does not arrive, then Faust is stuck, not the broker. Going back to the missing offset fixes that;
if it does not help, a restart does. If no record is there, control records and aborted ones end the log: the
work is done up to its end, and nothing is behind.
"""

import asyncio
import logging
import os

from tapedeck.agents.runner import StageRunner
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.merge import Part

log = logging.getLogger("tapedeck.liveness")

LOOK_S = 2.0
CURES = 3
"""How often one offset is fetched again before the process ends."""
STUCK_EXIT = 71


class Liveness:
    """Checks one runner. Two checks at the same offset, with records to read from it, trigger a new fetch."""

    def __init__(self, runner: StageRunner) -> None:
        self._runner = runner
        self._seen: dict[Part, int] = {}
        self._cured: dict[tuple[Part, int], int] = {}

    async def run(self) -> None:
        """Run forever; ends the process with STUCK_EXIT if fetching again does not help."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Check every partition whose end is ahead of what arrived."""
        before, self._seen = self._seen, self.behind()
        for part, offset in self._seen.items():
            end = self._runner.end_of(part)
            try:
                messages, holes = await self._runner.guard.between(part, offset, end)
            except TapeError:  # the broker or the topic is gone: its reader reports that
                continue
            if self._runner.following(part) != offset or part not in self._runner.parts():
                continue  # it came meanwhile, or has another owner
            if messages and before.get(part) == offset:
                await self._cure(part, offset)
            elif not messages:
                await self._runner.record(part, holes)
                self._runner.pass_to(part, end)

    def behind(self) -> dict[Part, int]:
        """The offset that should come next, where the stage waits and more can be read."""
        found: dict[Part, int] = {}
        for part in self._runner.parts() if self._runner.waits else ():
            following = self._runner.following(part)
            if following is None or self._runner.is_held_back(part):
                continue
            if self._runner.end_of(part) > following:
                found[part] = following
        return found

    async def _cure(self, part: Part, offset: int) -> None:
        name, partition = part
        stage = self._runner.spec.name
        times = self._cured[part, offset] = self._cured.get((part, offset), 0) + 1
        if times > CURES:
            log.critical(
                "%s gets nothing from %s/%d although offset %d exists and was fetched again %d times: "
                "exiting to be restarted", stage, name, partition, offset, CURES,
            )  # fmt: skip
            os._exit(STUCK_EXIT)
        log.error(
            "%s got nothing from %s/%d although offset %d exists: fetching it again",
            stage, name, partition, offset,
        )  # fmt: skip
        self._cured = {(part, offset): times}
        await self._runner.read_again(part, offset)
