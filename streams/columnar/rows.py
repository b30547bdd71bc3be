"""What a topic partition holds, as (event_id, row hash) pairs: digests and differences in bounded memory.

A row is 32 bytes: the 16 raw bytes of the event_id and the first 16 of SHA-256 over the key's length (u32,
big endian), the key and the body. Rows are sorted in runs; runs beyond ``HELD`` rows go to a spool.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

Spool = Callable[[], BinaryIO]
"""Opens a file for rows that do not fit in memory."""

WIDTH = 32
ID = 16
HELD = 1 << 20
"""Rows held in memory before a sorted run goes to the spool."""
_FIRST_BYTES = 256


def raw_id(event_id: str) -> bytes:
    """The 16 bytes of an event_id: the id itself if it is 32 hex digits, else the start of its SHA-256."""
    if len(event_id) == 2 * ID:
        try:
            return bytes.fromhex(event_id)
        except ValueError:
            pass
    return sha256(event_id.encode()).digest()[:ID]


def row_of(key: bytes, event_id: str, body: bytes) -> bytes:
    """One row; ``body`` is the Avro body without prefix."""
    return raw_id(event_id) + sha256(len(key).to_bytes(4, "big") + key + body).digest()[:ID]


class Difference(NamedTuple):
    """An event_id on which two sides differ, with the row hash of each side, None if it has none."""

    event_id: str
    ours: bytes | None
    theirs: bytes | None


class Rows:
    """The distinct rows of one topic partition. ``spool`` opens a file for rows that do not fit in memory."""

    def __init__(self, spool: Spool = BytesIO) -> None:
        self._spool = spool
        self._fresh: list[Bytes] = []
        self._singles = bytearray()  # an array of its own for each row would take ten times its bytes
        self._count = 0
        self._runs: list[_Run] = []

    def add(self, rows: Bytes) -> None:
        """Take rows, uint8 (n, 32), in any order; repeats are dropped at the end."""
        if not len(rows):
            return
        self._fresh.append(rows)
        self._taken(len(rows))

    def add_one(self, key: bytes, event_id: str, body: bytes) -> None:
        """Take one record."""
        self._singles += row_of(key, event_id, body)
        self._taken(1)

    def _taken(self, count: int) -> None:
        self._count += count
        if self._count >= HELD:
            self._settle()

    def __len__(self) -> int:
        """How many distinct rows there are."""
        return sum(len(rows) for rows in self._sorted())

    def hexdigest(self) -> str:
        """SHA-256 over the distinct rows in order."""
        total = sha256()
        for rows in self._sorted():
            total.update(rows.tobytes())
        return total.hexdigest()

    def conflicts(self) -> list[str]:
        """The event_ids that have two different bodies."""
        found = []
        for rows in self._sorted():
            same = (rows[1:, :ID] == rows[:-1, :ID]).all(axis=1)
            found += [row[:ID].tobytes().hex() for row in rows[1:][same]]
        return found

    def differences(self, other: "Rows") -> Iterator[Difference]:
        """The rows that only one of the two has, by event_id."""
        for first, last in _groups([*self._parts(), *other._parts()]):
            ours, theirs = self._group(first, last), other._group(first, last)
            if not np.array_equal(ours, theirs):
                yield from _differences(ours, theirs)

    def absorb(self, other: "Rows") -> None:
        """Add the rows of ``other``: a topic's digest covers all its partitions."""
        self._settle()
        self._runs += other._parts()

    def save(self, file: BinaryIO) -> list[int]:
        """Write the distinct rows in order; returns what ``load`` needs besides the file."""
        bounds = np.zeros(_FIRST_BYTES + 1, dtype=np.int64)
        for rows in self._sorted():
            file.write(rows.tobytes())
            bounds += np.searchsorted(rows[:, 0], np.arange(_FIRST_BYTES + 1))
        return [int(each) for each in bounds]

    @classmethod
    def load(cls, file: BinaryIO, bounds: Sequence[int]) -> "Rows":
        """The rows that ``save`` wrote to ``file``, which stays open as long as they are used."""
        found = cls()
        found._runs.append(_Run(np.array(bounds, dtype=np.int64), file))
        return found

    def _parts(self) -> "list[_Run]":
        self._settle()
        return self._runs

    def _settle(self) -> None:
        if self._count:
            singles = np.frombuffer(self._singles, dtype=np.uint8).reshape(-1, WIDTH)
            rows = _in_order(np.concatenate([*self._fresh, singles]))
            bounds = np.searchsorted(rows[:, 0], np.arange(_FIRST_BYTES + 1))
            self._runs.append(_Run(bounds, self._spooled(rows) if len(rows) >= HELD // 2 else rows))
            self._fresh, self._singles, self._count = [], bytearray(), 0

    def _spooled(self, rows: Bytes) -> BinaryIO:
        file = self._spool()
        file.write(rows.tobytes())
        return file

    def _sorted(self) -> Iterator[Bytes]:
        for first, last in _groups(self._parts()):
            yield self._group(first, last)

    def _group(self, first: int, last: int) -> Bytes:
        """The distinct rows whose first byte is in [first, last), in order."""
        slices = [run.read(first, last) for run in self._runs]
        if not slices:
            return np.empty((0, WIDTH), dtype=np.uint8)
        return slices[0] if len(slices) == 1 else _in_order(np.concatenate(slices))


class _Run(NamedTuple):
    """Distinct rows in order, in memory or in a file. ``bounds`` (257): where each first byte starts."""

    bounds: Ints
    rows: Bytes | BinaryIO

    def read(self, first: int, last: int) -> Bytes:
        """The rows whose first byte is in [first, last)."""
        start, end = int(self.bounds[first]), int(self.bounds[last])
        if isinstance(self.rows, np.ndarray):
            return self.rows[start:end]
        self.rows.seek(start * WIDTH)
        content = self.rows.read((end - start) * WIDTH)
        return np.frombuffer(content, dtype=np.uint8).reshape(-1, WIDTH)


def _groups(runs: Sequence[_Run]) -> Iterator[tuple[int, int]]:
    """Ranges of first bytes that hold about ``HELD`` rows at most, so that they are sorted in memory."""
    if not runs:
        return
    counts = np.sum([np.diff(run.bounds) for run in runs], axis=0)
    first, held = 0, 0
    for byte in range(_FIRST_BYTES):
        if held and held + counts[byte] > HELD:
            yield first, byte
            first, held = byte, 0
        held += counts[byte]
    yield first, _FIRST_BYTES


def _in_order(rows: Bytes) -> Bytes:
    """Distinct rows, sorted by their bytes."""
    words = np.ascontiguousarray(rows).view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0], kind="stable")
    leading = words[order, 0]
    if (leading[1:] == leading[:-1]).any():
        order = np.lexsort(words.T[::-1])
    rows = rows[order]
    words = words[order]
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (words[1:] != words[:-1]).any(axis=1)
    return rows if fresh.all() else rows[fresh]


def _differences(ours: Bytes, theirs: Bytes) -> Iterator[Difference]:
    sides = [{row.tobytes() for row in rows} for rows in (ours, theirs)]
    odd = sorted(sides[0] ^ sides[1])
    by_id: dict[bytes, tuple[list[bytes], list[bytes]]] = {}
    for row in odd:
        mine, other = by_id.setdefault(row[:ID], ([], []))
        (mine if row in sides[0] else other).append(row[ID:])
    for event_id, (mine, other) in by_id.items():
        for k in range(max(len(mine), len(other))):
            yield Difference(
                event_id.hex(), mine[k] if k < len(mine) else None, other[k] if k < len(other) else None
            )
