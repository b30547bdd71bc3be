"""A worker told where to die: ``TAPE_TEST_KILL="table written:3"`` is the third time at that point.

``TAPE_TEST_FAIL`` raises an error there instead: what a bug or a full disk does. ``TAPE_TEST_LINGER=2`` waits
so many seconds behind the recovery. ``TAPE_TEST_LOSE="0:50"`` throws away what the fetcher brings of that
partition of the trigger from that offset on, until it is asked to go back.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial, reduce
from operator import or_
from typing import Any

from tapedeck.agents import consumer, runner, task
from tapedeck.agents.app import StageApp, market_app
from tapedeck.agents.consumer import TapeConsumer
from tapedeck.agents.process import run
from tapedeck.agents.settings import Settings, from_environment
from tapedeck.connectors.kafka.principals import worker
from tapedeck.streams.protocol import StageSpec
from tapedeck.tape.topology import topology_in_use


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


def _linger(app: StageApp, seconds: float) -> None:
    async def wait() -> None:
        print("lingering", flush=True)
        await asyncio.sleep(seconds)

    app.table.on_recover(wait)


class _Losing(TapeConsumer):
    """Loses messages between a fetch and a channel."""

    def __init__(self, transport: Any, callback: Any, *rest: Any, **options: Any) -> None:
        super().__init__(transport, self._hand_over, *rest, **options)
        self._hand_on = callback
        partition, offset = os.environ["TAPE_TEST_LOSE"].split(":")
        self._from: tuple[int, int] | None = int(partition), int(offset)

    async def _hand_over(self, message: Any) -> None:
        if not self._loses(message):
            await self._hand_on(message)

    def _loses(self, message: Any) -> bool:
        if self._from is None or self._is_changelog_tp(message.tp):
            return False
        partition, offset = self._from
        return bool(message.partition == partition and message.offset >= offset)

    async def go_back(self, tp: Any, offset: int) -> None:
        self._from = None
        await super().go_back(tp, offset)


def _agent(spec: StageSpec, settings: Settings) -> StageApp:
    app = market_app(spec, settings)
    for name, act in (("TAPE_TEST_KILL", _kill), ("TAPE_TEST_FAIL", _fail)):
        if order := os.environ.get(name):
            _arm(app, order, act)
    if seconds := os.environ.get("TAPE_TEST_LINGER"):
        _linger(app, float(seconds))
    return app


def main() -> None:
    if batch := os.environ.get("TAPE_TEST_BATCH"):
        runner.BATCH = int(batch)
    if hold := os.environ.get("TAPE_TEST_HOLD"):
        task.PAUSE_AT = int(hold)
        task.RESUME_AT = int(hold) // 4
    if os.environ.get("TAPE_TEST_LOSE"):
        consumer.TapeConsumer = _Losing  # type: ignore[misc]
    topology, settings = topology_in_use(), from_environment()
    specs = [topology.stage(name) for name in sys.argv[1:]]
    rights = reduce(or_, (worker(spec, settings.layout) for spec in specs))
    run(settings, [partial(_agent, spec) for spec in specs], rights)


if __name__ == "__main__":
    main()
