"""The gap guard: a jump in a partition's offsets is checked against the log before it is accepted.

Control records and the remains of an aborted transaction take offsets and are not delivered: these are no
holes. A committed record that was not delivered is processed. An offset without any record is a hole,
recorded once.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from tapedeck.agents.table import ShellStore
from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.kafka.bulk.source import KafkaSource, Look
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.frame import unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import WATERMARK_KEY, Cleanup, Layout, topic

AHEAD = 10_000
"""How many offsets to check beyond a jump: with transactions in the log the next jump is near."""


class Log(Protocol):
    """What the guard needs from a cluster, from one thread."""

    def ends(self, names: tuple[str, ...]) -> Mapping[Part, tuple[int, int]]: ...

    def look(self, part: Part, start: int, end: int) -> Look: ...


@dataclass(frozen=True)
class Hole:
    """Offsets [start, end) that the log does not have."""

    topic: str
    partition: int
    start: int
    end: int
    reason: Literal["HOLE_IN_LOG", "RETENTION"]

    def __str__(self) -> str:
        return f"offsets {self.start} to {self.end - 1} of {self.topic}/{self.partition} are not in the log"

    def wire(self, layout: Layout, stage: str, now_us: int) -> Wire:
        """The dead letter that records it."""
        remedy = "rebuild from a copy of the topic, or accept the loss: it is recorded here"
        error = DeadLetter(str(self), reason=self.reason, remedy=remedy)
        message = Message(self.topic, self.partition, self.start, now_us // 1000, None, None, ())
        return dead_letter(layout, message, stage, error)


def is_contiguous(name: str) -> bool:
    """Whether the topic's offsets have no legitimate holes (compaction makes some)."""
    return topic(name).cleanup is Cleanup.DELETE


class Between(NamedTuple):
    """The committed records and the holes of a range of offsets."""

    messages: list[Message]
    holes: list[Hole]


class _Seen(NamedTuple):
    """A checked range: offsets [start, end), of which the log keeps those from ``low`` on."""

    start: int
    end: int
    low: int
    look: Look


class Guard:
    """Reads logs in a thread of its own, and remembers per partition what it saw last.

    If every minute is a transaction, one check covers the jumps of the next AHEAD offsets.
    """

    def __init__(self, cluster: Cluster, log: Log | None = None) -> None:
        self._log: Log = KafkaSource(cluster) if log is None else log
        self._thread = ThreadPoolExecutor(1, "gap-guard")  # the source belongs to one thread
        self._seen: dict[Part, _Seen] = {}

    async def between(self, part: Part, start: int, end: int) -> Between:
        """What the log has at the offsets [start, end). Raises Retry if the broker is silent."""
        seen = self._seen.get(part)
        if seen is None or start < seen.start or end > seen.end:
            loop = asyncio.get_running_loop()
            seen = await loop.run_in_executor(self._thread, self._look, part, start, end)
            self._seen[part] = seen
        messages = seen.look.messages
        first, after = (bisect_left(messages, offset, key=_offset) for offset in (start, end))
        return Between(messages[first:after], [*_holes(part, seen, start, end)])

    def _look(self, part: Part, start: int, end: int) -> _Seen:
        low, stable = self._log.ends((part[0],))[part]
        first, until = max(start, low), max(end, min(stable, end + AHEAD))
        look = self._log.look(part, first, until) if first < until else Look([], [], until)
        return _Seen(start, until, low, look)

    def forget(self) -> None:
        """Check again from now on: what was remembered belongs to an ended generation."""
        self._seen.clear()


def cursor_of(store: ShellStore, at: tuple[int, int]) -> int:
    """The last offset of the input (rank, partition) that a table has applied, -1 for none."""
    values = (value for home in store.held() for key, value in store.values_of(home) if key != WATERMARK_KEY)
    return max((unpack(value).cursors.get(at, -1) for value in values), default=-1)


def _offset(message: Message) -> int:
    return message.offset


def _holes(part: Part, seen: _Seen, start: int, end: int) -> list[Hole]:
    found = []
    if start < seen.low:
        found.append(Hole(*part, start, min(seen.low, end), "RETENTION"))
    for begin, after in seen.look.holes:
        first, last = max(begin, start, seen.low), min(after, end)
        if first < last:
            found.append(Hole(*part, first, last, "HOLE_IN_LOG"))
    return found


def last_record_end(log: Log, part: Part, low: int, end: int) -> int:
    """The offset after the last committed record of [low, end); ``low`` if there is none."""
    size = 1
    while end > low:
        start = max(low, end - size)
        messages = log.look(part, start, end).messages
        if messages:
            return messages[-1].offset + 1
        end, size = start, 8 * size
    return low
