"""An in-memory log: what the sim driver uses in place of a broker, and tests in place of a topic."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Headers, Wire, opening_wires, record_wire, watermark_wires
from tapedeck.topics.catalogue import Layout, topic

_OFFSET = attrgetter("offset")


class MemoryLog:
    """Topics as lists. Offsets start at 0 and are contiguous, as in a fact topic, until it is compacted.

    ``ids``: those of topics that have one; ``make_anew`` assigns a new one.
    """

    def __init__(self, layout: Layout, ids: Mapping[str, bytes] = MappingProxyType({})) -> None:
        self.layout, self.ids = layout, dict(ids)
        self._parts: dict[tuple[str, int], list[Message]] = defaultdict(list)

    def append(self, wire: Wire) -> Message:
        """Append one record; returns it with its offset."""
        part = self._parts[wire.topic, wire.partition]
        offset = part[-1].offset + 1 if part else 0
        message = Message(
            wire.topic, wire.partition, offset, wire.timestamp, wire.key, wire.value, tuple(wire.headers)
        )
        part.append(message)
        return message

    def read(self, name: str, partition: int, offset: int, n: int | None = None) -> list[Message]:
        """Up to ``n`` messages of one partition from ``offset`` on."""
        part = self._parts[name, partition]
        start = min(offset, len(part))
        if part and part[-1].offset != len(part) - 1:
            start = bisect_left(part, offset, key=_OFFSET)
        return part[start:] if n is None else part[start : start + n]

    def end(self, name: str, partition: int) -> int:
        """The offset that the next record of a partition gets."""
        part = self._parts[name, partition]
        return part[-1].offset + 1 if part else 0

    def messages(self, name: str) -> Iterator[Message]:
        """Every message of a topic, partition by partition."""
        for partition in range(self.layout.partitions(name)):
            yield from self._parts[name, partition]

    def copied(self) -> "MemoryLog":
        """A copy of this log: the messages are shared, the lists are not."""
        fresh = MemoryLog(self.layout, self.ids)
        fresh._parts.update((part, list(messages)) for part, messages in self._parts.items())
        return fresh

    def compact(self, name: str, partition: int, before: int) -> int:
        """Keep only the newest record per key below offset ``before``; returns how many were removed."""
        part = self._parts[name, partition]
        newest = {message.key: message.offset for message in part if message.offset < before}
        kept = [m for m in part if m.offset >= before or newest[m.key] == m.offset]
        self._parts[name, partition] = kept
        return len(part) - len(kept)

    def make_anew(self, name: str, topic_id: bytes) -> None:
        """Delete a topic and recreate it: empty, and with another id."""
        for partition in range(self.layout.partitions(name)):
            self._parts.pop((name, partition), None)
        self.ids[name] = topic_id

    def writer(self) -> "MemoryWriter":
        """A LogWriter that appends here."""
        return MemoryWriter(self)


class MemoryWriter:
    """The LogWriter of connectors, onto a MemoryLog."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def send(self, name: str, body: dict[str, Any], headers: dict[str, bytes] | None = None) -> None:
        """Append one record under its catalogue key and partition."""
        extra: Headers = list((headers or {}).items())
        self._log.append(record_wire(name, topic(name).record_key(body), body, self._log.layout, extra))

    def watermark(self, name: str, label: int) -> None:
        """Append watermark(label) to every partition of the topic."""
        for wire in watermark_wires(name, label, range(self._log.layout.partitions(name))):
            self._log.append(wire)

    def opening(
        self, name: str, label: int, absent: Iterable[str], partitions: Sequence[int] | None = None
    ) -> None:
        """Append the opening that follows watermark(label) to every partition, or to ``partitions``."""
        parts = range(self._log.layout.partitions(name)) if partitions is None else tuple(partitions)
        for wire in opening_wires(name, label, absent, parts):
            self._log.append(wire)

    def flush(self) -> None:
        """Do nothing: no record waits in memory."""
