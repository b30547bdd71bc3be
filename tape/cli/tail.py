"""``tape tail``: decoded records of one topic as JSON lines. It joins no group and commits nothing."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Annotated, Any

import typer
from confluent_kafka import TopicPartition

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids, refuse_changed
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, read_parts, to_message
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Retry
from tapedeck.schemas.readable import iso_time, readable
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import Opening, readable_punctuation
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of, say_withheld
from tapedeck.tape.local.places import say
from tapedeck.topics.catalogue import Topic, topic
from tapedeck.topics.partitioning import murmur2_partition

_FIRST_LOOK = 64
_FURTHER = 16


def tail(
    name: Annotated[
        str, typer.Argument(metavar="TOPIC", help="A topic listed by `tape topics`, without prefix.")
    ],
    *,
    key: Annotated[str | None, typer.Option("--key", help="Only records with this record key.")] = None,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the newest records.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing as records arrive.")] = False,
    watermarks: Annotated[bool, typer.Option("--watermarks", help="Show watermarks too.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print decoded records as JSON lines, oldest first, with partition, offset and time (UTC)."""
    chosen = topic(name)
    cluster = pipeline_of(bootstrap, prefix).cluster

    def keep(message: Message) -> bool:
        return wanted(message, key, watermarks)

    home = home_of(chosen, key, cluster.layout.partitions(name))
    spans = ends_of(cluster, (name,))
    near = {part: span for part, span in spans.items() if home in (None, part[1])}
    found = newest(cluster, near, count, keep)
    if key is not None and count:
        far = strays(cluster, {part: span for part, span in spans.items() if part not in near}, key)
        found = sorted([*found, *far], key=lambda m: (m.timestamp, m.partition, m.offset))[-count:]
    say_withheld(cluster, (name,))
    told = False
    for message in chain(found, filter(keep, arriving(cluster, spans)) if follow else ()):
        if not told and home not in (None, message.partition):
            say(stray_in_words(message, home))
            told = True
        print(line(chosen.schema, message), flush=True)


def newest(
    cluster: Cluster,
    spans: dict[Part, tuple[int, int]],
    count: int,
    keep: Callable[[Message], bool],
) -> list[Message]:
    """The newest ``count`` messages of ``spans`` (first, end offset) that ``keep`` wants, oldest first."""
    look = count + _FIRST_LOOK
    while count:
        part_of_it = {part: (max(low, end - look), end) for part, (low, end) in spans.items()}
        chunks = read_parts(cluster, part_of_it)
        found = [message for chunk in chunks for message in chunk if keep(message)]
        per_partition = Counter(message.partition for message in found)
        # A partition is done when nothing older in it could be among the newest.
        if all(part_of_it[p][0] == low or per_partition[p[1]] >= count for p, (low, _) in spans.items()):
            return sorted(found, key=lambda m: (m.timestamp, m.partition, m.offset))[-count:]
        look *= _FURTHER
    return []


def arriving(cluster: Cluster, spans: dict[Part, tuple[int, int]]) -> Iterator[Message]:
    """Messages from the ends of ``spans`` on, as they arrive, until the caller stops.

    Raises Fatal if nothing arrives and the topic has been replaced.
    """
    known = describe_ids(cluster, dict.fromkeys(name for name, _ in spans))
    consumer = new_consumer(cluster)
    try:
        consumer.assign(
            [TopicPartition(cluster.layout.wire_name(n), p, end) for (n, p), (_, end) in spans.items()]
        )
        while True:
            record = consumer.poll(1.0)
            if record is None:
                with suppress(Retry):  # wait for a broker that is unavailable
                    refuse_changed(cluster, known)
            elif record.error() is None:
                yield to_message(record, cluster.layout)
    finally:
        consumer.close()


def strays(cluster: Cluster, spans: dict[Part, tuple[int, int]], key: str) -> list[Message]:
    """The records of ``key`` in partitions where they do not belong: another producer's partitioner put them
    there. The partitions are read in full, but only for keys."""
    from tapedeck.connectors.kafka.bulk.source import KafkaSource  # noqa: PLC0415 - only with a key
    from tapedeck.tape.notebook.numbers import of_keys  # noqa: PLC0415 - it loads kernels

    found = []
    with KafkaSource(cluster) as source:
        for part, (low, end) in spans.items():
            for block in source.stream(part, low, end) if end > low else ():
                places = of_keys(block, frozenset({key.encode()})).nonzero()[0]
                found += [block.message(place) for place in places.tolist()]
    return found


def stray_in_words(message: Message, home: int | None) -> str:
    """The message, given once, about a record in another partition than its key's."""
    key = (message.key or b"").decode(errors="replace")
    return (
        f"records of key {key} are in {message.topic}/{message.partition} instead of {message.topic}/{home}:"
        " their producer does not partition as Kafka's Java client does (murmur2)"
    )


def home_of(chosen: Topic, key: str | None, partitions: int) -> int | None:
    """The one partition that should have ``key``, if the record key is the partition key."""
    if key is None or chosen.part is None or chosen.key != (chosen.part,):
        return None
    return murmur2_partition(key.encode(), partitions)


def wanted(message: Message, key: str | None, watermarks: bool) -> bool:
    """Whether to show a record; openings are shown with watermarks."""
    if readable_punctuation(message) is not None:
        return watermarks and key is None
    return key is None or message.key == key.encode()


def line(schema: str | None, message: Message) -> str:
    """One record as a JSON line. A record that cannot be decoded is shown as bytes with the reason."""
    shown: dict[str, Any] = {
        "partition": message.partition,
        "offset": message.offset,
        "time": iso_time(message.timestamp * 1000),
    }
    found = readable_punctuation(message)
    if isinstance(found, Opening):
        return json.dumps(shown | {"opening": iso_time(found.label), "absent": found.absent})
    if found is not None:
        return json.dumps(shown | {"watermark": iso_time(found.label)})
    shown["key"] = None if message.key is None else message.key.decode(errors="replace")
    raw = None if message.value is None else message.value.hex()
    if schema is None:
        shown |= {"headers": _texts(message), "bytes": raw}
    else:
        try:
            shown["value"] = readable(schema, decode(schema, message.value))
        except DeadLetter as error:
            shown |= {"error": error.reason, "detail": error.what, "bytes": raw}
    return json.dumps(shown, ensure_ascii=False)


def _texts(message: Message) -> dict[str, Any]:
    """The headers as texts, null for one without a value; a list for a repeated name."""
    found: dict[str, list[str | None]] = {}
    for name, content in message.headers:
        found.setdefault(name, []).append(None if content is None else content.decode(errors="replace"))
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in found.items()}
