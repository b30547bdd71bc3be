"""Seeded schedules: tasks run in any order, in any batch size, and die between any two effects.

One seed is one schedule; the same seed gives the same run, so a failing one can be repeated.
"""

import random
from dataclasses import dataclass

from streams.sim.task import Crash, Fuse, SimTask

_MAX_POLL = 400
_CRASH_SHARE = 0.15
_MAX_FUSE = 60
_MAX_REWIND = 30


@dataclass
class Faults:
    """What a schedule did: a fault test asserts that these are not all zero."""

    crashes: int = 0
    empty_disks: int = 0
    redelivered: int = 0

    def __iadd__(self, other: "Faults") -> "Faults":
        self.crashes += other.crashes
        self.empty_disks += other.empty_disks
        self.redelivered += other.redelivered
        return self


def run_schedule(tasks: list[SimTask], seed: int, *, crash_share: float = _CRASH_SHARE) -> Faults:
    """Run ``tasks`` to the end of their inputs under the schedule of ``seed``."""
    rng = random.Random(seed)
    faults = Faults()
    while True:
        busy = [task for task in tasks if not task.idle() or task.ready()]
        if not busy:
            return faults
        task = rng.choice(busy)
        task.poll(rng.randint(1, _MAX_POLL))
        fuse = Fuse(rng.randint(0, _MAX_FUSE) if rng.random() < crash_share else None)
        try:
            task.step(rng.randint(1, _MAX_POLL), fuse)
        except Crash:
            faults.crashes += 1
            empty = rng.random() < 0.5
            rewind = rng.randint(0, _MAX_REWIND)
            faults.empty_disks += empty
            faults.redelivered += rewind
            task.restart(empty_disk=empty, rewind=rewind)
