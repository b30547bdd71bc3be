"""A source over two: the topics that this run has made, and the recorded ones beneath them."""

from collections.abc import Iterable, Iterator

import numpy as np

from streams.blocks import Block, Source
from streams.merge import Part
from topics.catalogue import Layout


class Chained:
    """Topics named in ``made`` are what was given to ``take``; every other is the recorded one."""

    def __init__(self, recorded: Source, made: Iterable[str] = ()) -> None:
        self._recorded = recorded
        self._made: dict[Part, list[Block]] = {}
        for name in made:
            self.replace(name)

    @property
    def layout(self) -> Layout:
        return self._recorded.layout

    def replace(self, name: str) -> None:
        """From now on topic ``name`` is what this run makes, nothing so far."""
        self._made |= {(name, partition): [] for partition in range(self.layout.partitions(name))}

    def take(self, block: Block) -> None:
        """Records made here, as the bulk driver's sink gets them."""
        self._made[block.part].append(block)

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        names = list(names)
        held = {part: (0, sum(map(len, blocks))) for part, blocks in self._made.items() if part[0] in names}
        made = {name for name, _ in held}
        return held | self._recorded.ends([name for name in names if name not in made])

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        if part not in self._made:
            yield from self._recorded.stream(part, start, end)
            return
        for block in self._made[part]:
            low, high = np.searchsorted(block.offsets, (start, end)).tolist()
            if high > low:
                yield block.part_of(low, high)
