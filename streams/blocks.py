"""A run of one partition's log as columns: how the columnar driver and the tap see records.

A record is an index into the arrays, and its bytes are spans of ``data``. Nothing is copied or turned into
an object until ``messages`` is called.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tapedeck.schemas import varint
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

ABSENT = -1
"""The length of a null span."""


def pack_headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Headers as a log record encodes them: their count, then names and values with lengths.

    A null value has the length ``ABSENT``.
    """
    out = bytearray()
    varint.put(out, len(headers))
    for name, content in headers:
        encoded = name.encode()
        varint.put(out, len(encoded))
        out += encoded
        varint.put(out, ABSENT if content is None else len(content))
        out += content or b""
    return bytes(out)


def unpack_headers(data: bytes, at: int = 0) -> tuple[tuple[str, bytes | None], ...]:
    """Unpack what ``pack_headers`` packed, starting at ``at``."""
    count, at = varint.get(data, at)
    found: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        # Nearly all lengths are one positive byte. A call for each would dominate the cost here.
        size = data[at]
        size, at = varint.get(data, at) if size & 0x81 else (size >> 1, at + 1)
        name, at = data[at : at + size], at + size
        size = data[at]
        size, at = varint.get(data, at) if size & 0x81 else (size >> 1, at + 1)
        found.append((_name_of(name), None if size < 0 else data[at : at + size]))
        at += max(size, 0)
    return tuple(found)


@lru_cache(maxsize=256)
def _name_of(name: bytes) -> str:
    return name.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Block:
    """Records of one partition in log order.

    ``data`` uint8: all bytes. ``offsets`` int64 (n), strictly increasing, gaps allowed; ``timestamps`` int64
    (n), ms. ``keys``, ``values``, ``headers`` int64 (n, 2): start and length in ``data``, length -1 for null;
    headers are encoded as in the log (``pack_headers``).
    """

    topic: str
    partition: int
    data: Bytes
    offsets: Ints
    timestamps: Ints
    keys: Ints
    values: Ints
    headers: Ints

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def part(self) -> Part:
        return self.topic, self.partition

    def part_of(self, start: int, end: int) -> "Block":
        """Records ``start`` to ``end`` (exclusive, by index) over the same bytes."""
        at = slice(start, end)
        return Block(
            self.topic, self.partition, self.data, self.offsets[at], self.timestamps[at],
            self.keys[at], self.values[at], self.headers[at],
        )  # fmt: skip

    def placed_at(self, first: int) -> "Block":
        """The same records, with offsets renumbered from ``first``."""
        return replace(self, offsets=first + np.arange(len(self)))

    def key(self, place: int) -> bytes | None:
        return self._bytes(self.keys[place])

    def value(self, place: int) -> bytes | None:
        return self._bytes(self.values[place])

    def message(self, place: int) -> Message:
        """One record in the form that the row-wise drivers use."""
        headers = self._bytes(self.headers[place])
        return Message(
            self.topic,
            self.partition,
            int(self.offsets[place]),
            int(self.timestamps[place]),
            self.key(place),
            self.value(place),
            unpack_headers(headers) if headers else (),
        )

    def messages(self) -> Iterator[Message]:
        """All records in the form that the row-wise drivers use."""
        return self._messages(bare=False)

    def bare_messages(self) -> Iterator[Message]:
        """All records, with headers only on those without a value: enough where nothing is written."""
        return self._messages(bare=True)

    def _messages(self, *, bare: bool) -> Iterator[Message]:
        spans = np.concatenate((self.keys, self.values, self.headers), axis=1)
        held = spans.reshape(-1, 2)[spans.reshape(-1, 2)[:, 1] > 0]
        low = int(held[:, 0].min()) if len(held) else 0
        content = self.data[low : int(held.sum(axis=1).max()) if len(held) else 0].tobytes()
        spans[:, ::2] -= low
        topic, partition = self.topic, self.partition
        rows = zip(self.offsets.tolist(), self.timestamps.tolist(), spans.tolist(), strict=True)
        for offset, timestamp, (key, key_size, value, value_size, headers, headers_size) in rows:
            wanted = headers_size > 0 and not (bare and value_size != ABSENT)
            yield Message(
                topic,
                partition,
                offset,
                timestamp,
                None if key_size == ABSENT else content[key : key + key_size],
                None if value_size == ABSENT else content[value : value + value_size],
                unpack_headers(content, headers) if wanted else (),
            )

    def _bytes(self, span: Ints) -> bytes | None:
        start, length = int(span[0]), int(span[1])
        return None if length == ABSENT else self.data[start : start + length].tobytes()

    @classmethod
    def empty(cls, topic: str, partition: int) -> "Block":
        """No records."""
        nothing, spans = np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.int64)
        return cls(topic, partition, np.empty(0, dtype=np.uint8), nothing, nothing, spans, spans, spans)

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Block":
        """The block of ``messages``: at least one, all of one partition, in log order."""
        data = bytearray()

        def span(content: bytes | None) -> tuple[int, int]:
            if content is None:
                return len(data), ABSENT
            start = len(data)
            data.extend(content)
            return start, len(content)

        spans = [(span(m.key), span(m.value), span(pack_headers(m.headers))) for m in messages]
        columns = np.array(spans, dtype=np.int64).reshape(-1, 3, 2)
        return cls(
            messages[0].topic,
            messages[0].partition,
            np.frombuffer(bytes(data), dtype=np.uint8),
            np.array([m.offset for m in messages], dtype=np.int64),
            np.array([m.timestamp for m in messages], dtype=np.int64),
            *(np.ascontiguousarray(columns[:, each]) for each in range(3)),
        )


class Source(Protocol):
    """Where recorded topics are read from: a cluster, or memory."""

    @property
    def layout(self) -> Layout: ...

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        """(first, end) offset of every partition of the catalogue's topics ``names``."""
        ...

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """The ids of ``names``, where topics have ids. A recreated topic gets another one."""
        ...

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end), in log order, a few MB at a time."""
        ...

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset of ``part`` whose timestamp is at or after ``time_us``; the end if none is."""
        ...


_NEAR = 64
_WIDER = 8


def first_record(source: Source, part: Part, start: int, end: int) -> Message | None:
    """The first record of ``part`` with an offset in [start, end). Some offsets have no record."""
    size = _NEAR
    while start < end:
        for block in source.stream(part, start, min(start + size, end)):
            return block.message(0)
        start, size = start + size, size * _WIDER
    return None


def last_record(source: Source, part: Part, start: int, end: int) -> Message | None:
    """The last record of ``part`` with an offset in [start, end). Some offsets have no record."""
    size = _NEAR
    while start < end:
        found = None
        for block in source.stream(part, max(start, end - size), end):
            found = block
        if found is not None:
            return found.message(len(found) - 1)
        end, size = end - size, size * _WIDER
    return None


class MemorySource:
    """Recorded messages in memory as a Source: ``size`` records a block, ``ids`` of topics that have one."""

    def __init__(
        self,
        layout: Layout,
        messages: Iterable[Message],
        size: int = 1000,
        ids: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self._layout, self._size, self._ids = layout, size, ids
        self._parts: dict[Part, list[Message]] = defaultdict(list)
        for message in messages:
            self._parts[message.topic, message.partition].append(message)

    @property
    def layout(self) -> Layout:
        return self._layout

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        return {
            (name, partition): self._ends_of((name, partition))
            for name in names
            for partition in range(self._layout.partitions(name))
        }

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        return {name: self._ids[name] for name in names if name in self._ids}

    def _ends_of(self, part: Part) -> tuple[int, int]:
        held = self._parts.get(part)
        return (held[0].offset, held[-1].offset + 1) if held else (0, 0)

    def offset_at(self, part: Part, time_us: int) -> int:
        held = self._parts.get(part, ())
        found = (message.offset for message in held if message.timestamp * 1000 >= time_us)
        return next(found, self._ends_of(part)[1])

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        held = [m for m in self._parts.get(part, ()) if start <= m.offset < end]
        for at in range(0, len(held), self._size):
            yield Block.of(held[at : at + self._size])
