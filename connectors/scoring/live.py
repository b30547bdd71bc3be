"""The scorer's log on a cluster: a consumer of its own group, assigned by hand, and a producer."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import patiently
from tapedeck.connectors.kafka.identity import describe_ids, refuse_changed
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import new_consumer, to_message
from tapedeck.connectors.scoring.loop import STAGE, End, Partition
from tapedeck.connectors.scoring.order import INPUTS, Position
from tapedeck.connectors.scoring.records import TOPIC
from tapedeck.schemas.errors import Retry
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire

log = logging.getLogger("tapedeck.scorer")

_ANSWER_S = 10.0
_CHUNK = 500
_NOTHING = "-"


class KafkaScoringLog:
    """The port of a ScoringLoop. ``still_ours`` raises if this process has lost the right to write.

    Raises Retry where the broker does not answer. Close it after use.
    """

    def __init__(
        self, cluster: Cluster, writer: KafkaLogWriter, still_ours: Callable[[], object] = lambda: None
    ) -> None:
        self.layout = cluster.layout
        self._cluster, self._writer, self._still_ours = cluster, writer, still_ours
        self._known = describe_ids(cluster, (*INPUTS, TOPIC))
        self._consumer: Consumer = new_consumer(cluster, **{"group.id": self.layout.group(STAGE)})
        self._at: dict[str, int] = {}
        self._paused: set[str] = set()
        self._commits = True

    def close(self) -> None:
        """End the consumer."""
        self._consumer.close()

    def refuse_changed(self) -> None:
        """Raise Fatal if an input or the output was recreated, Retry if the broker does not answer."""
        refuse_changed(self._cluster, self._known)

    @property
    def lag(self) -> int:
        """Offsets of the inputs that were not read yet, as far as the last fetches told."""
        behind = 0
        for name, at in self._at.items():
            _, high = self._consumer.get_watermark_offsets(self._part(name), cached=True)
            behind += max(0, high - at)
        return behind

    def committed(self) -> Mapping[str, Position | None]:
        with _answered():
            asked = [self._part(name) for name in INPUTS]
            told = patiently(lambda: self._consumer.committed(asked, timeout=_ANSWER_S))
        found: dict[str, Position | None] = {}
        for name, each in zip(INPUTS, told, strict=True):
            found[name] = self._position(name, each)
        return found

    def first(self, name: str) -> int:
        with _answered():
            first, _ = self._consumer.get_watermark_offsets(self._part(name), timeout=_ANSWER_S)
        return first

    def ends(self, back: Mapping[Partition, int]) -> Mapping[Partition, End]:
        wire = self.layout.wire_name(TOPIC)
        consumer = new_consumer(self._cluster, **{"enable.partition.eof": True})
        try:
            with _answered():
                whole, starts = {}, []
                for part, count in back.items():
                    low, high = consumer.get_watermark_offsets(TopicPartition(wire, part), timeout=_ANSWER_S)
                    whole[part] = high - count <= low
                    starts.append(TopicPartition(wire, part, max(low, high - count)))
                found = self._until_ends(consumer, starts)
        finally:
            consumer.close()
        return {part: End(messages, whole[part]) for part, messages in found.items()}

    def begin(self, offsets: Mapping[str, int]) -> None:
        self._at = dict(offsets)
        self._consumer.assign([self._part(name, at) for name, at in offsets.items()])

    def read(self, names: Sequence[str], timeout_s: float) -> Sequence[Message]:
        self._pause_others(names)
        first = self._consumer.poll(timeout_s)  # consume() would wait until it is full
        with _answered():
            records = [] if first is None else [first, *self._consumer.consume(_CHUNK, timeout=0)]
        found = [to_message(each, self.layout) for each in records if _is_message(each)]
        self._at |= {message.topic: message.offset + 1 for message in found}
        return found

    def write(self, wires: Sequence[Wire]) -> None:
        self._still_ours()
        self._writer.write(wires)
        self._writer.flush()

    def commit(self, positions: Mapping[str, Position]) -> None:
        """A commit that fails is made up for by the next one: the output knows what it has."""
        parts = []
        for name, each in positions.items():
            known = self._known[name]
            told = (known.topic_id.hex() if known else _NOTHING, each.label, each.marked)
            metadata = " ".join(_NOTHING if part is None else str(part) or _NOTHING for part in told)
            parts.append(TopicPartition(self.layout.wire_name(name), 0, each.offset, metadata))
        try:
            self._consumer.commit(offsets=parts, asynchronous=False)
            self._commits = True
        except KafkaException as error:
            if self._commits:
                log.warning("the progress was not committed, the next commit covers it: %s", error)
            self._commits = False

    def _part(self, name: str, offset: int = -1001) -> TopicPartition:
        return TopicPartition(self.layout.wire_name(name), 0, offset)

    def _position(self, name: str, told: TopicPartition) -> Position | None:
        """The position in a commit; None if there is none, or none of the topic as it is now."""
        words, known = (told.metadata or "").split(), self._known[name]
        if told.error is not None:
            raise Retry(f"the broker did not tell the scorer's progress: {told.error.str()}")
        if told.offset < 0 or known is None:
            return None
        if len(words) != 3:  # someone set the offset by hand
            return Position(told.offset)
        if words[0] != (known.topic_id.hex() or _NOTHING):
            log.warning("topic %s was recreated: it is read from its start", self.layout.wire_name(name))
            return None
        label, marked = (None if word == _NOTHING else int(word) for word in words[1:])
        return Position(told.offset, label, marked)

    def _pause_others(self, names: Sequence[str]) -> None:
        wanted = set(self._at) - set(names)
        for change, these in (
            (self._consumer.pause, wanted - self._paused),
            (self._consumer.resume, self._paused - wanted),
        ):
            if these:
                change([self._part(name) for name in sorted(these)])
        self._paused = wanted

    def _until_ends(
        self, consumer: Consumer, starts: Sequence[TopicPartition]
    ) -> dict[Partition, list[Message]]:
        found: dict[Partition, list[Message]] = {each.partition: [] for each in starts}
        left, until = set(found), time.monotonic() + 3 * _ANSWER_S
        consumer.assign(list(starts))
        while left:
            for record in consumer.consume(_CHUNK, timeout=0.02):
                error = record.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left.discard(record.partition() or 0)
                elif _is_message(record):
                    message = to_message(record, self.layout)
                    found[message.partition].append(message)
                    until = time.monotonic() + 3 * _ANSWER_S
            if time.monotonic() > until:
                raise Retry("the broker did not return what is written already", remedy="check that it runs")
        return found


def _is_message(record: KafkaMessage) -> bool:
    """Whether it is one; a passing error of a connection is not. Raises KafkaException for a refusal."""
    error = record.error()
    if error is not None and (error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED):
        raise KafkaException(error)
    return error is None


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise Retry(
            f"Kafka is not available: {error.args[0].str()}", remedy="the scorer continues when it is back"
        ) from error
