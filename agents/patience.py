"""Waits for a broker that is unavailable: repeats a request, and logs that it waits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tapedeck.schemas.errors import Retry

log = logging.getLogger("tapedeck.patience")

RETRY_S = 1.0
T = TypeVar("T")


async def patiently(who: str, ask: Callable[[], Awaitable[T]]) -> T:
    """The result of ``ask``, repeated while it raises Retry; meanwhile the log says that ``who`` waits."""
    while True:
        try:
            return await ask()
        except Retry as error:
            log.error("%s waits: %s", who, error)
            await asyncio.sleep(RETRY_S)
