"""An idempotent librdkafka producer whose batches can be awaited until the broker has them all.

Every record goes to an explicit partition. A delivery thread serves the callbacks, and one wait ends a
batch. Nothing is ever reported as written before its acknowledgement.

A record never expires while the broker is away. The log's records from one producer are therefore always a
prefix of what it was given, so a watermark is never there without the records before it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from tapedeck.connectors.kafka.clients import producer_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.wire import Wire

log = logging.getLogger("tapedeck.outbox")

LINGER_MS = 1.0
"""How long a record waits for others: a minute of a market is sent in fewer requests."""
SAY_S = 5.0
QUIET_S = 10.0
_MAX_IN_QUEUE = 100_000
_FULL_WAIT_S = 0.05
_DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_PURGED = (KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
"""librdkafka's codes for records that it still held when a fatal error ended its producer."""
_COMPRESSION = {"compression.type": "zstd", "compression.level": 1}
"""A session takes a third of the disk; higher levels and lz4 cost more CPU time than they save disk."""


class Batch:
    """Counts the acknowledgements of one batch. ``offsets`` holds the highest acked offset per partition.

    ``broken`` is the error after which the producer writes nothing any more, if there was one.
    """

    def __init__(self, broken: Callable[[], KafkaError | None] = lambda: None) -> None:
        self._broken = broken
        self._lock = threading.Lock()
        self._waiting = 1
        self._error: Retry | Fatal | None = None
        self.offsets: dict[tuple[str, int], int] = {}
        self.done: Future[None] = Future()
        self.done.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel the delivery

    def expect(self) -> None:
        """One more record is in flight."""
        with self._lock:
            self._waiting += 1

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """librdkafka's delivery callback."""
        if error is None:
            name, partition, offset = message.topic(), message.partition(), message.offset()
            assert name is not None and partition is not None and offset is not None
            self.offsets[name, partition] = max(offset, self.offsets.get((name, partition), -1))
        else:
            where = f"{message.topic()}/{message.partition()}"
            broken = self._broken()
            self._error = _refused(error, where) if broken is None else _ended(broken, where)
        self.settle()

    def settle(self) -> None:
        """One expected record has its answer; called once more when the batch is closed."""
        with self._lock:
            self._waiting -= 1
            finished = self._waiting == 0
        if finished:
            if self._error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(self._error)


def _refused(error: KafkaError, where: str) -> Retry | Fatal:
    """Repeating does not restore a right that was taken away, and a broken producer stays broken."""
    if error.code() in _DENIED or error.fatal() or error.code() in _PURGED:
        return _ended(error, where)
    remedy = "check the broker; the batch will be repeated"
    return Retry("the broker refused a record", value=f"{where}: {error.str()}", remedy=remedy)


def _ended(error: KafkaError, where: str) -> Fatal:
    """The error once nothing can be written any more."""
    if error.code() in _DENIED:
        remedy = "grant this login Write on the topic (`tape topics --acls` lists all), then start again"
        return Fatal("the cluster does not allow this process to write", value=where, remedy=remedy)
    remedy = "restart this process: it repeats the writes that were not acknowledged"
    return Fatal(f"the producer cannot continue: {error.str()}", value=where, remedy=remedy)


class Outbox:
    """A producer of log records. ``role`` names it to the broker; ``timeout_s`` limits the blocking waits."""

    def __init__(
        self,
        cluster: Cluster,
        role: str,
        *,
        linger_ms: float = LINGER_MS,
        timeout_s: float = 30.0,
    ) -> None:
        self._layout = cluster.layout
        self._timeout_s = timeout_s
        self._bootstrap = cluster.bootstrap
        self._away = False
        self._quiet_until = 0.0
        settings = {
            "enable.idempotence": True,
            "linger.ms": linger_ms,
            "message.timeout.ms": 0,
            **_COMPRESSION,
            "queue.buffering.max.messages": _MAX_IN_QUEUE,
            "socket.nagle.disable": True,
            "error_cb": self._on_error,
        }
        self._broken: KafkaError | None = None
        self._producer = producer_client(cluster, role, **settings)
        self._open = True
        self._thread = threading.Thread(target=self._serve, name=f"{role}-delivery", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._open:
            self._poll(0.1)

    def _poll(self, seconds: float) -> None:
        """Serve callbacks. librdkafka raises a fatal error here, once, then reports all it held."""
        try:
            self._producer.poll(seconds)
        except KafkaException as error:
            self._broken = error.args[0]
            log.error("the producer at %s cannot continue: %s", self._bootstrap, self._broken.str())

    def send(self, wires: Iterable[Wire]) -> Batch:
        """Pass records to librdkafka; the batch's ``done`` resolves when all are acknowledged.

        ``done`` fails with Retry if the broker refused one, with Fatal if nothing can be written any more.
        Raises Fatal for a record that can never be sent.
        """
        batch = Batch(lambda: self._broken)
        for wire in wires:
            batch.expect()
            self._produce(wire, batch)
        batch.settle()
        return batch

    def _produce(self, wire: Wire, batch: Batch) -> None:
        arguments: dict[str, Any] = {
            "topic": self._layout.wire_name(wire.topic),
            "partition": wire.partition,
            "key": wire.key,
            "value": wire.value,
            "timestamp": wire.timestamp,
            "headers": wire.headers,
            "on_delivery": batch.delivered,
        }
        while True:
            try:
                self._producer.produce(**arguments)
                return
            except BufferError:
                self._poll(_FULL_WAIT_S)
            except KafkaException as error:
                broken = self._broken or error.args[0]
                if broken is self._broken or broken.code() == KafkaError._FATAL:
                    raise _ended(broken, f"{arguments['topic']}/{wire.partition}") from error
                raise Fatal(
                    f"a record for {arguments['topic']} cannot be sent: {error}", value=wire.key
                ) from error

    def write(self, wires: Iterable[Wire]) -> Batch:
        """Send and wait. Raises Retry if not everything is acknowledged in time."""
        batch = self.send(wires)
        self.wait(batch)
        return batch

    def wait(self, batch: Batch) -> None:
        """Return when ``batch`` is acknowledged. Raises Retry if it is refused or late."""
        try:
            batch.done.result(self._timeout_s + 5)
        except TimeoutError:
            raise self._late() from None

    async def write_async(self, wires: Iterable[Wire]) -> Batch:
        """Send and await, without blocking the loop. Waits for a broker that is away, and logs that.

        Raises Retry if the broker refused a record, Fatal if this login may not write it.
        """
        batch = self.send(wires)
        saying = asyncio.get_running_loop().call_later(SAY_S, self._say_away)
        try:
            await asyncio.wrap_future(batch.done)
        finally:
            saying.cancel()
        if self._away:
            self._away = False
            log.warning("the broker at %s acknowledges again", self._bootstrap)
        return batch

    def _say_away(self) -> None:
        if not self._away:
            self._away = True
            log.warning(
                "the broker at %s has not acknowledged for %.0f s; waiting for it, nothing is lost",
                self._bootstrap, SAY_S,
            )  # fmt: skip

    def _on_error(self, error: KafkaError) -> None:
        """librdkafka reports connections here many times a second, and keeps trying by itself."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            log.warning("the broker at %s: %s", self._bootstrap, error.str())

    def _late(self) -> Retry:
        return Retry(
            f"the broker did not acknowledge within {self._timeout_s:.0f} s",
            value=self._bootstrap,
            remedy="check that it runs, then run this again: finished work is not repeated",
        )

    def abandon(self) -> None:
        """Stop at once: anything not acknowledged yet is dropped, written or not."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._open = False
        self._thread.join(timeout=1)

    def close(self) -> None:
        """Wait for records in flight and stop the delivery thread."""
        with suppress(KafkaException):  # the error that ended the producer: its batches have failed with it
            self._producer.flush(self._timeout_s)
        self._open = False
        self._thread.join(timeout=1)
