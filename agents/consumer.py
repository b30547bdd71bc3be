"""Faust's consumer, fixed where it loses messages between a fetch and a channel.

aiokafka moves a partition's position when a fetch is taken out of its buffer. Faust then throws messages away
if the flow is suspended or the partition is paused, and relies on the seek to the committed offsets that ends
each recovery. Three cases break that, silently and until somebody restarts the process:

1. Faust does not seek a partition without a committed offset. Here it goes back to the start of its log.
2. A fetch in flight while the last partition is paused takes everything that is assigned, because an empty
   set means "any" there. Here it means none.
3. A worker without partitions is not stopped for a rebalance, so its fetch may take the first messages of
   new partitions before their state is there. Here the flow always stops, and no message of an input
   leaves the buffer before the seek.

Faust reads uncommitted records and takes a log's end for the end of its records. Here an aborted transaction
is never delivered, an end is the last stable offset, and a recovery ends at the last record of a changelog.

Passing messages to the channels is cheaper too: Faust creates two asyncio tasks per message, to be able to
stop between any two of them. Delivery to a channel does not wait here, so it is enough to check before each
message whether the flow is suspended.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

import aiokafka
from aiokafka.errors import IllegalStateError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer, Transport
from faust.types import TP, ServiceT

from tapedeck.agents.credentials import follow_password
from tapedeck.agents.gaps import last_record_end
from tapedeck.agents.patience import patiently
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.streams.merge import Part

log = logging.getLogger("tapedeck.consumer")

_BREATHE_EVERY = 200
_ISOLATION = "read_committed"
_WITHHELD_S = 5.0

A = TypeVar("A")
T = TypeVar("T")


class Wanted:
    """The partitions that a fetch may take, at the time of the request; never false, unlike an empty set."""

    def __init__(self, consumer: "TapeConsumer", active: set[TP]) -> None:
        self._consumer, self._active = consumer, active

    def __contains__(self, tp: TP) -> bool:
        return tp in self._active and self._consumer.is_sought(tp)


class CommittedThread(AIOKafkaConsumerThread):
    """A consumer thread that reads only committed records."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        return self._told(super()._create_worker_consumer(transport))

    def _create_client_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        return self._told(super()._create_client_consumer(transport))

    def _told(self, consumer: aiokafka.AIOKafkaConsumer) -> aiokafka.AIOKafkaConsumer:
        """Configure the consumer before it starts: Faust has no settings for these."""
        security = cast(Clustered, self.app).cluster.security
        consumer._isolation_level = _ISOLATION
        consumer._client_rack = security.rack or None
        follow_password(consumer._client, security)
        return consumer

    def highwater(self, tp: TP) -> int:
        """The end of what can be read, as of the last fetch; 0 before it."""
        return self.known_end(tp) or 0

    def known_end(self, tp: TP) -> int | None:
        """The same, and None before the first fetch."""
        end: int | None = self._ensure_consumer().last_stable_offset(tp)
        return end

    def withheld(self, tp: TP) -> bool:
        """Whether an open transaction withholds records at the end of the log."""
        end = self._ensure_consumer().highwater(tp) or 0
        return bool(end > self.highwater(tp))

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's guess whether a stream is stuck. It is left to ``liveness``, which looks into the log.

        It treats as stuck what no stream reads: a changelog after its recovery, a held-back input.
        """

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Where the logs begin; waits for a broker that is unavailable."""
        return {tp: first for tp, (first, _) in (await self._asked(_stable, partitions)).items()}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset after the last record of each changelog. Faust waits for it; control records never come.

        Waits for a broker that is unavailable, and for what an open transaction withholds.
        """
        # the log's ends first: records appended meanwhile are in the stable ends, and nobody withholds them
        ends = await self._asked(_log_ends, partitions)
        stable = await self._asked(_stable, partitions)
        while missing := [(tp, end) for tp, (_, end) in stable.items() if ends[tp] > end]:
            log.error(
                "an open transaction withholds the end of %s; the table is recovered when it ends",
                ", ".join(f"{tp.topic}/{tp.partition} from offset {end} on" for tp, end in missing),
            )
            await asyncio.sleep(_WITHHELD_S)
            stable = await self._asked(_stable, partitions)
        return await self._asked(_behind_records, stable)

    async def _asked(self, question: Callable[[Cluster, A], T], about: A) -> T:
        cluster = cast(Clustered, self.app).cluster
        return await patiently("the recovery", lambda: asyncio.to_thread(question, cluster, about))


def _log_ends(cluster: Cluster, partitions: Iterable[TP]) -> dict[TP, int]:
    """The ends of logs, including what open transactions withhold."""
    return _of_each(cluster, partitions, lambda source, names: source.log_ends(names))


def _stable(cluster: Cluster, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
    """The first offset and the end of what can be read."""
    return _of_each(cluster, partitions, lambda source, names: source.ends(names))


def _of_each(
    cluster: Cluster, partitions: Iterable[TP], ask: Callable[[KafkaSource, set[str]], Mapping[Part, T]]
) -> dict[TP, T]:
    at = _parts(cluster, partitions)
    with KafkaSource(cluster) as source:
        found = ask(source, {name for name, _ in at.values()})
    return {tp: found[part] for tp, part in at.items()}


def _behind_records(cluster: Cluster, spans: Mapping[TP, tuple[int, int]]) -> dict[TP, int]:
    at = _parts(cluster, spans)
    with KafkaSource(cluster) as source:
        return {tp: last_record_end(source, at[tp], *span) for tp, span in spans.items()}


def _parts(cluster: Cluster, partitions: Iterable[TP]) -> dict[TP, Part]:
    return {tp: (cluster.layout.catalogue_name(tp.topic), tp.partition) for tp in partitions}


class Clustered(Protocol):
    """An app that tells which cluster it runs on."""

    cluster: Cluster


class TapeConsumer(Consumer):
    """The aiokafka consumer, without the losses.

    ``starts``: the offset at which each input partition begins in this generation, once it was sought.
    """

    _thread: CommittedThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.starts: dict[TP, int] = {}
        self._handed: dict[TP, int] = {}
        self._passed: dict[TP, int] = {}

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    def withheld(self, tp: TP) -> bool:
        """Whether an open transaction withholds records at the end of the log of ``tp``."""
        try:
            return self._thread.withheld(tp)
        except AssertionError:  # aiokafka's sign that the partition is not assigned
            return False

    def end_of(self, tp: TP) -> int:
        """The end of what can be read of ``tp``, as far as known; 0 if it now has another owner."""
        try:
            return self.highwater(tp) or 0
        except AssertionError:
            return 0

    def known_end(self, tp: TP) -> int | None:
        """The same, and None where nothing is known of it."""
        try:
            return self._thread.known_end(tp)
        except AssertionError:
            return None

    def pass_to(self, tp: TP, offset: int) -> None:
        """No record is left between what was delivered of ``tp`` and ``offset``: commit it in the end."""
        self._passed[tp] = offset

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Faust's filter, plus passed offsets after the last record, once all records before are acked."""
        found: dict[TP, int] = super()._filter_committable_offsets(tps)
        for tp, end in self._passed.items():
            reached = found.get(tp, self._committed_offset[tp]) or 0
            if end > reached > self._handed.get(tp, -1):
                found[tp] = end
        return found

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the flow until the recovery that follows, whether or not anything was assigned."""
        self.stop_flow()
        self.app.flow_control.suspend()
        for each in (self.starts, self._handed, self._passed):
            each.clear()
        await super().on_partitions_revoked(revoked)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every input partition to its committed offset, or to the start of its log."""
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

        A rebalance meanwhile, or a broker that is unavailable, makes this void: both are followed by a seek.
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
        """Pass on what one fetch brought; stop if a rebalance suspends the flow."""
        handed = 0
        async for tp, message in self.getmany(timeout=1.0):
            if self.suspend_flow.is_set():
                return
            offset, last = message.offset, self._read_offset[tp]
            if last is not None and offset < last:
                continue
            # before any wait: a seek meanwhile is newer, and what is below this offset must come again
            self._read_offset[tp] = self._handed[tp] = offset
            if last and offset - last > 1 and self.app.topics.acks_enabled_for(message.topic):
                # up to this message, which is not acked: Faust includes it, and so commits past it
                await self._add_gap(tp, last + 1, offset - 1)
            await self.callback(message)
            handed += 1
            if handed % _BREATHE_EVERY == 0:
                await asyncio.sleep(0)


class TapeProducer(Producer):
    """Faust's producer, which receives a password that was replaced."""

    def _new_producer(self, *args: Any, **kwargs: Any) -> aiokafka.AIOKafkaProducer:
        made = super()._new_producer(*args, **kwargs)
        follow_password(made.client, cast(Clustered, self.app).cluster.security)
        return made


def use_in(transport: Any) -> Transport:
    """``transport`` with this consumer and producer."""
    assert isinstance(transport, Transport)
    transport.Consumer = TapeConsumer  # type: ignore[misc]
    transport.Producer = TapeProducer  # type: ignore[misc]
    return transport
