"""A log in memory that forgets what everybody has read. Its offsets go on."""

from collections import defaultdict
from collections.abc import Iterator

from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout


class RollingLog(MemoryLog):
    """See the module. Who reads below what was forgotten gets what is left, as of a trimmed topic."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._first: dict[Part, int] = defaultdict(int)

    def append(self, wire: Wire) -> Message:
        part = wire.topic, wire.partition
        offset = self._first[part] + len(self._parts[part])
        message = Message(*part, offset, wire.timestamp, wire.key, wire.value, tuple(wire.headers))
        self._parts[part].append(message)
        return message

    def put(self, message: Message) -> None:
        """Append a record as it is, at the next offset."""
        part = message.topic, message.partition
        held = self._parts[part]
        held.append(message._replace(offset=self._first[part] + len(held)))

    def read(self, name: str, partition: int, offset: int, n: int | None = None) -> list[Message]:
        held = self._parts[name, partition]
        start = max(0, offset - self._first[name, partition])
        return held[start:] if n is None else held[start : start + n]

    def end(self, name: str, partition: int) -> int:
        return self._first[name, partition] + len(self._parts[name, partition])

    def forget(self) -> None:
        """Drop every record."""
        for part, held in self._parts.items():
            self._first[part] += len(held)
            held.clear()

    def parts(self) -> Iterator[tuple[Part, list[Message]]]:
        """The partitions that hold something, and what."""
        for part in sorted(self._parts):
            if self._parts[part]:
                yield part, self._parts[part]
