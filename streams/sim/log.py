"""An in-memory log: what the sim driver uses in place of a broker, and tests in place of a topic."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from streams.contract import Message
from streams.wire import Headers, Wire, record_wire, watermark_wires
from topics.catalogue import Layout, topic


class MemoryLog:
    """Topics as lists. Offsets are contiguous and start at 0, as in a fact topic."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._parts: dict[tuple[str, int], list[Message]] = defaultdict(list)

    def append(self, wire: Wire) -> Message:
        """Append one record; returns it with its offset."""
        part = self._parts[wire.topic, wire.partition]
        message = Message(
            wire.topic, wire.partition, len(part), wire.timestamp, wire.key, wire.value, tuple(wire.headers)
        )
        part.append(message)
        return message

    def read(self, name: str, partition: int, offset: int, n: int | None = None) -> list[Message]:
        """Up to ``n`` messages of one partition from ``offset`` on."""
        part = self._parts[name, partition]
        return part[offset:] if n is None else part[offset : offset + n]

    def end(self, name: str, partition: int) -> int:
        """The offset that the next record of a partition gets."""
        return len(self._parts[name, partition])

    def messages(self, name: str) -> Iterator[Message]:
        """Every message of a topic, partition by partition."""
        for partition in range(self.layout.partitions(name)):
            yield from self._parts[name, partition]

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

    def flush(self) -> None:
        """Nothing waits in memory."""
