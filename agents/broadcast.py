"""A broadcast join: a topic of one partition beside a trigger of several. Every task reads all of it.

A consumer group would give the partition to one of its members, and keep one offset for all tasks. So no
group reads it. One consumer in the process passes every record to each task, starting from that task's own
table. Nothing is committed. A record that a task gets again is a repeat by its cursors.

A task that holds too much gets nothing until it has room. Its records are then read again from the log, so
the other tasks are not held up.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage

from tapedeck.agents.gaps import is_contiguous
from tapedeck.agents.patience import RETRY_S
from tapedeck.connectors.kafka.bulk.source import KafkaSource, Look
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import new_consumer, to_message
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import readable_label

if TYPE_CHECKING:
    from tapedeck.agents.runner import StageRunner

log = logging.getLogger("tapedeck.broadcast")

POLL_S = 0.2
IDLE_S = 0.2
_NOWHERE = -1
_CHUNK = 1000
_QUEUED_KB = 4096
"""How much librdkafka may fetch ahead; a task without room holds no more than that."""
_BACK = 64
_WIDER = 8
_REFUSED = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)

T = TypeVar("T")


class Log(Protocol):
    """The cluster calls needed to find a position in a log."""

    def ends(self, names: tuple[str, ...]) -> Mapping[Part, tuple[int, int]]: ...

    def look(self, part: Part, start: int, end: int) -> Look: ...

    def offset_at(self, part: Part, time_us: int) -> int: ...


def start_of(source: Log, part: Part, label: int | None) -> int:
    """An offset from which a task misses nothing if it has applied watermark(``label``) of ``part``, or none.

    What it has applied ends with the first watermark at or above the label. A watermark's time is its
    minute's end or later, so that watermark is not before the first record of that time. The last watermark
    before that record is of an earlier minute, and the start is right after it. If there is none, or if
    compaction may have removed watermarks, the start is that of the log. Raises like ``source``.
    """
    low, end = source.ends((part[0],))[part]
    if label is None or not is_contiguous(part[0]):
        return low
    before = _last_watermark(source, part, low, min(end, source.offset_at(part, label + MINUTE_US)))
    if before is None or (readable_label(before) or 0) >= label:
        return low
    return before.offset + 1


def _last_watermark(source: Log, part: Part, low: int, end: int) -> Message | None:
    """The last readable watermark in the offsets [low, end)."""
    size = _BACK
    while end > low:
        start = max(low, end - size)
        for message in reversed(source.look(part, start, end).messages):
            if readable_label(message) is not None:
                return message
        end, size = start, _WIDER * size
    return None


class JoinLog:
    """The log of one partition, for one thread. ``ended``: everything readable was read."""

    def __init__(self, cluster: Cluster, part: Part) -> None:
        self._cluster, self._part = cluster, part
        self._source = KafkaSource(cluster)
        self._consumer: Consumer | None = None
        self._at = TopicPartition(cluster.layout.wire_name(part[0]), part[1])
        self.ended = False

    def start_of(self, label: int | None) -> int:
        """``start_of`` in this log. Raises Retry if the broker is silent."""
        return start_of(self._source, self._part, label)

    def read(self, start: int | None) -> list[Message]:
        """The next records, from ``start`` on if it is given; empty if nothing came within POLL_S.

        Raises Fatal if the topic is gone or may not be read.
        """
        if self._consumer is None:
            told = {"enable.partition.eof": True, "queued.max.messages.kbytes": _QUEUED_KB}
            self._consumer = new_consumer(self._cluster, **told)
        if start is not None:
            self._consumer.assign([TopicPartition(self._at.topic, self._at.partition, start)])
            self.ended = False
        first = self._consumer.poll(POLL_S)  # consume() alone would wait for a full batch
        records = [] if first is None else [first, *self._consumer.consume(_CHUNK, timeout=0)]
        return [to_message(each, self._cluster.layout) for each in records if self._is_record(each)]

    def _is_record(self, record: KafkaMessage) -> bool:
        error = record.error()
        self.ended = error is not None and error.code() == KafkaError._PARTITION_EOF
        if error is None:
            return True
        if error.fatal() or error.code() in _REFUSED:
            what = f"topic {self._at.topic} cannot be read: {error.str()}"
            raise Fatal(
                what, remedy="`tape topics` shows what differs, `tape topics --acls` which rights are needed"
            )
        if not self.ended:
            log.warning("%s/%d: the consumer reports: %s", *self._part, error.str())
        return False

    def high(self) -> int:
        """The log's end as of the last fetch, including what open transactions withhold; 0 before that."""
        found = self._consumer and self._consumer.get_watermark_offsets(self._at, cached=True)
        return max(0, found[1]) if found else 0

    def close(self) -> None:
        """Close the consumer; the next read creates another."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


class Broadcast:
    """Passes the contents of ``part`` to the tasks of one runner, each in log order from its own position."""

    def __init__(self, runner: "StageRunner", part: Part, source: JoinLog) -> None:
        self._runner, self._part, self._source = runner, part, source
        self._thread = ThreadPoolExecutor(1, "broadcast-join")  # a source belongs to one thread
        self._life = object()
        self._unplaced: dict[int, int | None] = {}
        self._next: dict[int, int] = {}
        self._full: set[int] = set()
        self._at = _NOWHERE
        """The consumer's next offset; nowhere if the next read must say where to start."""
        self._reached = 0
        self._told = 0

    def open(self, home: int, label: int | None) -> None:
        """Also read for the task ``home``, which has applied watermark(``label``) of this join, or none."""
        self._unplaced[home] = label

    def forget(self) -> None:
        """Forget the tasks: those of the next generation start from their tables."""
        self._life = object()
        self._unplaced.clear()
        self._next.clear()
        self._full.clear()
        self._at = _NOWHERE

    async def run(self) -> None:
        """Run forever; a record that cannot be read ends the process."""
        while True:
            try:
                busy = await self._turn()
            except Retry as error:
                log.error("%s waits: %s", self._runner.spec.name, error)
                await asyncio.sleep(RETRY_S)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self._runner.fail(error)
            else:
                if not busy:
                    await asyncio.sleep(IDLE_S)

    async def _turn(self) -> bool:
        """Read once and pass the records on; False if no task wants anything."""
        if self._runner.lacks_tasks():
            self._runner.wake()  # a table that is behind the end of this join has work without an event
        life = self._life
        while self._unplaced:
            home, label = next(iter(self._unplaced.items()))
            start = await self._in_thread(partial(self._source.start_of, label))
            if life is not self._life:
                return True
            del self._unplaced[home]
            self._next[home] = start
            log.info("%s/%d reads %s/%d from offset %d on", self._runner.spec.name, home, *self._part, start)
        self._note_room()
        places = [at for home, at in self._next.items() if home not in self._full]
        if not places or not self._runner.is_current():
            if not self._next:
                await self._in_thread(self._source.close)
            return False
        due = min(places)
        since = None if due == self._at else due
        self._at = _NOWHERE
        messages = await self._in_thread(partial(self._source.read, since))
        if life is self._life:
            await self._hand_over(messages, due, life)
        return True

    async def _hand_over(self, messages: list[Message], at: int, life: object) -> None:
        for message in messages:
            for each in await self._guarded(message, at):
                if life is not self._life or not self._runner.is_current():
                    return
                self._hand(each)
            at = message.offset + 1
        self._at = self._reached = at
        if messages:
            self._runner.wake()

    def _hand(self, message: Message) -> None:
        for home, at in self._next.items():
            if at <= message.offset and home not in self._full:
                task = self._runner.tasks[home]
                task.merge.put(message)
                self._next[home] = message.offset + 1
                if task.is_full(self._part):
                    self._full.add(home)

    def _note_room(self) -> None:
        self._full = {home for home in self._full if not self._runner.tasks[home].has_room(self._part)}

    async def _guarded(self, message: Message, at: int) -> list[Message]:
        """The message, after what a jump in the offsets from ``at`` on skipped; a hole is recorded once."""
        if message.offset <= at or not is_contiguous(message.topic):
            return [message]
        found, holes = await self._runner.between(self._part, at, message.offset)
        new = [hole for hole in holes if hole.end > self._told]
        self._told = max((self._told, *(hole.end for hole in new)))
        await self._runner.record(self._part, new)
        return [*found, message]

    def lag(self) -> int:
        """Offsets between what the slowest task has applied and the readable end, as far as known."""
        held = {home: self._runner.tasks[home].merge.held(self._part) for home in self._next}
        return max((held[home] + self._unread(at) for home, at in self._next.items()), default=0)

    def _unread(self, at: int) -> int:
        return 0 if self._source.ended and at >= self._reached else max(0, self._source.high() - at)

    def withheld(self) -> bool:
        """Whether an open transaction withholds the end of the log."""
        return self._source.ended and self._source.high() > self._reached

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)


class Broadcasts(dict[Part, Broadcast]):
    """The broadcast joins ``names`` of one runner."""

    def __init__(self, runner: "StageRunner", cluster: Cluster, names: Iterable[str]) -> None:
        parts = [(name, 0) for name in names]
        super().__init__((part, Broadcast(runner, part, JoinLog(cluster, part))) for part in parts)

    def open(self, home: int, labels: Mapping[Part, int]) -> None:
        """Also read for the task ``home``, whose table is at ``labels``."""
        for part, each in self.items():
            each.open(home, labels.get(part))

    def forget(self) -> None:
        """Forget the tasks: those of the next generation start from their tables."""
        for each in self.values():
            each.forget()

    def lag(self) -> int:
        """Offsets that the slowest task of each join has not applied, as far as known."""
        return sum(each.lag() for each in self.values())
