"""Recorded messages in memory that count reads, for trying a tap and for tests."""

from collections.abc import Iterable, Iterator

from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout


class MemoryTape(MemorySource):
    """A MemorySource. ``read`` counts the records that were handed out."""

    def __init__(self, layout: Layout, messages: Iterable[Message], size: int = 1000) -> None:
        super().__init__(layout, messages, size)
        self.read = 0

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end), counted."""
        for block in super().stream(part, start, end):
            self.read += len(block)
            yield block
