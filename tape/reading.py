"""Reading one topic without a group: its newest records, then those that arrive."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import CatalogueMismatch, Retry

TIMEOUT_S = 10.0
_FIRST_LOOK = 64
_FURTHER = 16
_ELECTING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_ELECTION_S = 0.1


class Record(NamedTuple):
    """One log record. ``time_ms`` is Kafka's timestamp, UTC milliseconds."""

    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class TopicReader:
    """A short-lived consumer of one topic by its name on the cluster.

    Raises CatalogueMismatch where the cluster does not have it, KafkaException where no broker answers.
    """

    def __init__(self, bootstrap: str, wire_name: str) -> None:
        self._name = wire_name
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                # librdkafka wants a name; with assigned partitions and no commit no group comes to be.
                "group.id": "tape-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                "log_level": 2,
            }
        )
        try:
            self._ends = self._find_ends(bootstrap)
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    @property
    def partitions(self) -> int:
        return len(self._ends)

    def _find_ends(self, bootstrap: str) -> dict[int, tuple[int, int]]:
        metadata = self._consumer.list_topics(self._name, timeout=TIMEOUT_S).topics[self._name]
        if metadata.error is not None:
            raise CatalogueMismatch(
                f"the topic is not on the cluster {bootstrap}",
                value=self._name,
                remedy="create it with `tape topics --create`, or check --prefix",
            )
        return {partition: self._end(partition) for partition in metadata.partitions}

    def _end(self, partition: int) -> tuple[int, int]:
        """First and next offset of one partition; a leader that is being elected is waited for."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                answer = self._consumer.get_watermark_offsets(
                    TopicPartition(self._name, partition), timeout=TIMEOUT_S
                )
            except KafkaException as error:
                if error.args[0].code() not in _ELECTING or time.monotonic() > deadline:
                    raise
                time.sleep(_ELECTION_S)
                continue
            if answer is None:
                raise Retry("the broker did not tell the topic's end", value=self._name)
            return answer

    def newest(self, count: int, keep: Callable[[Record], bool], only: int | None = None) -> list[Record]:
        """The newest ``count`` records that ``keep`` wants, oldest first, up to the end seen at the start.

        ``only`` limits the search to one partition.
        """
        ends = {p: ends for p, ends in self._ends.items() if only in (None, p)}
        look = count + _FIRST_LOOK
        while count:
            starts = {p: max(low, high - look) for p, (low, high) in ends.items()}
            found = [record for record in self._span(starts) if keep(record)]
            per_partition = Counter(record.partition for record in found)
            # A partition is done when nothing older in it could be among the newest.
            if all(starts[p] == low or per_partition[p] >= count for p, (low, _) in ends.items()):
                return sorted(found, key=_when)[-count:]
            look *= _FURTHER
        return []

    def arriving(self) -> Iterator[Record]:
        """Records from the end seen at the start on, as they arrive, for ever."""
        self._assign({p: high for p, (_, high) in self._ends.items()})
        while True:
            record = _record(self._consumer.poll(1.0))
            if isinstance(record, Record):
                yield record

    def _span(self, starts: dict[int, int]) -> Iterator[Record]:
        """Everything from ``starts`` up to the ends seen first."""
        waiting = {p for p, start in starts.items() if start < self._ends[p][1]}
        self._assign({p: starts[p] for p in waiting})
        while waiting:
            found = _record(self._consumer.poll(TIMEOUT_S))
            if found is None:
                raise Retry("the broker stopped answering", value=self._name, remedy="see `tape status`")
            if isinstance(found, int):
                waiting.discard(found)
                continue
            end = self._ends[found.partition][1]
            if found.offset < end:
                yield found
            if found.offset >= end - 1:
                waiting.discard(found.partition)

    def _assign(self, starts: dict[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._name, p, offset) for p, offset in starts.items()])


def _record(message: Message | None) -> Record | int | None:
    """A record, the partition whose end was reached, or None where nothing came."""
    if message is None:
        return None
    partition, offset, error = message.partition(), message.offset(), message.error()
    assert partition is not None
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:
            return partition
        raise KafkaException(error)
    assert offset is not None
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Record(
        partition,
        offset,
        message.timestamp()[1],
        _raw(message.key()),
        _raw(message.value()),
        [(name, _raw(content) or b"") for name, content in pairs],
    )


def _raw(content: bytes | str | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _when(record: Record) -> tuple[int, int, int]:
    return record.time_ms, record.partition, record.offset


def unreachable(bootstrap: str, error: KafkaException) -> Retry:
    """What librdkafka raised, as a fault of the broker at ``bootstrap``."""
    reason = error.args[0].str() if error.args else "unknown"
    remedy = "check the address and that the broker runs (`tape status`)"
    return Retry(f"the broker did not answer: {reason}", value=bootstrap, remedy=remedy)
