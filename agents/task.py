"""What a runner holds per unit of its stage."""

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
        """Whether so much of ``part`` waits that no more is to come."""
        return self.merge.held(part) > PAUSE_AT

    def has_room(self, part: Part) -> bool:
        """Whether more of ``part`` may come again."""
        return self.merge.held(part) < RESUME_AT
