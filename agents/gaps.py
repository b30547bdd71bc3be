"""The gap guard: offsets of fact topics are contiguous, so a jump is looked into before it is believed."""

from dataclasses import dataclass
from typing import Literal

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.reading import ends_of, read_parts
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.contract import Message
from tapedeck.streams.merge import Part
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Cleanup, Layout, topic


@dataclass(frozen=True)
class Hole:
    """Offsets [start, end) that the log does not have."""

    topic: str
    partition: int
    start: int
    end: int
    reason: Literal["HOLE_IN_LOG", "RETENTION"]

    def wire(self, layout: Layout, stage: str, now_us: int) -> Wire:
        """The dead letter that records it."""
        error = DeadLetter(
            f"offsets {self.start} to {self.end - 1} of {self.topic}/{self.partition} are not in the log",
            reason=self.reason,
            remedy="rebuild from a copy of the topic, or accept the loss: it is recorded here",
        )
        message = Message(self.topic, self.partition, self.start, now_us // 1000, None, None, ())
        return dead_letter(layout, message, stage, error)


def is_contiguous(name: str) -> bool:
    """Whether the topic's offsets have no legitimate holes (compaction makes some)."""
    return topic(name).cleanup is Cleanup.DELETE


def reread(cluster: Cluster, part: Part, offsets: range) -> tuple[list[Message], Hole | None]:
    """Read ``offsets`` once more with a plain consumer: what is there, and the hole if some is not."""
    (name, partition), start, end = part, offsets.start, offsets.stop
    low, _ = ends_of(cluster, (name,))[part]
    wanted = {part: (max(start, low), end)}
    found = [message for chunk in read_parts(cluster, wanted) for message in chunk]
    if len(found) == end - start:
        return found, None
    return found, Hole(name, partition, start, end, "RETENTION" if low > start else "HOLE_IN_LOG")
