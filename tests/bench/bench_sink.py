"""The sink's speed: Kafka to Postgres, and its COPY path beside SQLAlchemy's list-execute.

    python -m tests.bench.bench_sink

Starts a broker and a database of its own, or takes those that KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL
name. Both paths start from the same Avro bytes and end with committed rows of the same tables, 5,000 a
transaction, known event_ids skipped. Takes about half a minute.
"""

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import types
from sqlalchemy.dialects.postgresql import insert

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.postgres.base import COMMON_COLUMNS
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import downgrade, sqlalchemy_connection, upgrade
from tapedeck.connectors.postgres.mapping import TopicMap, maps
from tapedeck.connectors.postgres.sink import BATCH_RECORDS, Sink, SinkSettings
from tapedeck.connectors.postgres.store import Store, Written
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.schemas.codec import decode, encode, load_schema
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Origin, Wire
from tapedeck.topics.catalogue import Layout, topic
from tests.bench.report import Row, Table
from tests.bench.servers import kafka, postgres

AIM = 5.0
TIME = types.DateTime(timezone=True)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_MINUTE = 60_000_000
_T0 = 1_700_000_040_000_000
_FEATURE_FIELDS = [field["name"] for field in load_schema("features")["fields"]]
_TRUTHS = {"ready", "crosses_session", "suspect_split", "volume_surge"}


class Size(NamedTuple):
    """Records per topic and runs of each path."""

    records: int
    runs: int


FULL = Size(20_000, 3)
SHORT = Size(2_000, 1)


def bar(n: int) -> dict[str, Any]:
    """The n-th bar."""
    t = _T0 + n // 28 * _MINUTE
    price = 100 + n % 97 / 7
    return {
        "event_id": f"{n:032x}", "event_time": t + _MINUTE, "symbol": f"SYM{n % 28}", "feed": "iex", "t": t,
        "revision": 0, "open": price, "high": price + 0.31, "low": price - 0.27, "close": price + 0.11,
        "volume": 1000.0 + n % 513, "origin": "BENCH",
    }  # fmt: skip


def feature(n: int) -> dict[str, Any]:
    """The n-th feature vector, every column filled."""
    body = bar(n) | {
        "as_of": _T0 + n // 28 * _MINUTE + _MINUTE, "config_digest": "721ef82f2d6c0997",
        "rules_version": "rules-1", "inputs": [f"{n:032x}"], "bar_revision": 0, "session_date": 19_675,
        "bars": n % 390, "trend_state": 1, "or_state": "ABOVE", **dict.fromkeys(_TRUTHS, True),
    }  # fmt: skip
    filled = {name: n % 89 / 13 for name in _FEATURE_FIELDS} | body
    return {name: filled[name] for name in _FEATURE_FIELDS}


def messages(name: str, make: Callable[[int], dict[str, Any]], count: int) -> list[Message]:
    """The benchmark's records of one topic, as they come from Kafka."""
    headers = [("tape-code-version", b"0.1.0"), ("tape-config-digest", b"721ef82f2d6c0997")]
    return [Message(name, 0, n, _T0 // 1000, b"k", encode(name, make(n)), headers) for n in range(count)]


def batches(records: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut as the sink cuts."""
    for start in range(0, len(records), BATCH_RECORDS):
        yield records[start : start + BATCH_RECORDS]


def by_copy(url: str, prefix: str, target: TopicMap, records: Sequence[Message]) -> None:
    """The sink's own path."""
    with connect(url, prefix) as connection:
        store = Store(connection)
        for batch in batches(records):
            with connection.transaction():
                store.write(target, batch, Written())


def by_list_execute(url: str, prefix: str, target: TopicMap, records: Sequence[Message]) -> None:
    """What one writes without thinking: decode, dicts, one ``execute`` with a list."""
    table = table_of(topic(target.topic))
    fields = [column for column in table.columns if column.name not in COMMON_COLUMNS]
    statement = insert(table).on_conflict_do_nothing(index_elements=["event_id"])
    with sqlalchemy_connection(url, prefix) as connection:
        for batch in batches(records):
            rows = []
            for each in batch:
                body = decode(target.topic, each.value)
                row = {column.name: _typed(column.type, body[column.name]) for column in fields}
                row |= {
                    "event_id": body["event_id"], "first_topic": each.topic, "first_offset": each.offset,
                    "first_partition": each.partition, "event_time": _typed(TIME, body["event_time"]),
                    "config_digest": "", "code_version": "", "body_sha": "", "payload": body,
                }  # fmt: skip
                rows.append(row)
            connection.execute(statement, rows)
            connection.commit()


def _typed(kind: types.TypeEngine[Any], value: Any) -> Any:
    if value is None or not isinstance(kind, types.DateTime | types.Date):
        return value
    if isinstance(kind, types.DateTime):
        return _EPOCH + timedelta(microseconds=value)
    return _EPOCH_DAY + timedelta(days=value)


def end_to_end(bootstrap: str, url: str, layout: Layout, names: tuple[str, ...], expected: int) -> float:
    """Seconds in which a sink brings ``expected`` records from Kafka to Postgres."""
    outbox, stop = Outbox(Cluster(bootstrap, layout), "test"), threading.Event()
    sink = Sink(
        SinkSettings(cluster=Cluster(bootstrap, layout), url=url, topics=names),
        outbox,
        SystemClock(),
        Origin("bench", "0", "0"),
    )
    thread = threading.Thread(target=sink.run, args=(stop,))
    began = time.perf_counter()
    thread.start()
    while sink.stats.inserted < expected and thread.is_alive():
        time.sleep(0.01)
    took = time.perf_counter() - began
    stop.set()
    thread.join()
    outbox.close()
    return took


class Rate(NamedTuple):
    """Medians of one path: rows per second, and this process's CPU microseconds per row."""

    rows_per_s: float
    cpu_us: float

    def row(self, name: str) -> Row:
        return Row(name, self.rows_per_s, "rows/s", note=f"{self.cpu_us:.0f} us CPU a row")


def compare(
    url: str, prefix: str, target: TopicMap, records: Sequence[Message], runs: int
) -> tuple[Rate, Rate]:
    """(COPY, list-execute), run in turn on empty tables."""
    found: dict[Any, list[tuple[float, float]]] = {by_copy: [], by_list_execute: []}
    for _ in range(runs):
        for path, times in found.items():
            downgrade(url, prefix)
            upgrade(url, prefix)
            wall, cpu = time.perf_counter(), time.process_time()
            path(url, prefix, target, records)
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = [
        Rate(len(records) / statistics.median(wall), statistics.median(cpu) / len(records) * 1e6)
        for wall, cpu in (zip(*times, strict=True) for times in found.values())
    ]
    return medians[0], medians[1]


def fill(cluster: Cluster, records: dict[str, list[Message]]) -> None:
    """Write the benchmark's records to Kafka."""
    outbox = Outbox(cluster, "test", linger_ms=20)
    for name, held in records.items():
        count = cluster.layout.partitions(name)
        outbox.write(
            Wire(name, each.offset % count, b"k", each.value, each.timestamp, list(each.headers))
            for each in held
        )
    outbox.close()


def measure(bootstrap: str, url: str, size: Size = FULL) -> Table:
    """Both paths and the way from Kafka, on bars and on features."""
    layout = Layout(f"bench{uuid.uuid4().hex[:8]}")
    ensure(Cluster(bootstrap, layout))
    upgrade(url, layout.prefix)
    records = {
        "bars": messages("bars", bar, size.records),
        "features": messages("features", feature, size.records),
    }
    fill(Cluster(bootstrap, layout), records)
    rows = []
    for name, held in records.items():
        copied, executed = compare(url, layout.prefix, maps([name])[name], held, size.runs)
        ratio = copied.rows_per_s / executed.rows_per_s
        title = f"{name} ({len(table_of(topic(name)).columns)} columns)"
        rows += [
            copied.row(f"{title}, COPY"),
            executed.row(f"{title}, SQLAlchemy list-execute"),
            Row(f"{title}, ratio", ratio, "x", aim=f"{AIM:.0f}", met=ratio >= AIM),
        ]
    for name in records:
        rates = []
        for _ in range(size.runs):
            downgrade(url, layout.prefix)
            upgrade(url, layout.prefix)
            rates.append(size.records / end_to_end(bootstrap, url, layout, (name,), size.records))
        rows.append(
            Row(f"{name}, Kafka to Postgres", statistics.median(rates), "rows/s", note="start included")
        )
    downgrade(url, layout.prefix)
    return Table(
        "sink, rows per second into Postgres",
        tuple(rows),
        (f"{size.records:,} records per topic, {BATCH_RECORDS:,} a transaction, median of {size.runs}",),
    )


def main() -> None:
    """Measure and print."""
    with kafka() as bootstrap, postgres() as url:
        print(measure(bootstrap, url))


if __name__ == "__main__":
    main()
