"""A cluster's topics as columns: fetches of whole record batches, no consumer group, nothing committed."""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from numpy.typing import NDArray

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.brokers import SILENT_S, Brokers, Connection, Passing, WirePart, demand
from tapedeck.connectors.kafka.bulk.isolation import (
    READ_COMMITTED,
    Span,
    absent,
    committed,
    is_whole,
    joined,
    uncovered,
)
from tapedeck.connectors.kafka.bulk.records import batches_of, blocks_of, check
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Block, Bytes, Ints
from tapedeck.streams.contract import Message
from tapedeck.streams.merge import Part
from tapedeck.topics.catalogue import Layout

FETCH_BYTES = 4 << 20
"""What one fetch asks for: a stream holds one answer, and the next one waits in the socket."""

LED_S = 10.0
"""How long a partition may be without a leader where only its ends are asked for."""

_WAIT_MS = 500
_OUT_OF_RANGE = 1
_LATEST, _EARLIEST = -1, -2
_NO_OFFSETS: Ints = np.empty(0, dtype=np.int64)

_I16, _I32 = struct.Struct(">h"), struct.Struct(">i")
_FETCHED_PART = struct.Struct(">iihqq")
"""Of an answer for one partition: partitions, partition, error code, high watermark, last stable offset."""
_ABORTED = np.dtype([("producer", ">i8"), ("first", ">i8")])


class _Fetched(NamedTuple):
    """One answer. ``end``: the last stable offset, -1 where the broker did not say.

    ``aborted``: (producer id, first offset) of the aborted transactions among the records.
    """

    code: int
    end: int
    throttle_ms: int
    records: Bytes
    aborted: Sequence[tuple[int, int]] = ()


def _fetched(frame: Bytes, version: int) -> _Fetched:
    """The answer to a fetch of one partition, of version 4 to 11, from its correlation id on."""
    data, at, code = frame.data, 4, 0
    (throttle_ms,) = _I32.unpack_from(data, at)
    at += 4
    if version >= 7:
        (code,) = _I16.unpack_from(data, at)
        at += 2 + 4  # the id of a session
    if _I32.unpack_from(data, at)[0] != 1:  # no topic: the code says why
        return _Fetched(code, -1, throttle_ms, frame[:0])
    at += 4
    at += 2 + _I16.unpack_from(data, at)[0]  # its name
    _, _, part_code, _, end = _FETCHED_PART.unpack_from(data, at)
    at += _FETCHED_PART.size + (8 if version >= 5 else 0)  # the offset where the log begins
    (count,) = _I32.unpack_from(data, at)
    at += 4
    aborted = np.frombuffer(data, _ABORTED, max(count, 0), at).tolist()
    at += 16 * len(aborted) + (4 if version >= 11 else 0)  # a replica to read from
    (size,) = _I32.unpack_from(data, at)
    at += 4
    return _Fetched(code or part_code, end, throttle_ms, frame[at : at + max(size, 0)], aborted)


class _Stream:
    """The fetches of one partition: one is asked for ahead while the caller computes."""

    def __init__(self, brokers: Brokers, part: WirePart) -> None:
        self._brokers, self._part = brokers, part
        self._node = -1
        self._connection: Connection | None = None
        self._asked = False
        self._version = 0

    def ask(self, position: int) -> None:
        """Ask for the records from ``position`` on; the answer is taken with ``take``."""
        try:
            self._ask(position)
        except Passing:
            self._drop()  # ``take`` asks again

    def _ask(self, position: int) -> None:
        if self._connection is None:
            self._node = self._brokers.leader(self._part)
            self._connection = self._brokers.borrow(self._node)
        topic, partition = self._part
        fetch = [(topic, [(partition, position, FETCH_BYTES)])]
        sent = self._connection.send(FetchRequest(_WAIT_MS, 1, FETCH_BYTES, READ_COMMITTED, fetch))
        self._asked, self._version = True, sent.API_VERSION

    def take(self, position: int, end: int) -> _Fetched:
        """The batches from ``position`` on; none where the log has no record from there to ``end``."""
        patience = self._brokers.patience(f"{self._part[0]}/{self._part[1]} was read at offset {position}")
        while True:
            try:
                if not self._asked:
                    self._ask(position)
                found = self._receive()
                if found.code == _OUT_OF_RANGE:
                    self._drop()
                    raise self._out_of_range(position)
                demand(found.code, f"reading {self._part[0]}/{self._part[1]} at offset {position}")
                if len(found.records) or (found.end >= end and not found.throttle_ms):
                    return found
                fault = Passing(f"the log ends at offset {found.end}, before offset {end}")
            except Passing as error:
                self._drop()
                self._brokers.forget(self._part)
                fault = error
            patience.bear(fault)

    def _receive(self) -> _Fetched:
        assert self._connection is not None
        frame = self._connection.receive()
        self._asked = False
        return _fetched(frame, self._version)

    def _out_of_range(self, position: int) -> Fatal:
        topic, partition = self._part
        low, high = ends_of(self._brokers, [self._part])[self._part]
        return Fatal(
            f"topic {topic} has no offset {position} in partition {partition}",
            value=position,
            remedy=f"offsets {low} to {high - 1} are kept: begin at {low} or later"
            if high > low
            else f"the partition is empty and goes on at offset {high}",
        )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._asked = None, False

    def close(self) -> None:
        """Give the connection back, or close it where an answer would still come."""
        if self._connection is not None and not self._asked:
            self._brokers.give_back(self._node, self._connection)
            self._connection = None
        self._drop()


def list_offsets(brokers: Brokers, parts: Iterable[WirePart], time: int) -> dict[WirePart, tuple[int, int]]:
    """(offset, timestamp ms) per partition of the first record at ``time`` ms or later; -1 where none is.

    Raises Passing where a partition has no leader.
    """
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for topic, partition in parts:
        by_node[brokers.leader((topic, partition))][topic].append((partition, time))
    found = {}
    for node, topics in by_node.items():
        answer = brokers.ask(node, OffsetRequest(-1, READ_COMMITTED, list(topics.items())))
        for topic, partitions in answer.topics:
            for partition, code, timestamp, offset, *_ in partitions:
                if code:
                    brokers.forget((topic, partition))
                demand(code, f"asking for the offsets of {topic}/{partition}")
                found[topic, partition] = (offset, timestamp)
    return found


def ends_of(brokers: Brokers, parts: list[WirePart]) -> dict[WirePart, tuple[int, int]]:
    """(first, end) offset of partitions. Raises Retry where one has no leader for long."""

    def ask() -> dict[WirePart, tuple[int, int]]:
        low, high = (list_offsets(brokers, parts, time) for time in (_EARLIEST, _LATEST))
        return {part: (low[part][0], high[part][0]) for part in parts}

    limit_s = min(LED_S, brokers.silent_s)
    return brokers.patiently(ask, "the ends of topics were asked for", limit_s)


class Look(NamedTuple):
    """What a partition's log has in a range of offsets.

    ``messages``: its committed records, those with offsets in the range alone. ``holes``: ascending spans
    [a, b) from the range's start to ``seen_to`` at whose offsets the log has no record of any kind: no batch
    covers them, or the one that does lacks them, as compaction leaves it. What a control batch or one of an
    aborted transaction covers is no hole. ``seen_to``: the offset up to which the log was looked at, the end
    of the range or more.
    """

    messages: list[Message]
    holes: list[Span]
    seen_to: int


class KafkaSource:
    """Recorded topics on a cluster, as ``streams.blocks.Source``: what is committed, and nothing else.

    The end of a partition is its last stable offset: from there on, records may still be withdrawn. It need
    not follow a record: control records and aborted ones take offsets, too.
    For one thread of one process: give a worker process the source itself (it travels as its arguments)
    or make one there. ``silent_s``: how long the broker may be silent before Retry.
    """

    def __init__(self, cluster: Cluster, silent_s: float = SILENT_S) -> None:
        self._layout, self._arguments = cluster.layout, (cluster, silent_s)
        self._brokers = Brokers(cluster, silent_s)

    def __reduce__(self) -> tuple[type["KafkaSource"], tuple[Any, ...]]:
        return type(self), self._arguments

    def __enter__(self) -> "KafkaSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def layout(self) -> Layout:
        return self._layout

    def close(self) -> None:
        """Close the connections; the source may be used again."""
        self._brokers.close()

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        """(first, end) offset of every partition of the catalogue's topics ``names``, the end a stable one.

        Raises Fatal for a topic that is not there, Retry where a partition has no leader for long.
        """
        names = list(names)
        wire = [self._layout.wire_name(name) for name in names]
        limit_s = min(LED_S, self._brokers.silent_s)
        doing = "the ends of topics were asked for"
        counts = self._brokers.patiently(lambda: self._brokers.learn(wire), doing, limit_s) if wire else {}
        parts: dict[WirePart, Part] = {}
        for name, on_wire in zip(names, wire, strict=True):
            wanted = self._layout.partitions(name)
            if counts[on_wire] < wanted:
                what = f"topic {on_wire} has {counts[on_wire]} partitions, fewer than the layout"
                raise Fatal(what, value=wanted, remedy="set the partition count that it was made with")
            parts |= {(on_wire, partition): (name, partition) for partition in range(wanted)}
        found = ends_of(self._brokers, list(parts))
        return {part: found[on_wire] for on_wire, part in parts.items()}

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end), in log order, a few MB a block.

        Ends early where the log keeps nothing up to ``end``. Raises Fatal for an offset that is not kept
        and for a damaged log, Retry where the broker is silent.
        """
        for data, table, wanted in self._batches(part, start, end):
            yield from blocks_of(data, table[wanted], part, start, end)

    def look(self, part: Part, start: int, end: int) -> Look:
        """What the log of ``part`` has at the offsets [start, end): for a reader that missed some.

        Reads whole answers of the broker, so that it usually sees more than was asked for. Offsets that the
        log has yet to get, or that an open transaction withholds, are waited for; raises as ``stream`` does.
        """
        messages, holes, reached = list[Message](), list[Span](), start
        for data, table, wanted in self._batches(part, start, end):
            holes += uncovered(reached, table)
            for batch in table[wanted & ~is_whole(table)]:
                base, last = max(start, int(batch[K.BASE])), int(batch[K.LAST])
                blocks = list(blocks_of(data, batch[np.newaxis], part, base, last + 1))
                found = np.concatenate([each.offsets for each in blocks]) if blocks else _NO_OFFSETS
                holes += absent(found, base, last + 1)
            reached = int(table[-1, K.LAST]) + 1
            for block in blocks_of(data, table[wanted], part, start, end):
                messages += block.messages()
        if reached < end:
            holes.append((reached, end))
        return Look(messages, joined(holes), max(reached, end))

    def _batches(self, part: Part, start: int, end: int) -> Iterator[tuple[Bytes, Ints, NDArray[np.bool_]]]:
        """The broker's answers from ``start`` to ``end``: bytes, their batches, and which are committed."""
        fetches, position = _Stream(self._brokers, self._wire(part)), start
        try:
            while position < end:
                found = fetches.take(position, end)
                if not len(found.records):
                    break
                table = batches_of(found.records, part)
                position = int(table[-1, K.LAST]) + 1
                if position < end:
                    fetches.ask(position)
                check(found.records, table, part)
                yield found.records, table, committed(found.records, table, found.aborted)
        finally:
            fetches.close()

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset whose record's time is ``time_us`` or later, by the broker's time index.

        The end offset where no record is that late. Where times do not rise with offsets, earlier records
        may still follow.
        """
        time = max(0, -(-time_us // 1000))
        wire = self._wire(part)
        found = self._offsets(wire, time)[0]
        return found if found >= 0 else self._offsets(wire, _LATEST)[0]

    def first_timestamp(self, part: Part) -> int | None:
        """The time in ms of the first record that is kept; None where there is none."""
        low, end = ends_of(self._brokers, [self._wire(part)])[self._wire(part)]
        for block in self.stream(part, low, end):
            return int(block.timestamps[0])
        return None

    def _wire(self, part: Part) -> WirePart:
        return self._layout.wire_name(part[0]), part[1]

    def _offsets(self, wire: WirePart, time: int) -> tuple[int, int]:
        def ask() -> tuple[int, int]:
            return list_offsets(self._brokers, [wire], time)[wire]

        doing = f"{wire[0]}/{wire[1]} was asked for offsets"
        return self._brokers.patiently(ask, doing)
