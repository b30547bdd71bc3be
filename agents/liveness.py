"""Liveness is progress per partition: a stage whose consumer stopped delivering ends its process.

The broker's end is ahead, nothing has arrived for a while, and a plain consumer can read what is missing:
then Faust is stuck, not the broker, and a restart is the cure.
"""

import asyncio
import logging
import os

from confluent_kafka import KafkaException

from agents.gaps import reread
from agents.runner import StageRunner
from agents.settings import Settings
from schemas.errors import TapeError
from streams.merge import Part

log = logging.getLogger("tapedeck.liveness")

LOOK_S = 10.0
STUCK_EXIT = 71


class Liveness:
    """Looks at one runner. Two looks without progress, with records to read, are the end."""

    def __init__(self, runner: StageRunner, settings: Settings) -> None:
        self._runner, self._settings = runner, settings
        self._seen: dict[Part, int] = {}

    async def run(self) -> None:
        """For ever; ends the process with STUCK_EXIT where the stage is stuck."""
        while True:
            await asyncio.sleep(LOOK_S)
            for part in self.suspects():
                if await asyncio.to_thread(self._is_there, part):
                    name, partition = part
                    log.critical(
                        "%s gets nothing from %s/%d though offset %d is there: exiting to start again",
                        self._runner.spec.name, name, partition, self._seen[part],
                    )  # fmt: skip
                    os._exit(STUCK_EXIT)

    def suspects(self) -> list[Part]:
        """Partitions whose end is ahead of what arrived, and stood there at the last look too."""
        found = []
        for part, following in self._runner.expected.items():
            high = self._runner.end_of(part)
            if high > following and self._seen.get(part) == following and not self._runner.is_held_back(part):
                found.append(part)
            self._seen[part] = following
        return found

    def _is_there(self, part: Part) -> bool:
        start = self._seen[part]
        try:
            found, _ = reread(self._settings.bootstrap, self._settings.layout, part, range(start, start + 1))
        except (TapeError, KafkaException):
            return False
        return bool(found)
