"""The result of verifying one task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.blocks import Source
from tapedeck.streams.changelog import Values
from tapedeck.streams.columnar.job import Result, Start, TaskId
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import of_state
from tapedeck.streams.merge import Part
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import WATERMARK_KEY

STATE = "state"
OFFSET = "offset"
MOST = 1000
"""The most differences kept of one topic partition or table."""


class Kind(StrEnum):
    """How live differs from a rebuild."""

    MISSING = "MISSING"
    EXTRA = "EXTRA"
    CHANGED = "CHANGED"
    CONFLICT = "CONFLICT"
    UNREADABLE = "UNREADABLE"
    OFFSET_AHEAD = "OFFSET_AHEAD"
    LABEL_AHEAD = "LABEL_AHEAD"
    CUT = "CUT"


class Difference(NamedTuple):
    """One difference. ``what`` is a topic, ``state`` or ``offset``; ``event_id`` is empty for the last two;
    ``detail`` names the fields with both values."""

    kind: Kind
    what: str
    partition: int
    key: str
    event_id: str
    detail: str

    def __str__(self) -> str:
        event = f", event_id {self.event_id}" if self.event_id else ""
        key = f", key {self.key}" if self.key else ""
        return f"{self.kind} {self.what}/{self.partition}{key}{event}: {self.detail}"


class Basis(NamedTuple):
    """What everything is computed from."""

    config: Config
    calendar: Calendar
    source: Source
    topology: Topology


class Begin(NamedTuple):
    """Where a rebuild starts: the state of a snapshot, and its watermark."""

    start: Start
    label: int


class Compared(NamedTuple):
    """How much of a task was compared: keys of its table and distinct outputs.

    ``why``: the reason if that was nothing; ``idle``: its inputs held only watermarks, or nothing.
    """

    values: int = 0
    outputs: int = 0
    why: str = ""
    remedy: str = ""
    idle: bool = False


@dataclass
class Verdict:
    """The result of verifying one task. ``outputs``: rows live and rebuilt by topic partition; ``state``:
    digests live and rebuilt."""

    task: TaskId
    result: Result
    live: Values
    cut: Mapping[Part, int]
    begin: Begin | None = None
    outputs: dict[Part, tuple[Rows, Rows]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    compared: Compared = field(default_factory=Compared)

    @property
    def state(self) -> tuple[str, str]:
        return state_digest(self.live), state_digest(self.result.values)

    @property
    def output_differences(self) -> list[Difference]:
        """The differences that a new table does not repair."""
        return [each for each in self.differences if each.what not in (STATE, OFFSET)]


def state_digest(values: Values) -> str:
    """The digest of a task's table; keys of several partitions are distinguished by partition."""
    parts = {partition for partition, _ in values}
    if len(parts) <= 1:
        return of_state({key: value for (_, key), value in values.items()})
    return of_state({key + b"@%d" % part: v for (part, key), v in values.items() if key != WATERMARK_KEY})
