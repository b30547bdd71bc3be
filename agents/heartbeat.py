"""Heartbeats: the latest progress of each stage partition, for status, the doctor and lock-step play."""

import asyncio

from tapedeck.agents.runner import StageRunner
from tapedeck.agents.settings import Settings, code_version
from tapedeck.agents.task import Task
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Retry
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import topic

PERIOD_S = 1.0
IDLE_PERIODS = 5


class Heartbeat:
    """Writes a record per task every second if something moved, every five seconds if nothing did.

    ``watermark`` replaces a trigger's watermark where it has none: a dispatcher sets its settled minute.
    """

    def __init__(self, name: str, runner: StageRunner, settings: Settings, outbox: Outbox) -> None:
        self._name, self._runner, self._settings, self._outbox = name, runner, settings, outbox
        self._clock = SystemClock()
        self.watermark: int | None = None
        self._written: dict[int, int] = {}

    async def run(self) -> None:
        """Run forever; a failed beat is retried at the next one."""
        idle = 0
        while True:
            await asyncio.sleep(PERIOD_S)
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

    def _wire(self, task: Task) -> Wire:
        now = self._clock.now()
        body = {
            "stage": self._name,
            "partition": task.home,
            "at": now,
            "last_watermark": task.watermark if self.watermark is None else self.watermark,
            "lag": self._runner.lag(),
            "records": task.records,
            "code_version": code_version(),
            "config_digest": self._settings.config.digest,
            "counts": {reason: int(count) for reason, count in task.counts.items()},
        }
        key = topic("heartbeats").record_key(body)
        return Wire("heartbeats", 0, key, encode("heartbeats", body), now // 1000, [])
