"""Reading whole topics without a consumer group: partitions, their bounds, a consumer by hand."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as WireMessage

from schemas.errors import CatalogueMismatch, Retry
from streams.contract import Message
from topics.catalogue import Layout

ANSWER_S = 10.0
_POLL_S = 0.2
_POLL_RECORDS = 5_000

Place = tuple[str, int]
"""(catalogue topic, partition)"""


def open_consumer(bootstrap: str, name: str) -> Consumer:
    """A consumer for manual assignment. Kafka never stores its offsets and never resets them."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"tapedeck-{name}",
            "client.id": f"tapedeck-{name}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 65_536,
            "log_level": 3,
        }
    )


def check_topics(
    consumer: Consumer, layout: Layout, names: Iterable[str], *, timeout_s: float = ANSWER_S
) -> str:
    """The cluster's id. Raises CatalogueMismatch for missing topics or other partition counts, Retry where
    the broker does not answer."""
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


def places(layout: Layout, names: Iterable[str]) -> list[Place]:
    """Every partition of these topics."""
    return [(name, partition) for name in names for partition in range(layout.partitions(name))]


def bounds(consumer: Consumer, layout: Layout, where: Iterable[Place]) -> dict[Place, tuple[int, int]]:
    """(first offset, end offset) of each partition. Raises Retry where the broker does not answer."""
    found = {}
    for name, partition in where:
        try:
            at = TopicPartition(layout.wire_name(name), partition)
            found[name, partition] = consumer.get_watermark_offsets(at, timeout=ANSWER_S)
        except KafkaException as error:
            raise Retry(
                f"the broker does not tell the offsets of {name}/{partition}: {error.args[0].str()}",
                remedy="check that it runs",
            ) from error
    return found


def message_of(name: str, wire: WireMessage) -> Message:
    """A consumed record as the catalogue names it."""
    partition, offset = wire.partition(), wire.offset()
    assert partition is not None and offset is not None
    headers = cast(list[tuple[str, bytes]] | None, wire.headers()) or ()
    return Message(name, partition, offset, wire.timestamp()[1], wire.key(), wire.value(), headers)


def is_punctuation(key: bytes | None, value: bytes | None) -> bool:
    """Whether this is no event but a mark in the log, such as a watermark."""
    return value is None and key is not None and key.startswith(b"~")


def read_all(bootstrap: str, layout: Layout, names: Sequence[str]) -> Iterator[Message]:
    """Every event that these topics hold now, marks left out, partition by partition in log order.

    Raises Retry where the broker stops answering before the end.
    """
    consumer = open_consumer(bootstrap, "reader")
    try:
        check_topics(consumer, layout, names)
        spans = bounds(consumer, layout, places(layout, names))
        waiting = {place: end for place, (start, end) in spans.items() if end > start}
        by_wire = {layout.wire_name(name): name for name in names}
        consumer.assign([TopicPartition(layout.wire_name(n), p, spans[n, p][0]) for n, p in waiting])
        silent = 0.0
        while waiting:
            batch = consumer.consume(_POLL_RECORDS, _POLL_S)
            silent = 0.0 if batch else silent + _POLL_S
            if silent > ANSWER_S:
                raise Retry("the broker fell silent before the end of the log", value=sorted(waiting))
            for wire in batch:
                if wire.error() is not None:
                    raise Retry(f"the broker refused to read on: {wire.error()}")
                message = message_of(by_wire[wire.topic() or ""], wire)
                place = (message.topic, message.partition)
                if message.offset >= spans[place][1]:
                    continue
                if message.offset + 1 == spans[place][1]:
                    waiting.pop(place, None)
                if not is_punctuation(message.key, message.value):
                    yield message
    finally:
        consumer.close()
