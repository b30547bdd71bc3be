"""A cluster's topics as columns: fetches of whole record batches, no consumer group, nothing committed."""

import io
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.brokers import SILENT_S, Brokers, Connection, Passing, WirePart, demand
from tapedeck.connectors.kafka.bulk.records import batches_of, blocks_of, check
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Block, Bytes
from tapedeck.streams.merge import Part
from tapedeck.topics.catalogue import Layout

FETCH_BYTES = 4 << 20
"""What one fetch asks for: a stream holds one answer, and the next one waits in the socket."""

LED_S = 10.0
"""How long a partition may be without a leader where only its ends are asked for."""

_WAIT_MS = 500
_OUT_OF_RANGE = 1
_LATEST, _EARLIEST = -1, -2

# A fetch of one partition answers with counts of 1, so that its nesting is flat; the records follow.
_FETCHED = Schema(
    ("topic", String()), ("partitions", Int32), ("partition", Int32), ("error_code", Int16),
    ("high_watermark", Int64), ("last_stable_offset", Int64), ("log_start_offset", Int64),
    ("aborted", Array(("producer_id", Int64), ("first_offset", Int64))),
    ("preferred_read_replica", Int32), ("size", Int32),
)  # fmt: skip
_BEFORE = struct.Struct(">iihii")
"""Before it: correlation id, throttle time ms, error code, session id, number of topics."""
_FETCHED_VERSION = 11
_FETCHED_HEAD = 1024
"""More than what stands before the records: a topic's name has 249 bytes at most."""


class _Fetched(NamedTuple):
    """One answer. ``end``: the offset after the newest record, -1 where the broker did not say."""

    code: int
    end: int
    throttled: bool
    records: Bytes


def _fetched(frame: Bytes) -> _Fetched:
    _, throttle, code, _, topics = _BEFORE.unpack_from(frame.data)
    if topics != 1:
        return _Fetched(code, -1, bool(throttle), frame[:0])
    head = io.BytesIO(frame[_BEFORE.size : _FETCHED_HEAD].tobytes())
    _, _, _, part_code, end, *_, size = _FETCHED.decode(head)
    at = _BEFORE.size + head.tell()
    return _Fetched(code or part_code, end, bool(throttle), frame[at : at + max(size, 0)])


class _Stream:
    """The fetches of one partition: one is asked for ahead while the caller computes."""

    def __init__(self, brokers: Brokers, part: WirePart) -> None:
        self._brokers, self._part = brokers, part
        self._node = -1
        self._connection: Connection | None = None
        self._asked = False

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
        sent = self._connection.send(FetchRequest(_WAIT_MS, 1, FETCH_BYTES, 0, fetch))
        self._asked = True
        if sent.API_VERSION != _FETCHED_VERSION:
            remedy = "use Kafka 2.3 or newer"
            raise Fatal("the broker is too old to be read", value=f"fetch v{sent.API_VERSION}", remedy=remedy)

    def take(self, position: int, end: int) -> Bytes:
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
                if len(found.records) or (found.end >= end and not found.throttled):
                    return found.records
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
        return _fetched(frame)

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
        answer = brokers.ask(node, OffsetRequest(-1, 0, list(topics.items())))
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


class KafkaSource:
    """Recorded topics on a cluster, as ``streams.blocks.Source``.

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
        """(first, end) offset of every partition of the catalogue's topics ``names``.

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
        fetches, position = _Stream(self._brokers, self._wire(part)), start
        try:
            while position < end:
                data = fetches.take(position, end)
                if not len(data):
                    break
                table = batches_of(data, part)
                position = int(table[-1, K.LAST]) + 1
                if position < end:
                    fetches.ask(position)
                check(data, table, part)
                yield from blocks_of(data, table, part, start, end)
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
