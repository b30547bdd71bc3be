"""A worker told where to die: ``TAPE_TEST_KILL="table written:3"`` is the third time at that point.

``TAPE_TEST_FAIL`` raises an error there instead: what a bug or a full disk does.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

from agents import runner
from agents.app import StageApp
from agents.process import run
from agents.settings import Settings, from_environment


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise OSError("told to fail here")


def _arm(app: StageApp, order: str, act: Callable[[], None]) -> None:
    point, _, times = order.partition(":")
    left = int(times)

    def probe(reached: str) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                act()

    app.set_probe(probe)


def _agent(stage: str, settings: Settings) -> StageApp:
    app: StageApp = import_module(f"agents.{stage}").agent(settings)
    for name, act in (("TAPE_TEST_KILL", _kill), ("TAPE_TEST_FAIL", _fail)):
        if order := os.environ.get(name):
            _arm(app, order, act)
    return app


def main() -> None:
    if batch := os.environ.get("TAPE_TEST_BATCH"):
        runner.BATCH = int(batch)
    if hold := os.environ.get("TAPE_TEST_HOLD"):
        runner.PAUSE_AT = int(hold)
        runner.RESUME_AT = int(hold) // 4
    run(from_environment(), [partial(_agent, name) for name in sys.argv[1:]])


if __name__ == "__main__":
    main()
