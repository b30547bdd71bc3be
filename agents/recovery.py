"""Faust's recovery of tables, without its silent failure.

Faust gives each request of a recovery a time limit. When one expires, it treats the service as stopped and
leaves the loop without a word: the table is never there, and the stage waits forever. A broker that is
unavailable, or a transaction that withholds the end of a changelog, is no reason for that. Here they are
waited for.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from tapedeck.streams.protocol import StageSpec


class Recovered(NamedTuple):
    """What one recovery brought: table partitions, and whether they are still as that recovery left them.

    A rebalance may begin at any time. Then Faust leaves what it had called to run on beside the next
    recovery, and opens partitions that are not recovered yet. Nothing may be concluded from those. ``stands``
    may be called in any thread.
    """

    partitions: tuple[int, ...]
    stands: Callable[[], bool]

    def tasks(self, spec: StageSpec, home: int) -> list[tuple[int, tuple[int, ...]]]:
        """Home and table partitions of each task; ``home`` is that of a stage with a single task."""
        if spec.scale == "single":
            return [(home, self.partitions)] if self.partitions else []
        return [(partition, (partition,)) for partition in self.partitions]


class PatientRecovery(Recovery):
    """A recovery without a time limit: it ends with the table, or if the process stops or partitions move.

    ``seconds``: how long the last one took; None before the first. ``generation``: the consumer group's, of
    the last recovery that was complete.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._from: dict[TP, int] = {}
        self._began = time.monotonic()
        self.seconds: float | None = None
        self.generation = 0

    @property
    def progress(self) -> tuple[int, int]:
        """Changelog records applied in the last recovery, and those that it has to apply."""
        ends, at = self.active_highwaters, self.active_offsets
        parts = {tp: start for tp, start in self._from.items() if tp in ends}
        todo = sum(max(0, ends[tp] - start) for tp, start in parts.items())
        return min(todo, sum(max(0, at[tp] - start) for tp, start in parts.items())), todo

    @property
    def seconds_so_far(self) -> float:
        """How long the last recovery took, or takes until now; 0 before the first."""
        if self.seconds is not None:
            return self.seconds
        return time.monotonic() - self._began if self.in_recovery else 0.0

    async def _seek_offsets(self, consumer: Any, tps: Any, offsets: Any, *args: Any, **kwargs: Any) -> None:
        """Where it begins: each table partition at the offset of the disk."""
        self._from = dict(offsets)
        await super()._seek_offsets(consumer, tps, offsets, *args, **kwargs)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Every value is read: the tables are told."""
        self.generation = generation_id
        await super().on_recovery_completed(generation_id)

    def _set_recovery_started(self) -> None:
        self._began, self.seconds = time.monotonic(), None
        super()._set_recovery_started()

    def _set_recovery_ended(self) -> None:
        self.seconds = time.monotonic() - self._began
        super()._set_recovery_ended()

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await super()._wait(coro)


class Tables(TableManager):
    """The tables of an app, recovered with patience."""

    @property
    def begun(self) -> PatientRecovery | None:
        """The recovery if the app has one yet; ``recovery`` would make it, and only the app's thread may."""
        return cast(PatientRecovery | None, self._recovery)

    @property
    def recovery(self) -> PatientRecovery:
        """The one recovery of this manager."""
        if self._recovery is None:
            self._recovery = PatientRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast(PatientRecovery, self._recovery)
