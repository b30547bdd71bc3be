"""What the sink asks of Kafka: whether topics match the catalogue, their ids, bounds, and events."""

from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka import Consumer, KafkaException

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids, other_count
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, read_parts
from tapedeck.schemas.errors import CatalogueMismatch, Fatal, Retry
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

ANSWER_S = 10.0


def open_consumer(cluster: Cluster, name: str) -> Consumer:
    """A consumer for manual assignment that never resets an offset by itself. Keep it only briefly."""
    return new_consumer(
        cluster,
        **{
            "client.id": f"{cluster.client_id}-{name}",
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # An end event gives the next offset even if aborted records or a transaction marker precede it.
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": 65_536,
            # The audit may lag slightly: fewer, larger fetches cost the broker far less.
            "fetch.min.bytes": 131_072,
            "fetch.wait.max.ms": 250,
        },
    )


def check_topics(
    consumer: Consumer, layout: Layout, names: Iterable[str], *, timeout_s: float = ANSWER_S
) -> str:
    """The cluster's id.

    Raises CatalogueMismatch for missing topics or other partition counts, Retry if the broker does not
    answer.
    """
    try:
        cluster = consumer.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise Retry(
            f"the broker does not answer: {error.args[0].str()}", remedy="check that it runs"
        ) from error
    wires = {name: layout.wire_name(name) for name in names}
    there = {name: cluster.topics.get(wire) for name, wire in wires.items()}
    counts = {name: len(each.partitions) for name, each in there.items() if each and each.error is None}
    if missing := [f"{wire} is missing" for name, wire in wires.items() if name not in counts]:
        raise CatalogueMismatch(
            "the cluster's topics differ from the catalogue",
            value=missing,
            remedy="run `tape topics --create`",
        )
    for name, count in counts.items():
        if count != layout.partitions(name):
            raise other_count(layout, name, count)
    return str(cluster.cluster_id)


def topic_ids(cluster: Cluster, names: Sequence[str], *, timeout_s: float = ANSWER_S) -> dict[str, bytes]:
    """The id of each topic that ``check_topics`` has checked. Raises Retry if the broker does not answer."""
    ids = {}
    for name, found in describe_ids(cluster, names, timeout_s).items():
        if found is None:
            raise Retry("the broker does not return this topic's id", value=cluster.layout.wire_name(name))
        ids[name] = found.topic_id
    return ids


def bounds(cluster: Cluster, names: Sequence[str]) -> dict[Part, tuple[int, int]]:
    """(first, end) offset of every partition of topics that ``check_topics`` has checked.

    The end is that of committed records. Raises Retry if the broker does not answer, and if the topics have
    changed since: the next check says how.
    """
    try:
        return ends_of(cluster, names)
    except Fatal as error:
        what = f"the broker does not return the offsets of the topics: {error}"
        raise Retry(what, remedy="they will be requested again") from error


def is_punctuation(key: bytes | None, value: bytes | None) -> bool:
    """Whether this is not an event but punctuation in the log, such as a watermark."""
    return value is None and key is not None and key.startswith(b"~")


def read_events(cluster: Cluster, names: Sequence[str]) -> Iterator[Message]:
    """Every event that these topics have now, without punctuation, per partition in log order.

    Raises Fatal for topics that do not match the catalogue, Retry if the broker stops answering before the
    end.
    """
    for chunk in read_parts(cluster, ends_of(cluster, names)):
        yield from (each for each in chunk if not is_punctuation(each.key, each.value))
