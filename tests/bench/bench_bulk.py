"""CPU seconds per million records of 300 bytes: the log as columns beside librdkafka's records.

    python -m tests.bench.bench_bulk

Starts a broker of its own, or takes the one that KAFKA_BOOTSTRAP_SERVERS names. All read the same topic of
four partitions in this process and all write it anew, in turn in each round; a figure is the median of the
rounds, with all threads of this process and without the broker's. Takes about a minute.
"""

import uuid
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.kafka.scan import new_consumer, read_parts
from tapedeck.streams.blocks import Block
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout
from tests.bench.report import Row, Table
from tests.bench.servers import kafka

NAME = "bars"
PARTITIONS = 4
VALUE_BYTES = 300
_T0 = 1_381_411_800_000
_HEADERS = (("ce_id", b"0123456789abcdef"), ("ce_type", b"tapedeck.bars"))


class Size(NamedTuple):
    """Records of the topic and runs of each way."""

    records: int
    rounds: int


FULL = Size(400_000, 3)
SHORT = Size(4_000, 1)

Parts = dict[Part, tuple[int, int]]


class Cost(NamedTuple):
    """One run: CPU seconds per million records, records per second."""

    cpu_s: float
    rate: float


def cost(work: Callable[[], int], expected: int) -> Cost:
    """Time one run. Raises AssertionError where it did not handle every record."""
    cpu, wall = process_time(), perf_counter()
    done = work()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    assert done == expected, f"{done} of {expected} records"
    return Cost(cpu / done * 1e6, done / wall)


def new_topic(bootstrap: str) -> Layout:
    """A topic under a prefix of its own, without retention: the records are of the past."""
    layout = Layout(f"bench-{uuid.uuid4().hex[:8]}", symbol_partitions=PARTITIONS)
    new = NewTopic(layout.wire_name(NAME), PARTITIONS, 1, config={"retention.ms": "-1"})
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    for future in admin.create_topics([new]).values():
        future.result(20)
    return layout


def blocks(records: int) -> list[Block]:
    """``records`` in blocks of one partition each."""
    noise = np.random.default_rng(1).bytes(2 * VALUE_BYTES)

    def message(partition: int, n: int) -> Message:
        value = noise[n % VALUE_BYTES :][:VALUE_BYTES]
        return Message(NAME, partition, n, _T0 + n, b"SYM%02d" % (n % 28), value, _HEADERS)

    size = min(records // PARTITIONS, 10_000)
    return [
        Block.of([message(partition, n) for n in range(at, at + size)])
        for at in range(0, records // PARTITIONS, size)
        for partition in range(PARTITIONS)
    ]


def read_columns(cluster: Cluster, parts: Parts) -> int:
    with KafkaSource(cluster) as source:
        return sum(len(block) for part, ends in parts.items() for block in source.stream(part, *ends))


def read_messages(cluster: Cluster, parts: Parts) -> int:
    return sum(len(chunk) for chunk in read_parts(cluster, parts))


def consume(cluster: Cluster, parts: Parts) -> int:
    """librdkafka's records, each asked for its value and for nothing else."""
    consumer = new_consumer(cluster, **{"queued.max.messages.kbytes": 65_536})
    left = total = sum(end - low for low, end in parts.values())
    try:
        consumer.assign(
            [TopicPartition(cluster.layout.wire_name(n), p, low) for (n, p), (low, _) in parts.items()]
        )
        while left:
            left -= sum(record.value() is not None for record in consumer.consume(min(left, 10_000), 1.0))
    finally:
        consumer.close()
    return total


def write_columns(cluster: Cluster, columns: list[Block]) -> int:
    with BulkWriter(cluster) as writer:
        for block in columns:
            writer.write(block)
        writer.flush()
    return sum(map(len, columns))


def write_messages(cluster: Cluster, columns: list[Block]) -> int:
    """What the player does with a recording."""
    outbox = Outbox(cluster, "test", linger_ms=5)
    for block in columns:
        outbox.write(
            Wire(m.topic, m.partition, m.key or b"", m.value, m.timestamp, list(m.headers))
            for m in block.messages()
        )
    outbox.close()
    return sum(map(len, columns))


def measure(bootstrap: str, size: Size = FULL) -> Table:
    """Median cost of each way."""
    columns, layout = blocks(size.records), new_topic(bootstrap)
    write_columns(Cluster(bootstrap, layout), columns)
    parts = KafkaSource(Cluster(bootstrap, layout)).ends([NAME])
    read_columns(Cluster(bootstrap, layout), parts)  # compiles, or loads what is compiled
    works: dict[str, Callable[[], int]] = {
        "read: columns (KafkaSource)": lambda: read_columns(Cluster(bootstrap, layout), parts),
        "read: plain consume": lambda: consume(Cluster(bootstrap, layout), parts),
        "read: messages (read_parts)": lambda: read_messages(Cluster(bootstrap, layout), parts),
        "write: columns (BulkWriter)": lambda: write_columns(
            Cluster(bootstrap, new_topic(bootstrap)), columns
        ),
        "write: messages (Outbox)": lambda: write_messages(Cluster(bootstrap, new_topic(bootstrap)), columns),
    }
    found: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(size.rounds):
        for name, work in works.items():
            found[name].append(cost(work, size.records))
    figures = {name: median(each.cpu_s for each in costs) for name, costs in found.items()}
    rates = {name: median(each.rate for each in costs) for name, costs in found.items()}
    base = {
        kind: next(cpu for name, cpu in figures.items() if name.startswith(kind)) for kind in ("read", "writ")
    }
    return Table(
        "bulk log, CPU seconds per million records",
        tuple(
            Row(name, cpu, "s", note=f"{cpu / base[name[:4]]:.1f}x of columns; {rates[name]:,.0f} a second")
            for name, cpu in figures.items()
        ),
        (
            f"{size.records:,} records of {VALUE_BYTES} bytes with key and headers, {PARTITIONS} partitions;",
            "this process alone; columns are read with their checksums verified, librdkafka's are not",
        ),
    )


def main() -> None:
    """Measure and print."""
    with kafka() as bootstrap:
        print(measure(bootstrap))


if __name__ == "__main__":
    main()
