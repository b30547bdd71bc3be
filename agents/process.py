"""A worker process: several Faust apps on one loop, with a watchdog and a hard deadline.

It refuses to start on a cluster whose topics differ from the catalogue. It creates the file TAPE_READY_FILE
once every app has its partitions and its state.
"""

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from faust.worker import Worker

from tapedeck.agents import journal
from tapedeck.agents.app import StageApp
from tapedeck.agents.give_back import GiveBack
from tapedeck.agents.settings import Settings, code_version, tell_ready
from tapedeck.agents.source_marks import SourceMarks
from tapedeck.agents.topic_watch import TopicWatch
from tapedeck.agents.vitals import StageVitals
from tapedeck.connectors.beats import about
from tapedeck.connectors.health.server import serve
from tapedeck.connectors.health.vitals import Vitals
from tapedeck.connectors.kafka.acls import Rights, demand_rights
from tapedeck.connectors.kafka.admin import check
from tapedeck.connectors.kafka.identity import cluster_id_of

log = logging.getLogger("tapedeck.worker")

DEADLINE_S = 8.0
CRASH_S = 3.0
FAILED_EXIT = 1
STALLED_EXIT = 70

NO_SOURCES: Mapping[str, str] = {}
Agent = Callable[[Settings], StageApp]


class Watchdog:
    """Ends the process when its loop was blocked for longer than the session timeout.

    By then its partitions belong to another worker; going on would write as a zombie.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s

    async def run(self) -> None:
        """Beat on the loop; a beat that comes too late ends the process."""
        beat = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if now - beat > self._limit_s:
                log.critical(
                    "the loop was blocked for %.1f s, longer than the session timeout of %.1f s: "
                    "exiting, because the partitions have another owner", now - beat, self._limit_s,
                )  # fmt: skip
                os._exit(STALLED_EXIT)
            beat = now


class DeadlineWorker(Worker):
    """Faust drains on a signal and cleans up after a crash; past the deadline the process ends anyway.

    Kill -9 is a normal stop here, so nothing is lost.
    """

    def _schedule_shutdown(self, number: Any) -> None:
        _end_after(DEADLINE_S, 0)
        super()._schedule_shutdown(number)

    def _crash(self, reason: BaseException) -> None:
        _end_after(CRASH_S, FAILED_EXIT)
        super()._crash(reason)


def _end_after(seconds: float, code: int) -> None:
    timer = threading.Timer(seconds, os._exit, args=(code,))
    timer.daemon = True
    timer.start()


def run(
    settings: Settings,
    agents: Sequence[Agent],
    rights: Rights,
    *,
    name: str = "worker",
    sources: Mapping[str, str] = NO_SOURCES,
) -> None:
    """Run ``agents`` in one process until SIGTERM or SIGINT. Never returns.

    ``name``: of the process, for its health. ``sources``: the source topic that each stage goes back to.

    Raises CatalogueMismatch if topics are missing or have another number of partitions, Fatal if the health
    port is taken, one of ``rights`` is not granted or a disk is ahead of its changelog, and Retry if the
    broker does not answer.
    """
    journal.set_up()
    vitals = Vitals(name, about(code_version(), settings.config.digest), calendar=lambda: settings.calendar)
    serve(vitals)
    cluster_id_of(settings.cluster)
    demand_rights(settings.cluster, rights)
    check(settings.cluster)
    stages = [agent(settings) for agent in agents]
    beside = [name for stage in stages for name in stage.beside]
    watch = TopicWatch(settings.cluster, [stage.spec for stage in stages], beside)
    marks = SourceMarks(settings.cluster)
    for stage in stages:
        stage.begin(watch)
        root = sources.get(stage.spec.name)
        vitals.parts.append(StageVitals(stage, source=partial(marks.of, root) if root else None))
    first, *others = (stage.app for stage in stages)
    first.task(Watchdog(settings.membership.session_timeout_s).run)
    first.task(watch.run)

    def moved() -> int:
        return sum(task.records for stage in stages for task in stage.runner.tasks.values())

    def flush() -> None:
        for stage in stages:
            stage.store.flush()

    first.task(GiveBack(moved, flush).run)

    async def ready() -> None:
        for stage in stages:
            await stage.recovered.wait()
        log.info("ready: %s", ", ".join(stage.spec.name for stage in stages))
        vitals.started = True
        tell_ready()

    first.task(ready)
    gc.freeze()  # a full collection over everything imported takes 0.2 s, in the middle of a minute
    worker = DeadlineWorker(
        first, *others, loglevel="WARNING", override_logging=False, redirect_stdouts=False, quiet=True
    )
    worker.spinner = None  # it would write terminal codes into the log
    worker.execute_from_commandline()
