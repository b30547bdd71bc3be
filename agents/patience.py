"""A broker that is away is waited for: what was asked is asked again, and the log says so."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tapedeck.schemas.errors import Retry

log = logging.getLogger("tapedeck.patience")

RETRY_S = 1.0
T = TypeVar("T")


async def patiently(who: str, ask: Callable[[], Awaitable[T]]) -> T:
    """What ``ask`` gives, asked again while it raises Retry; ``who`` waits meanwhile, as the log has it."""
    while True:
        try:
            return await ask()
        except Retry as error:
            log.error("%s waits: %s", who, error)
            await asyncio.sleep(RETRY_S)
