"""Appends columns to topics: whole record batches, acknowledged by all replicas, each exactly once.

The broker knows a batch by producer id, epoch and sequence, so it does not append a resent batch again. A
partition has at most one batch in flight, which keeps the order. A broker's partitions share a request.
"""

import select
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from aiokafka import errors
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.brokers import SILENT_S, Brokers, WirePart
from tapedeck.connectors.kafka.bulk.records import contiguous, seal
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.connection import Connection, Passing, demand
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.blocks import Block, Bytes
from tapedeck.streams.merge import Part

BATCH_BYTES = 512 << 10
QUEUE_BYTES = 16 << 20
"""How much may wait for the broker before ``write`` waits too."""

_REQUEST_BYTES = 8 << 20
_ALL_REPLICAS = -1
_DUPLICATE = 46
_FORGOTTEN = {45, 47, 59}
"""Error codes of a broker that does not know this producer, or not that it wrote the records before."""
_TOPIC = 2
_LIMIT = "max.message.bytes"
_RECORD_OVERHEAD = 41
"""The most bytes of a record besides its contents: six varints and the attributes."""


class _Batch(NamedTuple):
    content: memoryview
    records: int


class _Lane:
    """The batches of one partition: the one being filled, and those waiting to be sent."""

    def __init__(self, part: Part, limit: int, most: int) -> None:
        self.part = part
        self.waiting: deque[_Batch] = deque()
        self.size = 0
        self.flying = False
        self.last = -1
        self._limit, self._most = limit, most
        self._sequence = 0
        self._begin(limit)

    def _begin(self, size: int) -> None:
        self._out: Bytes = np.empty(size, dtype=np.uint8)
        self._filling = np.array([K.HEADER, 0, 0, 0], dtype=np.int64)

    def append(self, block: Block, producer: tuple[int, int]) -> None:
        """Append records; full batches are queued to be sent. Raises Fatal for a record that is too large."""
        data, times, keys, values, headers = contiguous(block)
        row = 0
        while row < len(block):
            out, filling = self._out, self._filling
            row = K.fill(data, times, keys, values, headers, row, out, len(out), filling)
            if row == len(block):
                break
            if filling[K.F_COUNT]:
                self.seal(producer)
            elif len(out) < self._most:
                self._begin(min(_room(block, row), self._most))
            else:
                what = f"topic {block.topic} accepts no batch of {self._most} bytes or more"
                remedy = f"raise its {_LIMIT}, or leave out the record, which has {_room(block, row)} bytes"
                raise Fatal(what, value=block.key(row), remedy=remedy)

    def seal(self, producer: tuple[int, int]) -> None:
        """Queue the batch being filled, if it has records."""
        count = int(self._filling[K.F_COUNT])
        if count == 0:
            return
        content = seal(self._out, self._filling, producer, self._sequence)
        self._sequence = (self._sequence + count) & 0x7FFF_FFFF
        self.waiting.append(_Batch(content, count))
        self.size += len(content)
        self._begin(self._limit)


def _room(block: Block, row: int) -> int:
    """An upper bound on the bytes of a batch with one record."""
    spans = (block.keys[row], block.values[row], block.headers[row])
    return K.HEADER + _RECORD_OVERHEAD + sum(max(0, int(length)) for _, length in spans)


class BulkWriter:
    """Appends blocks to the partitions that they name. For one thread of one process.

    The offsets of a block are ignored. A call pays off for blocks of thousands of records. ``silent_s``: how
    long the broker may stay silent before Retry. Unwritten records then keep waiting, and ``flush`` resumes.
    """

    def __init__(
        self,
        cluster: Cluster,
        silent_s: float = SILENT_S,
        *,
        batch_bytes: int = BATCH_BYTES,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self._layout, self._batch_bytes, self._queue_bytes = cluster.layout, batch_bytes, queue_bytes
        self._brokers = Brokers(cluster, silent_s)
        self._lanes: dict[WirePart, _Lane] = {}
        self._limits: dict[str, int] = {}
        self._flying: dict[int, tuple[Connection, list[WirePart]]] = {}
        self._producer: tuple[int, int] | None = None

    def __enter__(self) -> "BulkWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def write(self, block: Block) -> None:
        """Append a block's records. They are sent when a batch is full; ``flush`` sends all of them.

        Waits only while much is unwritten. Raises Fatal for a record that the topic does not accept and for a
        topic that does not exist, Retry if the broker is silent.
        """
        wire = self._layout.wire_name(block.topic), block.partition
        producer = self._known_producer()
        lane = self._lanes.get(wire) or self._open(wire, block.part)
        lane.append(block, producer)
        with suppress(Passing):  # handled when there is something to wait for
            self._exchange(0)
        self._drain(self._queue_bytes)

    def flush(self) -> dict[Part, int]:
        """Return when everything is acknowledged: the last offset written, by partition.

        Raises Retry if the broker is silent, Fatal if it refuses.
        """
        if self._producer:
            for lane in self._lanes.values():
                lane.seal(self._producer)
        self._drain(0)
        return {lane.part: lane.last for lane in self._lanes.values() if lane.last >= 0}

    def close(self) -> None:
        """Close the connections. What was not flushed may or may not be written."""
        for node in list(self._flying):
            self._land(node).close()
        self._brokers.close()

    def _known_producer(self) -> tuple[int, int]:
        if self._producer is None:
            self._producer = self._brokers.patiently(self._new_producer, "a producer id was asked for")
        return self._producer

    def _new_producer(self) -> tuple[int, int]:
        answer = self._brokers.ask_any(InitProducerIdRequest(None, 0))
        demand(answer.error_code, "asking for a producer id")
        return answer.producer_id, answer.producer_epoch

    def _limit_of(self, topic: str) -> int:
        """The most bytes of a batch that a topic accepts. Raises Fatal if the topic does not exist."""
        self._brokers.learn((topic,))
        answer = self._brokers.ask_any(DescribeConfigsRequest([(_TOPIC, topic, [_LIMIT])]))
        ((code, _, _, _, settings),) = answer.resources
        demand(code, f"asking for {_LIMIT} of {topic}")
        return next(int(value) for name, value, *_ in settings if name == _LIMIT)

    def _open(self, wire: WirePart, part: Part) -> _Lane:
        topic = wire[0]
        if topic not in self._limits:
            doing = f"{_LIMIT} of {topic} was asked for"
            self._limits[topic] = self._brokers.patiently(lambda: self._limit_of(topic), doing)
        most = self._limits[topic]
        self._lanes[wire] = _Lane(part, min(self._batch_bytes, most), most)
        return self._lanes[wire]

    def _size(self) -> int:
        """Bytes that are waiting or in flight."""
        return sum(lane.size for lane in self._lanes.values())

    def _drain(self, most: int) -> None:
        """Return when no more than ``most`` bytes are waiting."""
        patience = self._brokers.patience(f"{self._size()} bytes were written")
        while (before := self._size()) > most:
            try:
                self._exchange(self._brokers.silent_s)
            except Passing as fault:
                patience.bear(fault)
            if self._size() < before:
                patience.reset()

    def _exchange(self, wait_s: float) -> None:
        """Send what can be sent, then take the answers that come within ``wait_s``.

        Raises Passing for a temporary fault: the affected batches wait and are sent again.
        """
        fault = self._send()
        if wait_s and not self._flying and not fault:
            self._brokers.wait(self._brokers.leaders(self._waiting()).values())
            fault = self._send()
        poll = select.poll()
        nodes = {connection.fileno(): node for node, (connection, _) in self._flying.items()}
        for number in nodes:
            poll.register(number, select.POLLIN)
        ready = poll.poll(wait_s * 1000) if nodes else []
        if nodes and wait_s and not ready:
            for node in nodes.values():
                self._land(node).close()
            raise Passing("no answer")
        for number, _ in ready:
            fault = self._take(nodes[number]) or fault
        if fault:
            raise fault

    def _waiting(self) -> list[WirePart]:
        return [wire for wire, lane in self._lanes.items() if lane.waiting and not lane.flying]

    def _send(self) -> Passing | None:
        """One request to each broker with none in flight that leads a partition with a batch waiting.

        A broker that asked for a pause gets none.
        """
        waiting = self._waiting()
        by_node: dict[int, list[WirePart]] = defaultdict(list)
        fault: Passing | None = None
        try:
            leaders = self._brokers.leaders(waiting)
        except Passing as error:
            return error
        for wire in waiting:
            if wire in leaders:
                by_node[leaders[wire]].append(wire)
            else:
                fault = Passing(f"{wire[0]}/{wire[1]} has no leader")
        for node, parts in by_node.items():
            if node not in self._flying and not self._brokers.quiet_s(node):
                try:
                    self._fly(node, parts)
                except Passing as error:
                    fault = error
                    self._forget(parts)
        return fault

    def _fly(self, node: int, parts: list[WirePart]) -> None:
        """Send the oldest batch of each of ``parts``, as many as fit into a request."""
        connection = self._brokers.borrow(node)
        contents: dict[str, list[tuple[int, memoryview]]] = defaultdict(list)
        taken, size = list[WirePart](), 0
        for wire in parts:
            content = self._lanes[wire].waiting[0].content
            if taken and size + len(content) > _REQUEST_BYTES:
                break
            size += len(content)
            contents[wire[0]].append((wire[1], content))
            taken.append(wire)
        timeout_ms = int(self._brokers.silent_s * 1000)
        try:
            connection.send(ProduceRequest(None, _ALL_REPLICAS, timeout_ms, list(contents.items())))
        except Passing:
            connection.close()
            raise
        self._flying[node] = connection, taken
        for wire in taken:
            self._lanes[wire].flying = True

    def _take(self, node: int) -> Passing | None:
        """Take a broker's answer; returns the temporary fault in it, if any."""
        parts = self._flying[node][1]
        connection = self._land(node)
        try:
            answer = connection.answer()
        except Passing as error:
            connection.close()
            self._forget(parts)
            return error
        self._brokers.give_back(node, connection)
        self._brokers.rest(node, answer.throttle_time_ms)
        fault = None
        for topic, partitions in answer.topics:
            for partition, code, offset, *_ in partitions:
                try:
                    self._settle((topic, partition), code, offset)
                except Passing as error:
                    fault = error
                    self._forget([(topic, partition)])
        return fault

    def _land(self, node: int) -> Connection:
        """The connection to ``node``, its request withdrawn: the batches in that wait again."""
        connection, parts = self._flying.pop(node)
        for wire in parts:
            self._lanes[wire].flying = False
        return connection

    def _forget(self, parts: Iterable[WirePart]) -> None:
        for wire in parts:
            self._brokers.forget(wire)

    def _settle(self, wire: WirePart, code: int, offset: int) -> None:
        """Handle the broker's answer for the oldest batch of a partition."""
        lane = self._lanes[wire]
        if code in _FORGOTTEN:
            raise Retry(
                f"the log of {wire[0]}/{wire[1]} no longer knows this writer",
                value=errors.for_code(code).__name__,
                remedy="repeat the whole operation: earlier writes may be lost",
            )
        if code != _DUPLICATE:
            demand(code, f"writing to {wire[0]}/{wire[1]}")
        batch = lane.waiting.popleft()
        lane.last = (offset if offset >= 0 else lane.last + 1) + batch.records - 1
        lane.size -= len(batch.content)
