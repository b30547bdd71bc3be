"""The sink: from Kafka's topics to their audit tables.

The commit protocol, in order, one transaction per batch:

1. read up to 5,000 records or 200 ms, starting from the offsets in Postgres, never from Kafka's;
2. COPY the rows, insert those whose event_id is new;
3. send what cannot be stored to ``dead_letters`` and wait for the acknowledgement;
4. move the offsets, only if they are where this process left them;
5. commit.

A crash anywhere before 5 leaves only repeated dead letters, which have the same identity. A lost connection
ends the session; the next one starts from the offsets in Postgres.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as WireMessage

from tapedeck.connectors import dead_letters
from tapedeck.connectors.beats import about, beat, touch
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.kafka.acls import copying, demand_rights
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import refuse_other
from tapedeck.connectors.kafka.outbox import Batch, Outbox
from tapedeck.connectors.kafka.scan import to_message
from tapedeck.connectors.kafka.transactions import open_transactions
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import require_head
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP, Offsets
from tapedeck.connectors.postgres.resuming import claim, made_anew, resume
from tapedeck.connectors.postgres.sink_input import (
    bounds,
    check_topics,
    is_punctuation,
    open_consumer,
    topic_ids,
)
from tapedeck.connectors.postgres.store import Bad, Store, Written
from tapedeck.schemas.errors import DeadLetter, Fatal, Retry
from tapedeck.streams import metrics
from tapedeck.streams.merge import Part
from tapedeck.streams.metrics import Sample
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import label_of
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import CATALOGUE, Layout

BATCH_RECORDS = 5_000
BATCH_S = 0.2
HEARTBEAT_S = 5.0
CHECK_TOPICS_S = 30.0
CHECK_ANSWER_S = 2.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

log = logging.getLogger(__name__)


@dataclass
class SinkStats:
    """What a sink has done since its start. read = inserted + repeats + dead_letters + watermarks."""

    read: int = 0
    inserted: int = 0
    repeats: int = 0
    conflicts: int = 0
    """Red alarm: repeats whose body differs from the stored one."""
    dead_letters: int = 0
    watermarks: int = 0
    batches: int = 0
    retries: int = 0

    def as_counts(self) -> dict[str, int]:
        """The counts in a stage's heartbeat: in, out and the reasons in between."""
        reasons = {
            "DUPLICATE": self.repeats,
            "BODY_CONFLICT": self.conflicts,
            "DEAD_LETTER": self.dead_letters,
            "WATERMARK": self.watermarks,
            "RETRY": self.retries,
        }
        return {"IN": self.read, "OUT:rows": self.inserted} | {k: n for k, n in reasons.items() if n}


@dataclass(frozen=True, kw_only=True)
class SinkSettings:
    """What one sink process reads and where it writes."""

    cluster: Cluster
    url: str = field(repr=False)
    group: str = DEFAULT_GROUP
    topics: tuple[str, ...] = field(default_factory=lambda: tuple(topic.name for topic in CATALOGUE.audited))

    @property
    def layout(self) -> Layout:
        return self.cluster.layout


class Sink:
    """One process of one group. ``run`` returns when ``stop`` is set and the current batch is committed."""

    def __init__(self, settings: SinkSettings, outbox: Outbox, clock: Clock, origin: Origin) -> None:
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        self._origin = origin
        self._maps = maps(settings.topics)
        self._labels: dict[Part, int] = {}
        self._open: dict[tuple[str, int, int], bool] = {}
        """Transactions open at the last check, by topic, partition and offset, and whether reported."""
        self._lag: int | None = None
        self._stored_all = time.monotonic()
        self._pause_s = FIRST_PAUSE_S
        self._beat: Batch | None = None
        self.stats = SinkStats()
        self.connected = False
        """Whether Postgres and Kafka have answered, and the session lasts."""

    def run(self, stop: threading.Event, started: Callable[[], None] | None = None) -> None:
        """Follow the topics until ``stop``; ``started`` is called once both sides have answered.

        Raises Fatal for what a person must fix: missing topics, an old schema, a second sink.
        """
        while not stop.is_set():
            try:
                with self._session() as session:
                    if started is not None:
                        started()
                        started = None
                    self._follow(session, stop)
            except Retry as error:
                touch()
                self.stats.retries += 1
                log.warning("the sink pauses for %.1f s: %s", self._pause_s, error)
                stop.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.beat()

    @contextmanager
    def _session(self) -> Iterator["_Session"]:
        """A connection and a consumer that start where Postgres says. A lost one becomes Retry."""
        settings = self._settings
        consumer = open_consumer(settings.cluster, settings.group)
        try:
            demand_rights(settings.cluster, copying(settings.topics))
            cluster_id = check_topics(consumer, settings.layout, settings.topics)
            refuse_other(settings.cluster, cluster_id)
            with connect(settings.url, settings.layout.prefix) as connection:
                require_head(connection)
                claim(connection, cluster_id)
                ids = topic_ids(settings.cluster, settings.topics)
                offsets = Offsets(connection, settings.group, cluster_id, ids)
                self._assign(consumer, offsets)
                self.connected = True
                yield _Session(consumer, connection, Store(connection, ids), offsets)
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
            raise Retry(
                f"Postgres is not available: {str(error).strip()}",
                remedy="the sink continues when it is back",
            ) from error
        except psycopg.Error as error:
            raise Fatal(f"Postgres refused a statement of the sink: {str(error).strip()}") from error
        except KafkaException as error:
            raise Retry(
                f"Kafka is not available: {error.args[0].str()}", remedy="the sink continues when it is back"
            ) from error
        finally:
            self.connected = False
            consumer.close()

    def _assign(self, consumer: Consumer, offsets: Offsets) -> None:
        layout = self._settings.layout
        spans = bounds(self._settings.cluster, self._settings.topics)
        resume(offsets, spans)
        skip = {place: start for place, (start, _) in spans.items() if offsets.next[place] < start}
        lost = [self._retention_gap(place, offsets.next[place], start) for place, start in skip.items()]
        if skip:
            self._send_dead(lost)
            with offsets.connection.transaction():
                offsets.move(skip)
            offsets.moved(skip)
        consumer.assign([TopicPartition(layout.wire_name(n), p, offsets.next[n, p]) for n, p in spans])
        if any(end for _, end in spans.values()):
            log.info("%s stores %d topics", self._settings.group, len(self._settings.topics))
        else:
            log.info("%s waits: none of its %d partitions holds a record", self._settings.group, len(spans))

    def _retention_gap(self, place: Part, at: int, start: int) -> Bad:
        log.error(
            "retention deleted %s/%d from offset %d to %d before the sink read it", *place, at, start - 1
        )
        gap = DeadLetter(
            f"retention took offsets {at} to {start - 1} before the sink read them",
            value=place[0],
            remedy="run the sink within the topic's retention",
            reason="RETENTION",
        )
        return Bad(Message(place[0], place[1], at, self._clock.now() // 1000, None, None, ()), gap)

    def _follow(self, session: "_Session", stop: threading.Event) -> None:
        beat_at = 0.0
        check_at = time.monotonic() + CHECK_TOPICS_S
        while not stop.is_set():
            touch()
            wires = session.consumer.consume(BATCH_RECORDS, BATCH_S)
            if wires:
                self._store(session, wires)
                self._pause_s = FIRST_PAUSE_S
            now = time.monotonic()
            if now >= beat_at:
                self._measure(session)
                self.beat()
                beat_at = now + HEARTBEAT_S
            if now >= check_at:
                self._check_topics(session)
                check_at = now + CHECK_TOPICS_S

    def _check_topics(self, session: "_Session") -> None:
        """Fail if there are unread new partitions or the topic is another log; a silent broker is no reason
        to stop."""
        settings = self._settings
        try:
            check_topics(session.consumer, settings.layout, settings.topics, timeout_s=CHECK_ANSWER_S)
            ids = topic_ids(settings.cluster, settings.topics, timeout_s=CHECK_ANSWER_S)
            self._look_for_open_transactions()
        except Retry as error:
            log.warning("the topics could not be checked: %s", error)
            return
        for name, found in ids.items():
            if found != session.offsets.ids[name]:
                raise made_anew(name, session.offsets.ids[name], found, settings.group)

    def _look_for_open_transactions(self) -> None:
        """Report, once, a transaction open at two checks in a row: nothing after it is read until it ends."""
        now = {}
        for each in open_transactions(self._settings.cluster, self._settings.topics):
            place = each.topic, each.partition, each.first
            if self._open.get(place) is False:
                log.warning("%s", each)
            now[place] = place in self._open
        self._open = now

    def _store(self, session: "_Session", wires: Sequence[WireMessage]) -> None:
        """One batch: steps 2 to 5 of the protocol."""
        ends: dict[Part, int] = {}
        events: dict[str, list[Message]] = defaultdict(list)
        written, marks = Written(), 0
        for wire in wires:
            if (trouble := wire.error()) is not None:
                if trouble.code() == KafkaError._PARTITION_EOF:
                    self._note_end(session, wire, ends)
                else:
                    _raise_for(trouble)
                continue
            message = to_message(wire, self._settings.layout)
            place = message.topic, message.partition
            ends[place] = message.offset + 1
            session.at_end.discard(place)
            if is_punctuation(message.key, message.value):
                marks += 1
                self._note_label(message)
            else:
                events[message.topic].append(message)
        if not ends:
            return
        with session.connection.transaction():
            for name, messages in events.items():
                session.store.write(self._maps[name], messages, written)
            self._send_dead(written.bad)
            session.offsets.move(ends)
        session.offsets.moved(ends)
        self._count(marks + sum(map(len, events.values())), marks, written)

    def _note_end(self, session: "_Session", wire: WireMessage, ends: dict[Part, int]) -> None:
        """Record that a partition is read to here. Aborted records and markers before it are not stored."""
        name, partition, at = wire.topic(), wire.partition(), wire.offset()
        assert name is not None and partition is not None and at is not None
        place = self._settings.layout.catalogue_name(name), partition
        session.at_end.add(place)
        if at > ends.get(place, session.offsets.next[place]):
            ends[place] = at

    def _note_label(self, message: Message) -> None:
        try:
            label = label_of(message.key, message.value, message.headers)
        except DeadLetter:
            return  # the stage that reads this topic reports it; the sink treats it like any watermark
        if label is not None:
            self._labels[message.topic, message.partition] = label

    def _send_dead(self, bad: Sequence[Bad]) -> None:
        """Write bad records to ``dead_letters`` and wait. Those already in it stay where they are."""
        wires = [
            dead_letters.dead_letter(self._settings.layout, message, self._settings.group, error)
            for message, error in bad
            if message.topic != dead_letters.TOPIC
        ]
        for message, error in bad:
            at = f"{message.topic}/{message.partition}@{message.offset}"
            log.error("dead letter %s: %s", at, dead_letters.brief(error))
        if wires:
            self._outbox.write(wires)

    def _count(self, read: int, marks: int, written: Written) -> None:
        stats = self.stats
        stats.read += read
        stats.watermarks += marks
        stats.inserted += written.inserted
        stats.repeats += written.repeats
        stats.conflicts += written.conflicts
        stats.dead_letters += len(written.bad) - 2 * written.conflicts
        stats.batches += 1
        if written.conflicts:
            log.error(
                "RED ALARM: %d event_ids were written again with another body: %s; both are in dead_letters",
                written.conflicts, dead_letters.CONFLICT_CAUSES,
            )  # fmt: skip

    def _measure(self, session: "_Session") -> None:
        layout, total = self._settings.layout, 0
        for (name, partition), at in session.offsets.next.items():
            if (name, partition) in session.at_end:
                continue
            _, end = session.consumer.get_watermark_offsets(
                TopicPartition(layout.wire_name(name), partition), cached=True
            )
            total += max(0, end - at)
        self._lag = total
        if not total:
            self._stored_all = time.monotonic()

    def samples(self) -> Iterator[Sample]:
        """The sink's metrics beside its heartbeats'. Its delay is measured every ``HEARTBEAT_S``."""
        group, stats = self._settings.group, self.stats
        behind = 0.0 if self._lag == 0 and self.connected else time.monotonic() - self._stored_all
        yield Sample(metrics.SINK_DELAY, behind)
        yield Sample(metrics.REPEATS, stats.repeats, (group,))

    def lacks(self) -> str:
        """What the sink is not connected to, in words; empty where to nothing."""
        return "" if self.connected else "is not connected to both Kafka and Postgres"

    def beat(self) -> None:
        """Send a heartbeat without waiting: a broker that is unavailable must not block the sink."""
        if self._beat is not None and not self._beat.done.done():
            log.warning(
                "the broker at %s has not acknowledged since the last heartbeat: the sink waits for it",
                self._settings.cluster.bootstrap,
            )
            return
        wire = beat(
            self._settings.group,
            self._clock.now(),
            marked=min(self._labels.values(), default=None),
            lag=self._lag,
            records=self.stats.read,
            counts=self.stats.as_counts(),
            about=about(self._origin.code_version, self._origin.config_digest),
            ready=self.connected,
        )
        self._beat = self._outbox.send((wire._replace(headers=self._origin.static()),))


@dataclass(frozen=True)
class _Session:
    consumer: Consumer
    connection: "psycopg.Connection[tuple[object, ...]]"
    store: Store
    offsets: Offsets
    at_end: set[Part] = field(default_factory=set)
    """Partitions at the last end that the consumer reported. Kafka's own end may come after markers."""


def _raise_for(error: KafkaError) -> None:
    """Act on a consumer's error record: ignore it, start a new session, or end."""
    if (
        error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)
        or error.fatal()
    ):
        raise Fatal(
            f"Kafka refuses reads: {error.str()}", remedy="run `tape topics` and check the access rules"
        )
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise Retry(f"the log has changed: {error.str()}")
    log.warning("the consumer reports: %s", error.str())
