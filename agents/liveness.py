"""Liveness is progress per partition: what does not arrive is fetched again, or the process ends.

The broker's end is ahead, nothing arrives though the stage waits for it, and a plain consumer can read what
is missing: then Faust is stuck, not the broker. Going back to the missing offset is the cure; where it does
not help, a restart is.
"""

import asyncio
import logging
import os

from confluent_kafka import KafkaException

from tapedeck.agents.gaps import reread
from tapedeck.agents.runner import StageRunner
from tapedeck.agents.settings import Settings
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.merge import Part

log = logging.getLogger("tapedeck.liveness")

LOOK_S = 2.0
CURES = 3
"""Times that one offset is fetched again before the process ends."""
STUCK_EXIT = 71


class Liveness:
    """Looks at one runner. Two looks at the same offset, with records to read from it, call for a cure."""

    def __init__(self, runner: StageRunner, settings: Settings) -> None:
        self._runner, self._settings = runner, settings
        self._seen: dict[Part, int] = {}
        self._cured: dict[tuple[Part, int], int] = {}

    async def run(self) -> None:
        """For ever; ends the process with STUCK_EXIT where fetching again does not help."""
        while True:
            await asyncio.sleep(LOOK_S)
            for part in self.suspects():
                offset = self._seen[part]
                if await asyncio.to_thread(self._is_there, part, offset):
                    await self._cure(part, offset)

    async def _cure(self, part: Part, offset: int) -> None:
        if self._runner.following(part) != offset or part not in self._runner.parts():
            return  # it came meanwhile, or has another owner
        name, partition = part
        stage = self._runner.spec.name
        times = self._cured[part, offset] = self._cured.get((part, offset), 0) + 1
        if times > CURES:
            log.critical(
                "%s gets nothing from %s/%d though offset %d is there and was fetched again %d times: "
                "exiting to start again", stage, name, partition, offset, CURES,
            )  # fmt: skip
            os._exit(STUCK_EXIT)
        log.error(
            "%s got nothing from %s/%d though offset %d is there: fetching it again",
            stage, name, partition, offset,
        )  # fmt: skip
        self._cured = {(part, offset): times}
        await self._runner.read_again(part, offset)

    def suspects(self) -> list[Part]:
        """Partitions whose end is ahead of what arrived, and stood there at the last look too."""
        before, self._seen = self._seen, {}
        if not self._runner.waits:
            return []
        for part in self._runner.parts():
            following = self._runner.following(part)
            if following is not None and self._runner.end_of(part) > following:
                self._seen[part] = following
        return [
            part
            for part, offset in self._seen.items()
            if before.get(part) == offset and not self._runner.is_held_back(part)
        ]

    def _is_there(self, part: Part, offset: int) -> bool:
        try:
            found, _ = reread(self._settings.cluster, part, range(offset, offset + 1))
        except (TapeError, KafkaException):
            return False
        return bool(found)
