"""A worker process: several Faust apps on one loop, with a watchdog and a hard deadline."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType

import faust
from faust.worker import Worker

from agents.app import SESSION_TIMEOUT_S

log = logging.getLogger("tapedeck.worker")

DEADLINE_S = 8.0
STALLED_EXIT = 70


class Watchdog:
    """Ends the process when its loop stood still for longer than the session time-out.

    Its partitions belong to another worker by then; going on would write as a zombie.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s

    async def run(self) -> None:
        """Beat on the loop; a beat that comes too late is the end."""
        beat = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if now - beat > self._limit_s:
                log.critical(
                    "the loop stood still for %.1f s, longer than the session time-out of %.1f s: "
                    "exiting, the partitions have another owner", now - beat, self._limit_s,
                )  # fmt: skip
                os._exit(STALLED_EXIT)
            beat = now


def _arm_deadline() -> None:
    """SIGTERM: Faust drains; past the deadline the process ends anyway (kill -9 is a normal stop)."""
    previous = signal.getsignal(signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        timer = threading.Timer(DEADLINE_S, os._exit, args=(0,))
        timer.daemon = True
        timer.start()
        if callable(previous):
            previous(number, frame)

    signal.signal(signal.SIGTERM, on_term)


def run(apps: Sequence[faust.App]) -> None:
    """Run ``apps`` until SIGTERM or SIGINT. Never returns."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(os.environ.get("TAPE_LIBRARY_LOG_LEVEL", "WARNING"))
    watchdog = Watchdog(SESSION_TIMEOUT_S)
    first, *others = apps
    first.task(watchdog.run)
    worker = Worker(first, *others, loglevel="WARNING", override_logging=False, redirect_stdouts=False)
    _arm_deadline()
    worker.execute_from_commandline()
