"""Batches of the outbox: the delivery goes on whoever stops waiting."""

import asyncio
from typing import cast

import pytest
from confluent_kafka import KafkaError, Message

from tapedeck.connectors.kafka.outbox import Batch
from tapedeck.schemas.errors import Retry


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
