"""``tape tail``: decoded records of one topic as JSON lines. It joins no group and commits nothing."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException

from schemas.codec import decode
from schemas.errors import DeadLetter
from schemas.readable import iso_time, readable
from streams.watermarks import label_of
from tape.cli.cluster import Bootstrap, Prefix, cluster_of
from tape.reading import Record, TopicReader, unreachable
from topics.catalogue import Topic, topic
from topics.partitioning import murmur2_partition

Keep = Callable[[Record], bool]


def tail(
    name: Annotated[str, typer.Argument(metavar="TOPIC", help="A topic of `tape topics`, without prefix.")],
    *,
    key: Annotated[str | None, typer.Option("--key", help="Only records with this record key.")] = None,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the newest records.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as records arrive.")] = False,
    watermarks: Annotated[bool, typer.Option("--watermarks", help="Show watermarks too.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print decoded records as JSON lines, oldest first, with partition, offset and time (UTC)."""
    chosen = topic(name)
    address, layout, _ = cluster_of(bootstrap, prefix)

    def keep(record: Record) -> bool:
        return wanted(record, key, watermarks)

    try:
        with TopicReader(address, layout.wire_name(name)) as reader:
            only = only_partition(chosen, key, reader.partitions)
            for record in reader.newest(count, keep, only):
                print(line(chosen.schema, record))
            for record in reader.arriving() if follow else ():
                if keep(record):
                    print(line(chosen.schema, record), flush=True)
    except KafkaException as error:
        raise unreachable(address, error) from error


def only_partition(chosen: Topic, key: str | None, partitions: int) -> int | None:
    """The one partition that can hold ``key``, where the record key is the partition key."""
    if key is None or chosen.part is None or chosen.key != (chosen.part,):
        return None
    return murmur2_partition(key.encode(), partitions)


def wanted(record: Record, key: str | None, watermarks: bool) -> bool:
    """Whether a record is shown."""
    if _label(record) is not None:
        return watermarks and key is None
    return key is None or record.key == key.encode()


def line(schema: str | None, record: Record) -> str:
    """One record as a JSON line. What cannot be decoded is shown as bytes with the reason."""
    shown: dict[str, Any] = {
        "partition": record.partition,
        "offset": record.offset,
        "time": iso_time(record.time_ms * 1000),
    }
    label = _label(record)
    if label is not None:
        return json.dumps(shown | {"watermark": iso_time(label)})
    shown["key"] = None if record.key is None else record.key.decode(errors="replace")
    raw = None if record.value is None else record.value.hex()
    if schema is None:
        headers = {name: content.decode(errors="replace") for name, content in record.headers}
        shown |= {"headers": headers, "bytes": raw}
    else:
        try:
            shown["value"] = readable(schema, decode(schema, record.value))
        except DeadLetter as error:
            shown |= {"error": error.reason, "detail": error.what, "bytes": raw}
    return json.dumps(shown, ensure_ascii=False)


def _label(record: Record) -> int | None:
    try:
        return label_of(record.key, record.value, record.headers)
    except DeadLetter:
        return None
