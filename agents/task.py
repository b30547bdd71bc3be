"""A runner's data for one unit of its stage."""

from collections import Counter
from dataclasses import dataclass, field

from tapedeck.streams.merge import Merge, Part
from tapedeck.streams.shell import Shell
from tapedeck.streams.wire import Wires

PAUSE_AT = 4000
RESUME_AT = 1000


@dataclass
class Task:
    """One unit of a stage: a partition, or all of them for a single stage."""

    home: int
    shell: Shell
    merge: Merge
    wires: Wires
    inputs: dict[str, tuple[int, ...]]
    counts: Counter[str] = field(default_factory=Counter)
    records: int = 0
    watermark: int | None = None

    def is_full(self, part: Part) -> bool:
        """Whether ``part`` has so many waiting messages that it should get no more."""
        return self.merge.held(part) > PAUSE_AT

    def has_room(self, part: Part) -> bool:
        """Whether ``part`` may get more messages again."""
        return self.merge.held(part) < RESUME_AT
