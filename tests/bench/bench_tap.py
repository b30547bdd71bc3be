"""Rows a second from a topic into a polars frame: the tap, and what one writes by hand.

    python -m tests.bench.bench_tap

All read the same features, 44 columns each with headers as live writes them, from four partitions on one
broker, in this process. By hand is confluent-kafka's batches, fastavro with its datetimes, and
``polars.DataFrame`` of the dicts. A figure is the median of the rounds; CPU is of all threads of this process
without the broker's.
"""

import io
import uuid
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

import fastavro
import numpy as np
import polars as pl
from confluent_kafka import TopicPartition

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import new_consumer
from tapedeck.schemas.codec import PREFIX, load_schema
from tapedeck.schemas.columns import Columns, encode_columns
from tapedeck.streams.blocks import Block, Ints, pack_headers
from tapedeck.streams.config.groups import DEFAULT_SYMBOLS
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.wire import TRACE, Origin
from tapedeck.tape.notebook.connection import Connection
from tapedeck.topics.catalogue import Layout
from tests.bench.bench_columns import bodies
from tests.bench.report import Row, Table
from tests.bench.servers import kafka

NAME = "features"
AIM = 300_000
FEW = ("symbol", "t", "close", "rsi14")
_T0 = 1_709_908_200_000_000
_DIFFERENT = 2_800
_BATCH = 10_000


class Size(NamedTuple):
    """Records of the topic, how many of them are read by hand, and runs of each way."""

    records: int
    by_hand: int
    rounds: int


FULL = Size(560_000, 56_000, 5)
SHORT = Size(5_600, 2_800, 1)


class Cost(NamedTuple):
    """One run: CPU seconds per million rows, rows per second."""

    cpu_s: float
    rate: float


def features(records: int) -> Columns:
    """``records`` features of 28 symbols, a minute each, every one with an event_id of its own."""
    some = [body | {"symbol": DEFAULT_SYMBOLS[n % len(DEFAULT_SYMBOLS)], "inputs": [f"{n:032x}"]}
            for n, body in enumerate(bodies(NAME, _DIFFERENT))]  # fmt: skip
    made = Columns.of(NAME, some).take(np.arange(records) % _DIFFERENT)
    ids = "".join(f"{n:032x}" for n in range(records)).encode()
    base = len(made.data)
    made.data = np.concatenate((made.data, np.frombuffer(ids, dtype=np.uint8)))
    made.spans["event_id"][:] = np.column_stack((base + 32 * np.arange(records), np.full(records, 32)))
    made.ints["event_time"][:] = _T0 + np.arange(records) // len(DEFAULT_SYMBOLS) * MINUTE_US
    return made


def headers() -> bytes:
    """The headers of a feature, in the size that live gives them."""
    return pack_headers([
        *Origin("features", "0.1.0+g0123456789", "0" * 16).static(),
        ("tape-ingest-time", b"1709908200000000"), ("ce_id", b"0" * 32), ("ce_type", b"tapedeck.features"),
        (TRACE, b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"), ("tape-cause", b"bars/3@123456"),
    ])  # fmt: skip


def fill(bootstrap: str, records: int) -> Layout:
    """A prefix whose features topic holds ``records``."""
    layout = Layout(f"bench{uuid.uuid4().hex[:8]}")
    ensure(Cluster(bootstrap, layout))
    columns = features(records)
    values, spans = encode_columns(NAME, columns)
    texts = "".join(DEFAULT_SYMBOLS).encode()
    ends = np.cumsum([len(symbol) for symbol in DEFAULT_SYMBOLS])
    data = np.concatenate((values, np.frombuffer(texts + headers(), dtype=np.uint8)))
    which = np.arange(records) % len(DEFAULT_SYMBOLS)
    sizes = np.array([len(symbol) for symbol in DEFAULT_SYMBOLS])
    keys = np.column_stack((len(values) + (ends - sizes)[which], sizes[which]))
    tail = np.array([len(values) + len(texts), len(headers())])
    homes = np.array([layout.partition(NAME, {"symbol": symbol}) for symbol in DEFAULT_SYMBOLS])[which]
    times: Ints = columns.ints["event_time"] // 1000
    with BulkWriter(Cluster(bootstrap, layout)) as writer:
        for partition in range(layout.partitions(NAME)):
            rows = np.flatnonzero(homes == partition)
            at = np.ascontiguousarray(np.broadcast_to(tail, (len(rows), 2)))
            offsets = np.arange(len(rows))
            writer.write(Block(NAME, partition, data, offsets, times[rows], keys[rows], spans[rows], at))
        writer.flush()
    return layout


def by_hand(cluster: Cluster, most: int) -> int:
    """What one writes without the tap."""
    schema = fastavro.parse_schema(load_schema(NAME))
    parts: dict[Part, tuple[int, int]] = KafkaSource(cluster).ends([NAME])
    consumer = new_consumer(cluster, **{"queued.max.messages.kbytes": 65_536})
    rows: list[Any] = []
    try:
        consumer.assign(
            [TopicPartition(cluster.layout.wire_name(n), p, low) for (n, p), (low, _) in parts.items()]
        )
        while len(rows) < most:
            for record in consumer.consume(min(_BATCH, most - len(rows)), 1.0):
                value = record.value()
                assert value is not None
                rows.append(fastavro.schemaless_reader(io.BytesIO(value[PREFIX.size :]), schema, None))
    finally:
        consumer.close()
    return len(pl.DataFrame(rows, infer_schema_length=None).sort("event_time"))


def cost(work: Callable[[], int], expected: int) -> Cost:
    """Time one run. Raises AssertionError where it did not give every row."""
    cpu, wall = process_time(), perf_counter()
    done = work()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    assert done == expected, f"{done} of {expected} rows"
    return Cost(cpu / done * 1e6, done / wall)


def measure(bootstrap: str, size: Size = FULL) -> Table:
    """Median cost of each way."""
    layout = fill(bootstrap, size.records)
    connected = Connection(source=KafkaSource(Cluster(bootstrap, layout)))
    symbols = [symbol for symbol in DEFAULT_SYMBOLS if layout.partition(NAME, {"symbol": symbol}) == 0][:1]
    of_one = size.records // len(DEFAULT_SYMBOLS)
    works: dict[str, tuple[Callable[[], int], int]] = {
        "tap: all 46 columns": (lambda: len(connected.tap(NAME)), size.records),
        "tap: 4 columns": (lambda: len(connected.tap(NAME, columns=FEW)), size.records),
        "tap: one symbol": (lambda: len(connected.tap(NAME, symbols=symbols)), of_one),
        "by hand: all columns": (lambda: by_hand(Cluster(bootstrap, layout), size.by_hand), size.by_hand),
    }
    for work, _ in works.values():
        work()  # compiles, or loads what is compiled
    found: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(size.rounds):
        for name, (work, expected) in works.items():
            found[name].append(cost(work, expected))
    rates = {name: median(each.rate for each in costs) for name, costs in found.items()}
    first, *_, last = works
    rows = [
        Row(name, rate, "rows/s", *((f"{AIM:,}", rate >= AIM) if name == first else ("", None)),
            note=f"{median(each.cpu_s for each in found[name]):.1f} CPU s a million")
        for name, rate in rates.items()
    ]  # fmt: skip
    cpu = {name: median(each.cpu_s for each in found[name]) for name in (first, last)}
    return Table(
        "tap, rows a second into a frame",
        (*rows, Row("by hand beside the tap", cpu[last] / cpu[first], "x the CPU")),
        (
            f"median of {size.rounds}; {size.records:,} features, {size.by_hand:,} by hand; four partitions;",
            "the tap sorts by time, gives each event_id once and verifies checksums, by hand only sorts",
        ),
    )


def main() -> None:
    """Measure and print."""
    with kafka() as bootstrap:
        print(measure(bootstrap))


if __name__ == "__main__":
    main()
