"""A worker told where to die: ``TAPE_TEST_KILL="table written:3"`` is the third time at that point."""

import os
import signal
import sys
from functools import partial
from importlib import import_module

from agents import runner
from agents.app import StageApp
from agents.process import run
from agents.settings import Settings, from_environment


def _arm(app: StageApp, order: str) -> None:
    point, _, times = order.partition(":")
    left = int(times)

    def probe(reached: str) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    app.set_probe(probe)


def _agent(name: str, settings: Settings) -> StageApp:
    app: StageApp = import_module(f"agents.{name}").agent(settings)
    if order := os.environ.get("TAPE_TEST_KILL"):
        _arm(app, order)
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
