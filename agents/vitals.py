"""The health and the metrics of a stage in its process, as the health server's thread sees them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from tapedeck.agents.app import StageApp
from tapedeck.agents.liveness import Liveness
from tapedeck.connectors.clock import SystemClock
from tapedeck.streams import measured, metrics
from tapedeck.streams.metrics import Sample

STUCK_S = 60.0
"""`agents/liveness.py` fetches again what does not arrive, every few seconds; what that does not cure in this
time does not move."""
LOOP_S = 15.0
"""A loop that has not run for so long is blocked; the watchdog ends it when it wakes."""

Source = Callable[[], int | None]
"""The last minute that the source of a stage has ended, UTC micros; None if that is not known."""


class StageVitals:
    """One stage of a worker or dispatcher. Part of the process's ``Vitals``."""

    def __init__(
        self,
        stage: StageApp,
        *,
        source: Source | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage, self._source, self._monotonic = stage, source, monotonic
        self._name = stage.heartbeat.name
        self._clock = SystemClock()
        self._liveness = Liveness(stage.runner)
        self._held: dict[tuple[str, int], tuple[int, float]] = {}

    def missing(self) -> dict[str, str]:
        """What keeps the stage from being ready: recovery, then a task for each of its partitions."""
        stage, found = self._stage, dict[str, str]()
        if restoring := stage.restoring():
            applied, todo = stage.progress()
            for home in restoring:
                found[f"{self._name}/{home}"] = f"restores: {applied} of {todo} changelog records"
        elif not stage.recovered.is_set():
            found[self._name] = "has no partitions yet"
        elif stage.app.rebalancing:
            found[self._name] = "is in a rebalance of its group"
        else:
            for home in stage.homes():
                if home not in stage.runner.tasks:
                    found[f"{self._name}/{home}"] = "has no task yet"
        return found

    def stuck(self) -> dict[str, str]:
        """Partitions with records to read from which nothing comes for long, and a loop that stands."""
        now, found = self._monotonic(), dict[str, str]()
        stands = now - self._stage.heartbeat.looked_at
        if self._stage.recovered.is_set() and stands > LOOP_S:
            found[self._name] = f"its loop has not run for {stands:.0f} s"
        if not self._stage.recovered.is_set():
            self._held = {}
            return found
        behind = self._liveness.behind()
        self._held = {
            part: self._held[part] if self._held.get(part, (-1, 0.0))[0] == offset else (offset, now)
            for part, offset in behind.items()
        }
        for (name, partition), (offset, since) in self._held.items():
            if now - since > STUCK_S:
                found[f"{self._name}:{name}/{partition}"] = (
                    f"nothing from offset {offset} on for {now - since:.0f} s, although it can be read"
                )
        return found

    def samples(self) -> Iterator[Sample]:
        """The stage's metrics, from what it counts anyway."""
        stage, name = self._stage, self._name
        runner, tasks = stage.runner, list(stage.runner.tasks.values())
        now, counts = self._clock.now(), Counter[str]()
        for task in tasks:
            body = stage.heartbeat.body(task)
            counts.update(body["counts"])
            yield from measured.beat_samples({**body, "at": stage.heartbeat.at(task.home) or now}, now)
        yield from measured.lag_sample(name, runner.lag() if tasks else None)
        yield measured.repeats_sample(name, counts)
        yield from runner.figures.samples(name)
        recovery = stage.app.recovery
        applied, todo = stage.progress()
        yield Sample(metrics.RESTORE, recovery.seconds_so_far if recovery is not None else 0.0, (name,))
        yield Sample(metrics.RESTORED, applied, (name,))
        yield Sample(metrics.TO_RESTORE, todo, (name,))
        if self._source is not None:
            marks = {task.home: task.watermark for task in tasks}
            yield from measured.delay_samples(name, marks, self._source())
