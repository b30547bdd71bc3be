"""Recorded messages in memory as a tap's source: for trying things, examples and tests."""

from collections.abc import Iterable, Iterator

from streams.blocks import Block, MemorySource
from streams.contract import Message
from streams.merge import Part
from topics.catalogue import Layout


class MemoryTape(MemorySource):
    """Messages as a cluster would hold them. ``read`` counts the records that were handed out."""

    def __init__(self, layout: Layout, messages: Iterable[Message], size: int = 1000) -> None:
        held = list(messages)
        super().__init__(layout, held, size)
        self._times: dict[Part, list[tuple[int, int]]] = {}
        for m in held:
            self._times.setdefault((m.topic, m.partition), []).append((m.offset, m.timestamp * 1000))
        self.read = 0
        self.is_open = True

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end), counted."""
        for block in super().stream(part, start, end):
            self.read += len(block)
            yield block

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset whose record's time is ``time_us`` or later; the end where none is."""
        held = self._times.get(part, [])
        found = (offset for offset, time in held if time >= time_us)
        return next(found, held[-1][0] + 1 if held else 0)

    def close(self) -> None:
        """Nothing is open in memory."""
        self.is_open = False
