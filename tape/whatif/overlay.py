"""Sources for one run: the recording at one moment, overlaid with the topics that the run writes."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tapedeck.streams.blocks import Block, Source
from tapedeck.streams.merge import Part
from tapedeck.tape.whatif.spill import Blocks, Spill
from tapedeck.topics.catalogue import Layout


class Still:
    """Recorded topics up to their ends when this was created, while others keep writing.

    The ends of ``first`` are taken before all others: they hold the decisions to compare, so that no
    decision lacks its input records.
    """

    def __init__(self, recorded: Source, first: Iterable[str]) -> None:
        self._recorded = recorded
        self._ends = recorded.ends(first)

    @property
    def layout(self) -> Layout:
        return self._recorded.layout

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        names = list(names)
        known = {name for name, _ in self._ends}
        self._ends |= self._recorded.ends([name for name in names if name not in known])
        return {part: ends for part, ends in self._ends.items() if part[0] in names}

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        return self._recorded.topic_ids(names)

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        return self._recorded.stream(part, start, end)

    def offset_at(self, part: Part, time_us: int) -> int:
        return min(self._recorded.offset_at(part, time_us), self.ends([part[0]])[part][1])


class Chained:
    """A replaced topic holds what was given to ``take``, on disk; every other topic is the recorded one."""

    def __init__(self, recorded: Source) -> None:
        self._recorded, self._spill = recorded, Spill()
        self._made: dict[Part, Blocks] = {}

    @property
    def layout(self) -> Layout:
        return self._recorded.layout

    def replace(self, name: str) -> None:
        """From now on topic ``name`` holds what this run writes; it starts empty."""
        parts = [(name, partition) for partition in range(self.layout.partitions(name))]
        self._made |= {part: Blocks(self._spill, *part) for part in parts}

    def take(self, block: Block) -> None:
        """Records written here, in the form of the columnar driver's sink."""
        self._made[block.part].add(block)

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        names = list(names)
        held = {part: (0, blocks.records) for part, blocks in self._made.items() if part[0] in names}
        made = {name for name, _ in held}
        return held | self._recorded.ends([name for name in names if name not in made])

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        made = {name for name, _ in self._made}
        return self._recorded.topic_ids([name for name in names if name not in made])

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        if part not in self._made:
            yield from self._recorded.stream(part, start, end)
            return
        blocks = self._made[part]
        for place in blocks.places:
            if place.last < start or place.first >= end:
                continue
            block = blocks.read(place)
            low, high = np.searchsorted(block.offsets, (start, end)).tolist()
            yield block.part_of(low, high)

    def offset_at(self, part: Part, time_us: int) -> int:
        if part not in self._made:
            return self._recorded.offset_at(part, time_us)
        blocks, stamp = self._made[part], -(-time_us // 1000)
        for place in blocks.places:
            if place.newest >= stamp:
                block = blocks.read(place)
                return int(block.offsets[np.flatnonzero(block.timestamps >= stamp)[0]])
        return blocks.records
