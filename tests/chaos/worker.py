"""A worker told where to die: ``TAPE_TEST_KILL="table written:3"`` is the third time at that point."""

import os
import signal
import sys
from importlib import import_module

from agents import runner
from agents.app import StageApp
from agents.process import run
from agents.settings import from_environment


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


def main() -> None:
    settings = from_environment()
    apps = [import_module(f"agents.{name}").agent(settings) for name in sys.argv[1:]]
    if batch := os.environ.get("TAPE_TEST_BATCH"):
        runner.BATCH = int(batch)
    if order := os.environ.get("TAPE_TEST_KILL"):
        for app in apps:
            _arm(app, order)
    run([app.app for app in apps])


if __name__ == "__main__":
    main()
