"""Fetches of one partition: requests to a broker, and its answers."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from aiokafka.protocol.fetch import FetchRequest

from tapedeck.connectors.kafka.bulk.brokers import Brokers, WirePart
from tapedeck.connectors.kafka.bulk.offsets import READ_COMMITTED, ends_of
from tapedeck.connectors.kafka.connection import Connection, Passing, demand
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Bytes

FETCH_BYTES = 4 << 20
"""The size of one fetch: a stream holds one answer, and the next one waits in the socket."""

_WAIT_MS = 500
_OUT_OF_RANGE = 1
LATEST, EARLIEST = -1, -2
_I16, _I32 = struct.Struct(">h"), struct.Struct(">i")
_FETCHED_PART = struct.Struct(">iihqq")
"""An answer for one partition: partitions, partition, error code, high watermark, last stable offset."""
_ABORTED = np.dtype([("producer", ">i8"), ("first", ">i8")])


class Fetched(NamedTuple):
    """One answer. ``end``: the last stable offset, -1 if the broker did not say; ``high``: the log's end.

    ``aborted``: (producer id, first offset) of the aborted transactions among the records. ``nearer``: the
    node whose replica to ask, in the reader's own rack (KIP-392); -1 if it is this one.
    """

    code: int
    high: int
    end: int
    throttle_ms: int
    records: Bytes
    aborted: Sequence[tuple[int, int]] = ()
    nearer: int = -1


def fetched(frame: Bytes, version: int) -> Fetched:
    """The answer to a fetch of one partition, of version 4 to 11, from its correlation id on."""
    data, at, code = frame.data, 4, 0
    (throttle_ms,) = _I32.unpack_from(data, at)
    at += 4
    if version >= 7:
        (code,) = _I16.unpack_from(data, at)
        at += 2 + 4  # the id of a session
    if _I32.unpack_from(data, at)[0] != 1:  # no topic: the code says why
        return Fetched(code, -1, -1, throttle_ms, frame[:0])
    at += 4
    at += 2 + _I16.unpack_from(data, at)[0]  # its name
    _, _, part_code, high, end = _FETCHED_PART.unpack_from(data, at)
    at += _FETCHED_PART.size + (8 if version >= 5 else 0)  # the offset where the log begins
    (count,) = _I32.unpack_from(data, at)
    at += 4
    aborted = np.frombuffer(data, _ABORTED, max(count, 0), at).tolist()
    at += 16 * len(aborted)
    nearer = -1
    if version >= 11:
        (nearer,) = _I32.unpack_from(data, at)
        at += 4
    (size,) = _I32.unpack_from(data, at)
    at += 4
    return Fetched(code or part_code, high, end, throttle_ms, frame[at : at + max(size, 0)], aborted, nearer)


def _short(found: Fetched, end: int) -> Passing:
    """Why an answer without records does not mean that the requested end is reached."""
    if found.high > found.end >= 0:
        what = f"an open transaction withholds offsets {found.end} to {found.high - 1}, before offset {end}"
        return Passing(
            what, "wait until its producer ends it, or end it with Kafka's kafka-transactions tool"
        )
    return Passing(f"the log ends at offset {found.end}, before offset {end}")


class Stream:
    """The fetches of one partition: the next one is requested ahead while the caller computes."""

    def __init__(self, brokers: Brokers, part: WirePart) -> None:
        self._brokers, self._part = brokers, part
        self._node = self._nearer = -1
        self._connection: Connection | None = None
        self._asked = False
        self._version = 0

    def ask(self, position: int) -> None:
        """Request the records from ``position`` on; ``take`` returns the answer."""
        if self._brokers.quiet_s(self._node):
            return  # ``take`` waits, then asks
        try:
            self._ask(position)
        except Passing:
            self._drop()  # ``take`` asks again

    def _ask(self, position: int) -> None:
        if self._connection is None:
            self._node = self._nearer if self._nearer >= 0 else self._brokers.leader(self._part)
            self._connection = self._brokers.borrow(self._node)
        topic, partition = self._part
        fetch = [(topic, [(partition, position, FETCH_BYTES)])]
        rack = self._brokers.rack
        sent = self._connection.send(FetchRequest(_WAIT_MS, 1, FETCH_BYTES, READ_COMMITTED, fetch, rack))
        self._asked, self._version = True, sent.API_VERSION

    def take(self, position: int, end: int) -> Fetched:
        """The batches from ``position`` on; none if the log has no record from there to ``end``."""
        patience = self._brokers.patience(f"{self._part[0]}/{self._part[1]} was read at offset {position}")
        while True:
            try:
                if not self._asked:
                    self._brokers.wait([self._node])
                    self._ask(position)
                found = self._receive()
                if self._moves(found):
                    continue
                if found.code == _OUT_OF_RANGE:
                    self._drop()
                    raise self._out_of_range(position)
                demand(found.code, f"reading {self._part[0]}/{self._part[1]} at offset {position}")
                if len(found.records) or (found.end >= end and not found.throttle_ms):
                    return found
                if found.throttle_ms:  # it answers, so it is not silent
                    patience.reset()
                    continue
                fault = _short(found, end)
            except Passing as error:
                self._drop()
                self._nearer = -1
                self._brokers.forget(self._part)
                fault = error
            patience.bear(fault)

    def _moves(self, found: Fetched) -> bool:
        """Whether to ask another replica: the one in our rack, or the leader if that one cannot answer."""
        near = self._nearer >= 0
        if near and found.code:
            self._nearer = -1  # it lags behind the leader, or left the replicas
        elif not near and found.nearer not in (-1, self._node) and found.nearer in self._brokers.nodes():
            self._nearer = found.nearer
        else:
            return False
        self._drop()
        return True

    def _receive(self) -> Fetched:
        assert self._connection is not None
        frame = self._connection.receive()
        self._asked = False
        found = fetched(frame, self._version)
        self._brokers.rest(self._node, found.throttle_ms)
        return found

    def _out_of_range(self, position: int) -> Fatal:
        topic, partition = self._part
        low, high = ends_of(self._brokers, [self._part])[self._part]
        return Fatal(
            f"topic {topic} has no offset {position} in partition {partition}",
            value=position,
            remedy=f"offsets {low} to {high - 1} are kept: start at {low} or later"
            if high > low
            else f"the partition is empty and continues at offset {high}",
        )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._asked = None, False

    def close(self) -> None:
        """Give the connection back, or close it if an answer is still pending."""
        if self._connection is not None and not self._asked:
            self._brokers.give_back(self._node, self._connection)
            self._connection = None
        self._drop()
