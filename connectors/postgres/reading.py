"""What the sink asks of Kafka: that the topics are as the catalogue says, their bounds, and their events."""

from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka import Consumer, KafkaException

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.reading import ends, new_consumer, read_parts
from tapedeck.schemas.errors import CatalogueMismatch, Fatal, Retry
from tapedeck.streams.contract import Message
from tapedeck.streams.merge import Part
from tapedeck.topics.catalogue import Layout

ANSWER_S = 10.0


def open_consumer(cluster: Cluster, name: str) -> Consumer:
    """A consumer for manual assignment that never resets an offset by itself. Give it a short life."""
    return new_consumer(
        cluster,
        **{
            "client.id": f"{cluster.client_id}-{name}",
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 65_536,
            # The audit may trail by a moment: fewer, larger fetches cost the broker far less.
            "fetch.min.bytes": 131_072,
            "fetch.wait.max.ms": 250,
        },
    )


def check_topics(
    consumer: Consumer, layout: Layout, names: Iterable[str], *, timeout_s: float = ANSWER_S
) -> str:
    """The cluster's id.

    Raises CatalogueMismatch for missing topics or other partition counts, Retry where the broker does not
    answer.
    """
    try:
        cluster = consumer.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise Retry(
            f"the broker does not answer: {error.args[0].str()}", remedy="check that it runs"
        ) from error
    wrong = []
    for name in names:
        wire, expected = layout.wire_name(name), layout.partitions(name)
        found = cluster.topics.get(wire)
        if found is None or found.error is not None:
            wrong.append(f"{wire} is missing")
        elif len(found.partitions) != expected:
            wrong.append(f"{wire} has {len(found.partitions)} partitions, the catalogue says {expected}")
    if wrong:
        raise CatalogueMismatch(
            "the cluster's topics differ from the catalogue", value=wrong, remedy="run `tape topics --create`"
        )
    return str(cluster.cluster_id)


def bounds(consumer: Consumer, layout: Layout, names: Sequence[str]) -> dict[Part, tuple[int, int]]:
    """(first, end) offset of every partition of topics that ``check_topics`` has seen.

    Raises Retry where the broker does not answer: that the topics exist is known.
    """
    try:
        return ends(consumer, layout, tuple(names))
    except Fatal as error:
        raise Retry(f"the broker does not tell its offsets: {error.what}") from error


def is_punctuation(key: bytes | None, value: bytes | None) -> bool:
    """Whether this is no event but a mark in the log, such as a watermark."""
    return value is None and key is not None and key.startswith(b"~")


def read_events(cluster: Cluster, names: Sequence[str]) -> Iterator[Message]:
    """Every event that these topics hold now, marks left out, per partition in log order.

    Raises Retry where the broker stops answering before the end.
    """
    consumer = open_consumer(cluster, "reader")
    try:
        check_topics(consumer, cluster.layout, names)
        spans = bounds(consumer, cluster.layout, names)
    finally:
        consumer.close()
    for chunk in read_parts(cluster, spans):
        yield from (each for each in chunk if not is_punctuation(each.key, each.value))
