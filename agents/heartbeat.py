"""Heartbeats: the latest progress of each stage partition, for status, the doctor and lock-step play."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tapedeck.agents.runner import StageRunner
from tapedeck.agents.settings import Settings, code_version
from tapedeck.agents.task import Task
from tapedeck.connectors.beats import about, beat
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.schemas.errors import Retry
from tapedeck.streams.wire import Wire

PERIOD_S = 1.0
IDLE_PERIODS = 5
Progress = Callable[[], tuple[int, int]]


class Heartbeat:
    """Writes a record per task every second if something moved, every five seconds if nothing did.

    ``watermark`` replaces a trigger's watermark where it has none: a dispatcher sets its settled minute.
    ``standing`` adds counts that say how a source of the process is, ``STATE:SOURCE``, in seconds.
    ``progress``: changelog records applied in the last recovery, and those that it has to apply.
    ``assigned``: the tasks that the process owns. ``restoring``: those whose tables are being recovered.
    """

    def __init__(
        self,
        name: str,
        runner: StageRunner,
        settings: Settings,
        outbox: Outbox,
        *,
        progress: Progress,
        assigned: Callable[[], Sequence[int]],
        restoring: Callable[[], Sequence[int]],
    ) -> None:
        self.name, self._runner, self._outbox = name, runner, outbox
        self._progress, self._assigned, self._restoring = progress, assigned, restoring
        self._about = about(code_version(), settings.config.digest)
        self._clock = SystemClock()
        self.watermark: int | None = None
        self.standing: Callable[[], Mapping[str, int]] = dict
        self._written: dict[int, int] = {}
        self._at: dict[int, int] = {}
        self.looked_at = time.monotonic()
        """When the loop ran last, on the monotonic clock."""

    async def run(self) -> None:
        """Run forever; a failed beat is retried at the next one."""
        idle = 0
        while True:
            await asyncio.sleep(PERIOD_S)
            self.looked_at = time.monotonic()
            idle += 1
            if idle >= IDLE_PERIODS:
                self._runner.open_tasks()
            moved = [
                task for home, task in self._runner.tasks.items() if self._written.get(home) != task.records
            ]
            beating = list(self._runner.tasks.values()) if idle >= IDLE_PERIODS else moved
            if beating:
                idle = 0
                await self.beat(beating)

    async def beat(self, tasks: list[Task]) -> None:
        """Write one record per task now."""
        wires = [self._wire(task) for task in tasks]
        try:
            await self._outbox.write_async(wires)
        except Retry:
            return
        for task in tasks:
            self._written[task.home] = task.records
            self._at[task.home] = self._clock.now()

    def at(self, home: int) -> int | None:
        """When the last heartbeat of a task was acknowledged, UTC micros."""
        return self._at.get(home)

    async def while_restoring(self) -> None:
        """Tell of the tables' recovery, each second: a long one is not silence."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.looked_at = time.monotonic()
            homes = self._restoring()
            with suppress(Retry):
                await self._outbox.write_async([self._not_ready(home, homes) for home in homes])

    def _not_ready(self, home: int, homes: Sequence[int]) -> Wire:
        return beat(
            self.name,
            self._clock.now(),
            marked=None,
            lag=None,
            records=0,
            counts={},
            about=self._about,
            partition=home,
            assigned=homes,
            restoring=self._progress(),
            ready=False,
        )

    def body(self, task: Task) -> dict[str, Any]:
        """What a heartbeat of ``task`` says of its progress now."""
        return {
            "stage": self.name,
            "partition": task.home,
            "last_watermark": task.watermark if self.watermark is None else self.watermark,
            "counts": {reason: int(count) for reason, count in task.counts.copy().items()}
            | dict(self.standing()),
        }

    def _wire(self, task: Task) -> Wire:
        body = self.body(task)
        return beat(
            self.name,
            self._clock.now(),
            marked=body["last_watermark"],
            lag=self._runner.lag(),
            records=task.records,
            counts=body["counts"],
            about=self._about,
            partition=task.home,
            assigned=self._assigned(),
            restoring=self._progress(),
        )
