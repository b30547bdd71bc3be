"""Batches of the outbox: the delivery goes on whoever stops waiting."""

import asyncio
import threading
from queue import Empty, Queue
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from tapedeck.connectors.kafka import outbox
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Batch, Outbox
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout


class Delivered:
    """What librdkafka hands to a delivery callback."""

    def topic(self) -> str:
        return "bars"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 7


MESSAGE = cast(Message, Delivered())


def test_a_batch_is_done_when_every_record_is_acknowledged() -> None:
    batch = Batch()
    batch.expect()
    batch.settle()
    assert not batch.done.done()
    batch.delivered(None, MESSAGE)
    assert batch.done.result(0) is None
    assert batch.offsets == {("bars", 1): 7}


def test_a_refused_record_fails_the_batch_with_topic_and_reason() -> None:
    batch = Batch()
    batch.expect()
    batch.settle()
    batch.delivered(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), MESSAGE)
    with pytest.raises(Retry, match=r"bars/1.*too large"):
        batch.done.result(0)


def test_a_waiter_that_is_cancelled_leaves_the_delivery_to_go_on() -> None:
    batch = Batch()
    batch.expect()
    batch.settle()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(batch.done), 0.01)

    asyncio.run(give_up())
    batch.delivered(None, MESSAGE)  # raised in the delivery thread and ended it
    assert batch.done.done()


class BrokenProducer:
    """librdkafka after a fatal error: ``poll`` raises it once, then reports what was held as purged."""

    def __init__(self, error: KafkaError) -> None:
        self._error = error
        self._reports: Queue[Any] = Queue()
        self.raised = threading.Event()

    def poll(self, seconds: float) -> None:
        try:
            report = self._reports.get(timeout=seconds)
        except Empty:
            return
        if not self.raised.is_set():
            self.raised.set()
            self._reports.put(report)
            raise KafkaException(self._error)
        report(KafkaError(KafkaError._PURGE_QUEUE), MESSAGE)

    def produce(self, on_delivery: Any, **_: object) -> None:
        if self.raised.is_set():
            raise KafkaException(KafkaError(KafkaError._FATAL))
        self._reports.put(on_delivery)

    def flush(self, timeout_s: float) -> int:
        return 0


DENIED = "does not allow this process to write; got "


@pytest.mark.parametrize(
    ("code", "first", "later"),
    [
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, f"{DENIED}'bars/1'", f"{DENIED}'p.bars/1'"),
        (
            KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
            "cannot continue: .*restart this process",
            "cannot continue",
        ),
    ],
)
def test_a_fatal_error_of_the_producer_fails_its_batches_and_the_delivery_goes_on(
    monkeypatch: pytest.MonkeyPatch, code: int, first: str, later: str
) -> None:
    producer = BrokenProducer(KafkaError(code))
    monkeypatch.setattr(outbox, "producer_client", lambda *_, **__: producer)
    box = Outbox(Cluster("127.0.0.1:1", Layout("p")), "test", timeout_s=5)
    wire = Wire("bars", 1, b"K", b"v", 0, [])
    with pytest.raises(Fatal, match=first):
        box.write([wire])
    assert producer.raised.is_set()
    with pytest.raises(Fatal, match=later):
        box.write([wire])
    assert box._thread.is_alive(), "the delivery thread ended"
    box.close()


def test_a_record_that_was_purged_is_not_tried_again() -> None:
    batch = Batch()
    batch.expect()
    batch.settle()
    batch.delivered(KafkaError(KafkaError._PURGE_QUEUE), MESSAGE)
    with pytest.raises(Fatal, match="cannot continue"):
        batch.done.result(0)
