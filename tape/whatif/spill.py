"""The records of a what-if, on disk: a month of them is too large for memory. Indexes stay in memory."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from tapedeck.streams.blocks import Block, Ints

Day = TypeVar("Day")

DAY_US = 86_400_000_000
_NEAR = 2
"""How many days of a table are in memory at once: late records need both sides of midnight."""
_WORD = 8
_SPANS = 3 * 2
_PER_RECORD = (2 + _SPANS) * _WORD
"""Bytes of a record's offset, time and spans."""


class Spill:
    """Bytes in a temporary file that lives as long as this object, by their position."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - its owner closes it

    def __del__(self) -> None:
        self._file.close()

    def put(self, *pieces: Any) -> int:
        """Append buffers, one after another; returns where they begin."""
        at = self._file.seek(0, 2)
        for each in pieces:
            self._file.write(each)
        return at

    def get(self, at: int, size: int) -> bytearray:
        """``size`` bytes from ``at``."""
        found = bytearray(size)
        self._file.seek(at)
        self._file.readinto(found)
        return found


class _Place(NamedTuple):
    """The location of a block: its first and last offset, its newest time in ms, records, bytes of data."""

    first: int
    last: int
    newest: int
    records: int
    size: int
    at: int


class Blocks:
    """The records of one topic partition, block by block."""

    def __init__(self, spill: Spill, topic: str, partition: int) -> None:
        self._spill, self._topic, self._partition = spill, topic, partition
        self.places: list[_Place] = []
        self.records = 0

    def add(self, block: Block) -> None:
        """Append ``block``; an empty one is left out."""
        if not len(block):
            return
        arrays = block.offsets, block.timestamps, block.keys, block.values, block.headers, block.data
        at = self._spill.put(*(np.ascontiguousarray(each).data for each in arrays))
        first, last = int(block.offsets[0]), int(block.offsets[-1])
        newest = int(block.timestamps.max())
        self.places.append(_Place(first, last, newest, len(block), len(block.data), at))
        self.records += len(block)

    def read(self, place: _Place) -> Block:
        """The block at ``place``."""
        n, content = place.records, self._spill.get(place.at, place.records * _PER_RECORD + place.size)
        ints = np.frombuffer(content, dtype=np.int64, count=n * (2 + _SPANS))
        keys, values, headers = (ints[n * at : n * (at + 2)].reshape(n, 2) for at in (2, 4, 6))
        data = np.frombuffer(content, dtype=np.uint8, offset=n * _PER_RECORD)
        return Block(self._topic, self._partition, data, ints[:n], ints[n : 2 * n], keys, values, headers)


class Shelf:
    """Bytes by number."""

    def __init__(self) -> None:
        self._spill, self._places = Spill(), dict[int, tuple[int, int] | None]()

    def put(self, number: int, content: bytes | None) -> None:
        """Keep ``content`` as ``number``."""
        self._places[number] = None if content is None else (self._spill.put(content), len(content))

    def get(self, number: int) -> bytes | None:
        """The content kept as ``number``; None if there is none."""
        place = self._places.get(number)
        return None if place is None else bytes(self._spill.get(*place))


class ByDay(Generic[Day]):
    """Rows of a table by UTC day, in the order in which they were added.

    ``made`` converts a day's rows; the results of the last few days stay in memory.
    """

    def __init__(self, dtype: np.dtype[Any], made: Callable[[Any], Day]) -> None:
        self._dtype, self._made, self._spill = dtype, made, Spill()
        self._places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._near: OrderedDict[int, Day] = OrderedDict()

    @property
    def days(self) -> list[int]:
        """Every day that has rows, as days since 1970."""
        return sorted(self._places)

    def add(self, times: Ints, rows: Any) -> None:
        """Append ``rows``, each to the day of its time."""
        days = times // DAY_US
        for day in np.unique(days).tolist():
            mine = np.ascontiguousarray(rows[days == day]).tobytes()
            self._places[day].append((self._spill.put(mine), len(mine)))

    def day(self, day: int) -> Day:
        """The converted rows of a day, or of no rows if it has none."""
        found = self._near.pop(day, None)
        if found is None:
            content = bytearray().join(self._spill.get(*place) for place in self._places.get(day, ()))
            found = self._made(np.frombuffer(content, dtype=self._dtype))
        self._near[day] = found
        if len(self._near) > _NEAR:
            self._near.popitem(last=False)
        return found
