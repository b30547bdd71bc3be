"""The gap guard: offsets of fact topics are contiguous, so a jump is looked into before it is believed."""

from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from streams.contract import Message
from streams.merge import Part
from topics.catalogue import Cleanup, Layout, topic

_POLL_S = 0.5
_TRIES = 10


@dataclass(frozen=True)
class Hole:
    """Offsets [start, end) that the log does not have."""

    topic: str
    partition: int
    start: int
    end: int
    reason: Literal["HOLE_IN_LOG", "RETENTION"]


def is_contiguous(name: str) -> bool:
    """Whether the topic's offsets have no legitimate holes (compaction makes some)."""
    return topic(name).cleanup is Cleanup.DELETE


def to_message(record: KafkaMessage, layout: Layout) -> Message:
    """A confluent-kafka message as the shell takes it."""
    name, partition, offset = record.topic(), record.partition(), record.offset()
    assert name is not None and partition is not None and offset is not None
    headers = _pairs(record.headers())
    stamp = record.timestamp()[1]
    return Message(
        layout.catalogue_name(name), partition, offset, stamp, record.key(), record.value(), headers
    )


def _pairs(headers: Any) -> tuple[tuple[str, bytes], ...]:
    """confluent-kafka gives headers as pairs or not at all; a null content becomes empty."""
    return tuple((name, content or b"") for name, content in headers or ())


def reread(bootstrap: str, layout: Layout, part: Part, offsets: range) -> tuple[list[Message], Hole | None]:
    """Read ``offsets`` once more with a plain consumer: what is there, and the hole if some is not."""
    (name, partition), start, end = part, offsets.start, offsets.stop
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tapedeck-gap-guard",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    wire = layout.wire_name(name)
    found: list[Message] = []
    try:
        low, _ = consumer.get_watermark_offsets(TopicPartition(wire, partition), timeout=10)
        consumer.assign([TopicPartition(wire, partition, max(start, low))])
        for _ in range(_TRIES):
            records = consumer.consume(end - start, timeout=_POLL_S)
            good = [to_message(r, layout) for r in records if r.error() is None]
            found.extend(m for m in good if start <= m.offset < end)
            if good and good[-1].offset >= end - 1:
                break
    finally:
        consumer.close()
    if len(found) == end - start:
        return found, None
    return found, Hole(name, partition, start, end, "RETENTION" if low > start else "HOLE_IN_LOG")
