"""Turns at something that only one may use, in the order of what cannot wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count


class Precedence:
    """A lock of one event loop. Of those that wait, the lowest rank is next, and of equal ones the first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._taken = False

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        if self._taken:
            called = asyncio.get_running_loop().create_future()
            heappush(self._waiting, (rank, next(self._arrivals), called))
            try:
                await called
            except asyncio.CancelledError:
                if not called.cancelled():  # it was called in the same moment
                    self._call_next()
                raise
        self._taken = True
        try:
            yield
        finally:
            self._call_next()

    def _call_next(self) -> None:
        while self._waiting:
            _, _, called = heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._taken = False
