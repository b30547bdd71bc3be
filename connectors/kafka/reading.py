"""Reading whole partitions without a consumer group: for rebuild, digests and looking."""

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.contract import Message
from tapedeck.streams.merge import Part
from tapedeck.topics.catalogue import Layout

_CHUNK = 10_000
_POLL_S = 1.0
_SILENT_POLLS = 15
_LED_S = 10.0
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def to_message(record: KafkaMessage, layout: Layout) -> Message:
    """A confluent-kafka message as the shell takes it."""
    name, partition, offset = record.topic(), record.partition(), record.offset()
    assert name is not None and partition is not None and offset is not None
    given = record.headers() or []
    pairs = given.items() if isinstance(given, dict) else given
    headers = tuple((key, content) for key, content in pairs if isinstance(content, bytes))
    stamp = record.timestamp()[1]
    return Message(
        layout.catalogue_name(name), partition, offset, stamp, record.key(), record.value(), headers
    )


def new_consumer(cluster: Cluster, **settings: object) -> Consumer:
    """A consumer that belongs to no group's work: nothing is committed. Close it soon."""
    return Consumer(
        cluster.librdkafka(
            "reader",
            **{
                "group.id": "tapedeck-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                **settings,
            },
        )
    )


def ends(consumer: Consumer, layout: Layout, names: tuple[str, ...]) -> dict[Part, tuple[int, int]]:
    """(first, end) offset of every partition of ``names``. Raises Fatal for a topic that is not there."""
    found: dict[Part, tuple[int, int]] = {}
    for name in names:
        for partition in range(layout.partitions(name)):
            wire = TopicPartition(layout.wire_name(name), partition)
            try:
                found[name, partition] = _ends_of(consumer, wire)
            except KafkaException as error:
                remedy = "create the topics with `tape topics --create`, or check the prefix"
                why = error.args[0].str()
                raise Fatal(f"topic {wire.topic} cannot be read: {why}", remedy=remedy) from None
    return found


def _ends_of(consumer: Consumer, wire: TopicPartition) -> tuple[int, int]:
    """A partition made a moment ago, or whose broker was fenced, may have no leader yet: ask until it has."""
    until = time.monotonic() + _LED_S
    while True:
        try:
            return consumer.get_watermark_offsets(wire, timeout=_LED_S)
        except KafkaException as error:
            code = error.args[0].code()
            waits = code in _NO_LEADER_YET or (
                code == KafkaError._UNKNOWN_PARTITION and _exists(consumer, wire)
            )
            if not waits or time.monotonic() > until:
                raise
        time.sleep(0.05)


def _exists(consumer: Consumer, wire: TopicPartition) -> bool:
    """Whether the cluster has the topic: librdkafka calls a partition without a leader unknown, too."""
    found = consumer.list_topics(wire.topic, timeout=_LED_S).topics.get(wire.topic)
    return found is not None and found.error is None and wire.partition in found.partitions


def read_parts(cluster: Cluster, parts: dict[Part, tuple[int, int]]) -> Iterator[list[Message]]:
    """Chunks of messages of ``parts``, each partition from its first offset to its end, then stop.

    Raises Retry where the broker goes silent before the ends are reached.
    """
    waiting = {part: end for part, (low, end) in parts.items() if end > low}
    if not waiting:
        return
    consumer = new_consumer(cluster, **{"queued.max.messages.kbytes": 65_536})
    try:
        consumer.assign([TopicPartition(cluster.layout.wire_name(n), p, parts[n, p][0]) for n, p in waiting])
        silent, left = 0, sum(end - parts[part][0] for part, end in waiting.items())
        while waiting:
            # Asking for no more than what is left returns at once when it is there.
            records = consumer.consume(min(_CHUNK, max(1, left)), timeout=_POLL_S)
            left -= len(records)
            chunk: list[Message] = []
            for record in records:
                if record.error() is not None:
                    continue
                message = to_message(record, cluster.layout)
                part = (message.topic, message.partition)
                if message.offset < parts[part][1]:
                    chunk.append(message)
                if part in waiting and message.offset >= waiting[part] - 1:
                    del waiting[part]
            silent = 0 if records else silent + 1
            if silent > _SILENT_POLLS:
                raise Retry(
                    "the broker went silent while topics were read",
                    value=", ".join(f"{n}/{p}" for n, p in waiting),
                    remedy="check that it runs (`tape status`)",
                )
            yield chunk
    finally:
        consumer.close()


def read_topic(cluster: Cluster, name: str) -> list[Message]:
    """Every message of one topic, per partition in log order."""
    consumer = new_consumer(cluster)
    try:
        parts = ends(consumer, cluster.layout, (name,))
    finally:
        consumer.close()
    return [message for chunk in read_parts(cluster, parts) for message in chunk]
