"""How an agent gives up: the process ends, and nothing runs after the batch that failed.

If an app crashes, Faust starts its agent again, and the new one would take the next records. They would be
folded into a state that is missing the failed batch.
"""

import asyncio
from typing import NoReturn

from faust.types import AppT

_FOR_EVER_S = 3600.0


class Ending:
    """Whether an agent has failed. Its body first awaits ``guard``."""

    def __init__(self) -> None:
        self._failed = False

    async def guard(self) -> None:
        """Return at once, or never if the agent has failed before."""
        if self._failed:
            await _wait()

    async def give_up(self, app: AppT, error: Exception) -> NoReturn:
        """Crash ``app``, which ends the process, and wait for that."""
        self._failed = True
        await app.crash(error)
        await _wait()


async def _wait() -> NoReturn:
    while True:
        await asyncio.sleep(_FOR_EVER_S)
