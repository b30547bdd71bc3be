"""Clocks for code outside the core. Times are UTC microseconds; the pure core never reads a clock."""

import time
from collections.abc import Callable
from typing import Protocol

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

_WITHIN_MINUTE_US = MINUTE_US - 1_000  # only its label starts the next minute, never elapsed time


class Clock(Protocol):
    """What code outside the core asks for the time."""

    def now(self) -> int:
        """UTC microseconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000


class TapeClock:
    """The time inside a tape being played: the end of the last minute plus the elapsed wall time, sped up.

    ``now`` = label + 60 s + min(elapsed x speed, 59.999 s). It never runs backwards and is 0 until the first
    label. ``speed`` None (a tape played as fast as possible) counts as 1.
    """

    def __init__(self, speed: float | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        if speed is not None and speed <= 0:
            raise Fatal("a tape's speed must be positive", value=speed, remedy="use 1x, 60x or max")
        self._speed = speed or 1.0
        self._monotonic = monotonic
        self._label: int | None = None
        self._since = 0.0
        self._latest = 0

    @property
    def runs_at(self) -> float:
        """How many times as fast as the machine's it runs by itself: not at all, a player moves it."""
        return 0.0

    def advance(self, label: int) -> None:
        """The minute ``label`` (its left edge) has ended. An old label changes nothing."""
        if self._label is not None and label <= self._label:
            return
        self._label = label
        self._since = self._monotonic()

    def now(self) -> int:
        if self._label is None:
            return 0
        elapsed = int((self._monotonic() - self._since) * self._speed * SECOND_US)
        self._latest = max(self._latest, self._label + MINUTE_US + min(elapsed, _WITHIN_MINUTE_US))
        return self._latest


class RunningClock:
    """A clock that runs by itself from ``start`` on, ``speed`` times as fast as the machine's."""

    def __init__(
        self, start: int, speed: float = 1.0, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._start, self.runs_at = start, speed
        self._monotonic = monotonic
        self._since = monotonic()

    def now(self) -> int:
        return self._start + int((self._monotonic() - self._since) * self.runs_at * SECOND_US)

    def advance(self, label: int) -> None:
        """Go on from the end of the minute ``label``. An earlier one than now changes nothing."""
        if label + MINUTE_US > self.now():
            self._start, self._since = label + MINUTE_US, self._monotonic()


class ManualClock:
    """A clock that moves only when it is set: for tests and the simulator."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def set(self, now: int) -> None:
        """Move to ``now``. Raises Fatal if that is the past."""
        if now < self._now:
            raise Fatal("a clock cannot run backwards", value=now, remedy=f"it is at {self._now}")
        self._now = now
