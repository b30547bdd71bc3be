"""Gives free memory back to the machine when a worker has nothing to do.

A minute of thousands of symbols takes, for seconds, much more than a worker holds between two minutes. glibc
gives back only what is free at the end of its heap, and one value that was kept there keeps all before it:
without this a worker's memory is that of its largest minute, and depends on chance. To return 160 MB takes
0.02 s in the pause, and to take them again 0.06 s of the next minute.

Before that, the write buffers of the tables go to their files. They are full or empty at random when a minute
ends, up to 4 MiB in each partition, and a worker that grows could not be told from one that does not.
"""

import asyncio
import ctypes
from collections.abc import Callable

LOOK_S = 1.0
QUIET_LOOKS = 3
"""So many looks at which nothing moved: the minute is over, and the next one is far."""
LEAST = 1_000
"""Records after which there may be much to give back. Single ones, such as ticks, leave nothing."""

_LIBC = ctypes.CDLL(None)


def give_back() -> None:
    """Return the free pages of the heap; does nothing where the C library has no call for it."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)


class GiveBack:
    """Calls ``flush``, and a look later ``give``, in the pause after work.

    ``moved`` counts the records that the worker has done. ``flush`` is called on the event loop, where tables
    are opened and closed too, and must not wait for the disk.
    """

    def __init__(
        self, moved: Callable[[], int], flush: Callable[[], None], give: Callable[[], None] = give_back
    ) -> None:
        self._moved, self._flush, self._give = moved, flush, give
        self._seen = self._given = moved()
        self._quiet = 0

    def is_due(self) -> bool:
        """One look: whether nothing moves, and enough was done since this was true."""
        moved = self._moved()
        self._quiet = self._quiet + 1 if moved == self._seen else 0
        self._seen = moved
        # a rebalance begins the count anew
        if self._quiet < QUIET_LOOKS or abs(moved - self._given) < LEAST:
            return False
        self._given = moved
        return True

    async def run(self) -> None:
        """Run forever, beside the stages: the loop goes on while pages are returned."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self.is_due():
                self._flush()
                await asyncio.sleep(LOOK_S)
                await asyncio.to_thread(self._give)
