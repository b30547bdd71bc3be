"""What a runner holds per unit of its stage."""

from collections import Counter
from dataclasses import dataclass, field

from tapedeck.streams.merge import Merge
from tapedeck.streams.shell import Shell
from tapedeck.streams.wire import Wires


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
