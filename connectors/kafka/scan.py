"""Reading topics without a consumer group: everything there now, or a consumer that follows."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, cast

from confluent_kafka import Consumer
from confluent_kafka import Message as KafkaMessage

from tapedeck.connectors.kafka.clients import consumer_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

if TYPE_CHECKING:
    from tapedeck.connectors.kafka.bulk.source import KafkaSource

GROUP = "tapedeck-reader"
"""The group that a reader names, and commits nothing in: librdkafka requires one."""
_CHUNK = 1000
"""Messages per chunk: larger chunks give the garbage collector more to walk through."""


def to_message(record: KafkaMessage, layout: Layout) -> Message:
    """A confluent-kafka message in the shell's form."""
    name, partition, offset = record.topic(), record.partition(), record.offset()
    assert name is not None and partition is not None and offset is not None
    headers = cast(list[tuple[str, bytes | None]], record.headers() or [])
    stamp = record.timestamp()[1]
    return Message(
        layout.catalogue_name(name), partition, offset, stamp, record.key(), record.value(), tuple(headers)
    )


def new_consumer(cluster: Cluster, **settings: object) -> Consumer:
    """A consumer outside the pipeline's groups: it commits nothing. Close it soon."""
    wanted = {
        "group.id": GROUP,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
    }
    return consumer_client(cluster, "reader", **{**wanted, **settings})


def ends_of(cluster: Cluster, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
    """(first, end) offset of every partition of ``names``: records after the end may still be withdrawn.

    Raises Fatal for a topic that does not exist or has another partition count, Retry if the broker is
    silent.
    """
    with _source(cluster) as source:
        return source.ends(names)


def read_parts(cluster: Cluster, parts: dict[Part, tuple[int, int]]) -> Iterator[list[Message]]:
    """Chunks of the committed messages of ``parts``, each partition from its first offset to its end.

    One partition after the other, in log order. An end need not follow a record. Raises Fatal for an offset
    that is not kept, Retry if the broker is silent or the log ends earlier.
    """
    with _source(cluster) as source:
        for part, span in parts.items():
            yield from _chunks(source, part, *span)


def read_since(cluster: Cluster, part: Part, time_us: int) -> Iterator[list[Message]]:
    """Chunks of the committed messages of one partition, from the first with this time or a later one.

    The broker's index says which is the first. Raises like ``read_parts``.
    """
    with _source(cluster) as source:
        end = source.ends([part[0]])[part][1]
        yield from _chunks(source, part, min(end, source.offset_at(part, time_us)), end)


def _chunks(source: "KafkaSource", part: Part, start: int, end: int) -> Iterator[list[Message]]:
    for block in source.stream(part, start, end):
        messages = block.messages()
        while chunk := list(islice(messages, _CHUNK)):
            yield chunk


def read_topic(cluster: Cluster, name: str) -> list[Message]:
    """Every message of one topic, per partition in log order."""
    return [message for chunk in read_parts(cluster, ends_of(cluster, (name,))) for message in chunk]


def _source(cluster: Cluster) -> "KafkaSource":
    """Imported here because its kernels load for half a second, and followers of a topic do not need it."""
    from tapedeck.connectors.kafka.bulk.source import KafkaSource  # noqa: PLC0415 - see above

    return KafkaSource(cluster)
