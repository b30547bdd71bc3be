"""A broker that answers by a script, for the bulk reader and writer."""

import socket
import struct
import threading
import time
from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from aiokafka.protocol.admin import ApiVersionResponse_v0, DescribeConfigsResponse_v2
from aiokafka.protocol.fetch import FetchResponse_v11
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.protocol.offset import OffsetResponse_v3
from aiokafka.protocol.produce import ProduceResponse_v7
from aiokafka.protocol.transaction import InitProducerIdResponse_v0

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.records import contiguous, seal
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.security import Security
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

LAYOUT = Layout("p", symbol_partitions=1)
PART = ("bars", 0)
SILENT_S = 0.6

PRODUCE, FETCH, OFFSETS, METADATA, VERSIONS, PRODUCER, CONFIGS = 0, 1, 2, 3, 18, 22, 32
SCHEMAS = {
    PRODUCE: ProduceResponse_v7.SCHEMA,
    FETCH: FetchResponse_v11.SCHEMA,
    OFFSETS: OffsetResponse_v3.SCHEMA,
    METADATA: MetadataResponse_v5.SCHEMA,
    VERSIONS: ApiVersionResponse_v0.SCHEMA,
    PRODUCER: InitProducerIdResponse_v0.SCHEMA,
    CONFIGS: DescribeConfigsResponse_v2.SCHEMA,
}
SPOKEN = {PRODUCE: 7, FETCH: 11, OFFSETS: 3, METADATA: 5, VERSIONS: 0, PRODUCER: 0, CONFIGS: 2}

NO_LEADER, NOT_LEADER, TOO_FEW_REPLICAS, DUPLICATE, UNKNOWN_PRODUCER, TOO_LARGE, CORRUPT = (
    5,
    6,
    19,
    46,
    59,
    10,
    2,
)

UNKNOWN_TOPIC = 3


class Raw(NamedTuple):
    """Instead of an answer: these bytes."""

    content: bytes


class Break(NamedTuple):
    """Instead of an answer: its first ``part`` bytes, then the connection ends."""

    part: int = 0


SILENCE = object()
"""Instead of an answer: nothing, with the connection open."""


class Scripted:
    """A broker whose answers to each kind of request are listed; the last one is repeated."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.answers = defaultdict(list)
        self.asked, self.times = defaultdict(list), defaultdict(list)
        self.spoken, self.schemas = dict(SPOKEN), dict(SCHEMAS)
        self._open = []
        self.answers[VERSIONS] = [lambda: (0, [(key, 0, version) for key, version in self.spoken.items()])]
        self.answers[METADATA] = [self.metadata(leader=1)]
        self.answers[PRODUCER] = [(0, 0, 4711, 0)]
        self.answers[CONFIGS] = [
            (0, [(0, None, 2, "p.bars", [("max.message.bytes", "1048588", False, 5, False, [])])])
        ]
        threading.Thread(target=self._accept, daemon=True).start()

    def metadata(self, leader=1, code=0, others=()):
        """``others``: brokers beside this one, which is node 1: the second is node 2."""
        parts = [(0 if leader >= 0 else NO_LEADER, 0, leader, [1], [1], [])]
        nodes = enumerate((self, *others), start=1)
        return (
            0,
            [(node, "127.0.0.1", each.port, None) for node, each in nodes],
            "c",
            1,
            [(code, "p.bars", False, [] if code else parts)],
        )

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve_until_gone, args=(connection,), daemon=True).start()

    def _serve_until_gone(self, connection):
        with suppress(OSError):
            self._serve(connection)

    def _serve(self, connection):
        stream = connection.makefile("rb")
        while len(head := stream.read(4)) == 4:
            request = stream.read(struct.unpack(">i", head)[0])
            key, _, correlation = struct.unpack_from(">hhi", request)
            self.asked[key].append(request)
            self.times[key].append(time.monotonic())
            script = self.answers[key]
            answer = script.pop(0) if len(script) > 1 else script[0]
            if answer is SILENCE:
                continue
            if isinstance(answer, Raw):
                connection.sendall(answer.content)
                continue
            if callable(answer):
                answer = answer()
            if isinstance(answer, Break):
                connection.sendall(struct.pack(">ii", 100, correlation)[: answer.part])
                connection.shutdown(socket.SHUT_RDWR)
                return
            body = struct.pack(">i", correlation) + self.schemas[key].encode(answer)
            connection.sendall(struct.pack(">i", len(body)) + body)

    def close(self):
        self._server.close()
        for connection in self._open:
            connection.close()


def messages(count, base=0):
    return [Message(*PART, base + n, 1000 + n, b"k", b"v%d" % n, ()) for n in range(count)]


def batch(base, count=3):
    filling, out = np.array([K.HEADER, 0, 0, 0], dtype=np.int64), np.empty(10_000, dtype=np.uint8)
    block = Block.of(messages(count))
    assert K.fill(*contiguous(block), 0, out, len(out), filling) == count  # type: ignore[call-arg]
    return struct.pack(">q", base) + bytes(seal(out, filling, (-1, -1), -1))[8:]


def fetched(records=b"", code=0, end=6, throttle=0, nearer=-1):
    return (throttle, 0, 1, [("p.bars", [(0, code, end, end, 0, None, nearer, records)])])


def offsets(offset, code=0):
    return (0, [("p.bars", [(0, code, -1, offset)])])


def produced(offset, code=0):
    return ([("p.bars", [(0, code, offset, -1, 0)])], 0)


def read(broker, start=0, end=6, rack=""):
    source = KafkaSource(Cluster(broker.bootstrap, LAYOUT, security=Security(rack=rack)), SILENT_S)
    return [m.offset for block in source.stream(PART, start, end) for m in block.messages()]


def written(broker, count=3):
    """The result of ``flush``, then the batches that the broker received."""
    writer = BulkWriter(Cluster(broker.bootstrap, LAYOUT), SILENT_S)
    writer.write(Block.of(messages(count)))
    return writer.flush(), [request[-200:] for request in broker.asked[PRODUCE]]
