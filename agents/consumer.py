"""Faust's consumer, where it loses messages between a fetch and a channel.

aiokafka moves a partition's position when a fetch is taken out of its buffer. Faust then throws messages
away where the flow is suspended or the partition is paused, and relies on the seek to the committed offsets
that ends each recovery. Three things break that, each of them silently and for as long as nobody restarts:

1. A partition without a committed offset is not sought. Here it goes back to where the log starts.
2. A fetch under way while the last partition is paused takes everything that is assigned, since an empty
   set means "any" there. Here it means none.
3. A worker without partitions is not stopped for a rebalance, so its fetch may take the first messages of
   new partitions before their state is there. Here the flow always stops, and no message of an input
   leaves the buffer before the seek.

The hand-over to the channels is cheaper too: Faust makes two asyncio tasks per message, to be able to stop
between any two of them. Delivery to a channel does not wait here, so it is enough to look whether the flow
is suspended before each message.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, ServiceT

_BREATHE_EVERY = 200


class Wanted:
    """The partitions that a fetch may take, at the moment of asking; never false, unlike an empty set."""

    def __init__(self, consumer: "TapeConsumer", active: set[TP]) -> None:
        self._consumer, self._active = consumer, active

    def __contains__(self, tp: TP) -> bool:
        return tp in self._active and self._consumer.is_sought(tp)


class TapeConsumer(Consumer):
    """The aiokafka consumer that loses nothing.

    ``starts``: the offset at which each input partition begins in this generation, once it was sought.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.starts: dict[TP, int] = {}

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """The flow stops until the recovery that follows, whether or not anything was assigned."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self.starts.clear()
        await super().on_partitions_revoked(revoked)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Every input partition to its committed offset, or to the start of its log."""
        committed: Mapping[TP, int] = await super().seek_to_committed()
        inputs = {tp: offset for tp, offset in committed.items() if not self._is_changelog_tp(tp)}
        unknown = [tp for tp, offset in inputs.items() if not offset]
        if unknown:
            first = await self._thread.earliest_offsets(*unknown)
            await self._thread.seek_wait(first)
            inputs |= first
        self.starts = inputs
        return committed

    def is_sought(self, tp: TP) -> bool:
        """Whether messages of ``tp`` may be taken: an input's only after its seek."""
        return tp in self.starts or self._is_changelog_tp(tp)

    async def go_back(self, tp: TP, offset: int) -> None:
        """Fetch ``tp`` from ``offset`` on, whatever was fetched or withheld of it.

        A rebalance meanwhile, or a broker that is away, makes this void: a seek of their own follows.
        """
        self.on_buffer_drop(tp)
        with suppress(IllegalStateError, asyncio.TimeoutError):
            await self._thread.seek_wait({tp: offset})

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        wanted: Any = None if active_partitions is None else Wanted(self, active_partitions)
        return await super()._getmany(wanted, timeout)

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
            # before any wait: a seek meanwhile is newer, and what lies below this offset must come again
            self._read_offset[tp] = offset
            if last and offset - last > 1 and self.app.topics.acks_enabled_for(message.topic):
                await self._add_gap(tp, last + 1, offset)
            await self.callback(message)
            handed += 1
            if handed % _BREATHE_EVERY == 0:
                await asyncio.sleep(0)


def use_in(transport: Any) -> Transport:
    """``transport`` with this consumer."""
    assert isinstance(transport, Transport)
    transport.Consumer = TapeConsumer  # type: ignore[misc]
    return transport
