"""Between the reader of a stream and what works on its frames: a bounded queue of frames, in order."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

MOST_BYTES = 256 * 2**20


class Gap(NamedTuple):
    """From here on the stream is whole again; what was sent before may be missing. ``why`` in words."""

    why: str


class Arrival(NamedTuple):
    """A frame, or a gap, and when it was read from the socket, in seconds of the monotonic clock."""

    heard_at: float
    content: str | bytes | Gap


class FrameQueue:
    """``put`` never waits: a frame that does not fit is dropped and counted, and a gap stands in its place.

    One thread puts, another takes. ``longest_delay_s`` gives the longest time from socket to ``take`` since
    the last call.
    """

    def __init__(
        self, most_bytes: int = MOST_BYTES, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._monotonic = most_bytes, monotonic
        self._waiting: deque[Arrival] = deque()
        self._ready = threading.Condition()
        self._bytes = 0
        self._is_gap = False
        self._longest = 0.0
        self.dropped = 0

    def put(self, frame: str | bytes) -> None:
        """Append a frame, or drop it."""
        with self._ready:
            if self._bytes + len(frame) > self._most:
                self.dropped += 1
                self._is_gap = True
                return
            if self._is_gap:
                self._append(Gap("frames were dropped: they came faster than they were worked on"))
            self._is_gap = False
            self._bytes += len(frame)
            self._append(frame)

    def gap(self, why: str) -> None:
        """Append a gap."""
        with self._ready:
            self._append(Gap(why))

    def take(self, timeout_s: float, most: int = 1000) -> list[Arrival]:
        """Up to ``most`` arrivals, oldest first; empty if none comes in time."""
        with self._ready:
            if not self._waiting:
                self._ready.wait(timeout_s)
            now = self._monotonic()
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            for arrival in taken:
                if not isinstance(arrival.content, Gap):
                    self._bytes -= len(arrival.content)
                self._longest = max(self._longest, now - arrival.heard_at)
            return taken

    @property
    def depth(self) -> int:
        """Arrivals that wait."""
        return len(self._waiting)

    def longest_delay_s(self) -> float:
        """The longest delay since the last call."""
        with self._ready:
            longest, self._longest = self._longest, 0.0
            return longest

    def _append(self, content: str | bytes | Gap) -> None:
        self._waiting.append(Arrival(self._monotonic(), content))
        self._ready.notify()
