"""Seeded schedules: tasks run in any order, in any batch size, and crash between any two effects.

One seed is one schedule; the same seed gives the same run, so a failing one can be repeated.
"""

import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tapedeck.streams.sim.crash import Crash, Fuse, Point
from tapedeck.streams.sim.task import MemoryStore, SimTask
from tapedeck.streams.wire import Wire

_MAX_BATCH = (3, 40, 200, 200)
_CRASH_SHARE = 0.15
_RECOVERY_CRASH_SHARE = 0.3
_MAX_FUSE = (8, 60)
_MAX_FUSE_AT_POINT = 2
_AT_WORK = (Point.OUTPUT, Point.DEAD_LETTER, Point.CHANGELOG, Point.TABLE, Point.ACK, Point.DONE)
_COMING_BACK = (Point.RECOVERY, Point.REWRITE)
_MAX_REWIND = 12
_EMPTY_SHARE = 0.4
_ZOMBIE_SHARE = 0.5
_ZOMBIE_WAKES = 0.05
_MAX_LATE = 40
_SKIP_SHARE = 0.3
_GO_ON_SHARE = 0.8
_KEEP_DISK_SHARE = 0.05
_COMPACT_SHARE = 0.05
_MAX_TURNS = 20_000
"""A schedule takes some tens of turns. One that takes this many is waiting for something impossible."""


class Stuck(Exception):
    """A schedule that does not end."""


@dataclass
class Faults:
    """What a schedule did: a fault test asserts that these are not all zero.

    ``redelivered`` counts messages, ``reordered`` reads in which one partition overtook another,
    ``zombie_writes`` records written by a dead task after its successor had started, ``stale_disks``
    restarts from an older disk, ``compacted`` changelog records.
    """

    crashes: int = 0
    empty_disks: int = 0
    redelivered: int = 0
    stale_disks: int = 0
    reordered: int = 0
    zombie_writes: int = 0
    compacted: int = 0
    duplicated: int = 0
    points: Counter[Point] = field(default_factory=Counter)

    def __iadd__(self, other: "Faults") -> "Faults":
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


def run_schedule(tasks: Sequence[SimTask], seed: int, *, crash_share: float = _CRASH_SHARE) -> Faults:
    """Run ``tasks`` to the end of their inputs under the schedule of ``seed``. Raises Stuck."""
    schedule = _Schedule(tasks, random.Random(seed), crash_share)
    for _ in range(_MAX_TURNS):
        if not schedule.turn():
            return schedule.faults
    raise Stuck(f"seed {seed}: after {_MAX_TURNS} turns the tasks are still busy")


def renew_owners(tasks: Sequence[SimTask], seed: int) -> Faults:
    """Long after a schedule, give each task an owner with an empty disk and compact its changelog. The owner
    may crash during recovery. What is left must restore the same state.
    """
    schedule = _Schedule(tasks, random.Random(seed), 0.0)
    for at, task in enumerate(tasks):
        schedule.restart(at, task, rewind=0, empty_share=1.0)
        schedule.faults.compacted += task.compact()
    return schedule.faults


class _Schedule:
    def __init__(self, tasks: Sequence[SimTask], rng: random.Random, crash_share: float) -> None:
        self._tasks, self._rng, self._crash_share = tasks, rng, crash_share
        self._zombies: list[tuple[SimTask, deque[Wire]]] = []
        self._disks: dict[int, MemoryStore] = {}
        self.faults = Faults()

    def turn(self) -> bool:
        """One task reads and works, or crashes; False where all are idle."""
        at = self._next()
        self._wake_zombies(last=at is None)
        if at is None:
            return self._next() is not None
        task = self._tasks[at]
        self._read(task)
        if self._rng.random() < _COMPACT_SHARE:
            self.faults.compacted += task.compact()
        if self._rng.random() < _KEEP_DISK_SHARE:
            self._disks[at] = task.disk.copied()
        n, fuse = self._size(), self._fuse(self._crash_share, _AT_WORK)
        try:
            while task.step(n, fuse) and self._rng.random() < _GO_ON_SHARE:
                pass
        except Crash as crash:
            self._bury(task, crash)
            self.restart(at, task, rewind=self._rng.randint(0, _MAX_REWIND), empty_share=_EMPTY_SHARE)
        return True

    def _next(self) -> int | None:
        """A task that has something to do: the first one from a random position on."""
        n = len(self._tasks)
        first = self._rng.randrange(n)
        for at in range(first, first + n):
            task = self._tasks[at % n]
            if task.ready() or not task.idle():
                return at % n
        return None

    def _size(self) -> int:
        return self._rng.randint(1, self._rng.choice(_MAX_BATCH))

    def _fuse(self, share: float, points: Sequence[Point]) -> Fuse:
        """Perhaps a fuse that burns down: after some effects, or at one of the first of a kind."""
        if self._rng.random() >= share:
            return Fuse()
        if self._rng.random() < 0.5:
            return Fuse(self._rng.randint(0, self._rng.choice(_MAX_FUSE)))
        return Fuse(self._rng.randint(0, _MAX_FUSE_AT_POINT), self._rng.choice(points))

    def _read(self, task: SimTask) -> None:
        """Read part of what waits in each partition, or nothing at all."""
        behind = task.waiting()
        read = [part for part in behind if self._rng.random() >= _SKIP_SHARE]
        for part in read:
            task.poll_part(part, self._size())
        self.faults.reordered += 0 < len(read) < len(behind)

    def _bury(self, task: SimTask, crash: Crash) -> None:
        """Handle a dead task. It may only be frozen: then the rest of its records reaches the log later."""
        self.faults.crashes += 1
        self.faults.points[crash.point] += 1
        unwritten = task.unwritten()
        if unwritten and self._rng.random() < _ZOMBIE_SHARE:
            self._zombies.append((task, deque(unwritten)))

    def restart(self, at: int, task: SimTask, *, rewind: int, empty_share: float) -> None:
        """Restart until a start succeeds, each time on an empty disk, an old one or the last one."""
        while True:
            disk, empty = self._disks.get(at), self._rng.random() < empty_share
            if empty or self._rng.random() < 0.5:
                disk = None
            before = sum(task.committed.values())
            try:
                task.restart(
                    empty_disk=empty, disk=disk, rewind=rewind,
                    fuse=self._fuse(_RECOVERY_CRASH_SHARE, _COMING_BACK),
                )  # fmt: skip
            except Crash as crash:
                self.faults.crashes += 1
                self.faults.points[crash.point] += 1
                continue
            finally:
                self.faults.empty_disks += empty
                self.faults.stale_disks += disk is not None
                self.faults.redelivered += before - sum(task.committed.values())
                rewind = 0
            return

    def _wake_zombies(self, *, last: bool) -> None:
        """Frozen tasks keep writing for a while, in order. At the end they write what is left."""
        for task, left in self._zombies:
            if last or self._rng.random() < _ZOMBIE_WAKES:
                for _ in range(len(left) if last else min(len(left), self._rng.randint(1, _MAX_LATE))):
                    task.write_late(left.popleft())
                    self.faults.zombie_writes += 1
        self._zombies = [(task, left) for task, left in self._zombies if left]
