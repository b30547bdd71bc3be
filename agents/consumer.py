"""Faust's consumer, with a cheaper hand-over of fetched messages to the channels.

Faust makes two asyncio tasks per message, to be able to stop between any two of them. Delivery to a
channel does not wait here, so it is enough to look whether the flow is suspended before each message.
"""

import asyncio
from typing import Any

from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import ServiceT

_BREATHE_EVERY = 200


class TapeConsumer(Consumer):
    """The aiokafka consumer with its own drain loop; everything else is Faust's."""

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await asyncio.sleep(0)
                await self._drain_once()
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise

    async def _drain_once(self) -> None:
        """Hand over what one fetch brought; stop where a rebalance suspends the flow."""
        handed = 0
        async for tp, message in self.getmany(timeout=1.0):
            if self.suspend_flow.is_set():
                return
            offset, last = message.offset, self._read_offset[tp]
            if last is not None and offset < last:
                continue
            if last and offset - last > 1 and self.app.topics.acks_enabled_for(message.topic):
                await self._add_gap(tp, last + 1, offset)
            await self.callback(message)
            self._read_offset[tp] = offset
            handed += 1
            if handed % _BREATHE_EVERY == 0:
                await asyncio.sleep(0)


def use_in(transport: Any) -> Transport:
    """``transport`` with this consumer."""
    assert isinstance(transport, Transport)
    transport.Consumer = TapeConsumer  # type: ignore[misc]
    return transport
