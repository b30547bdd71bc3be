"""A pipeline with its own topics and audit tables, for the tests of the sink."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer
from psycopg import sql

from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.postgres.base import table_name
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.offsets import wait_until_caught_up
from tapedeck.connectors.postgres.sink import Sink, SinkSettings
from tapedeck.schemas.codec import encode
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import Layout, topic

MINUTE = 60_000_000
T0 = 1_700_000_040_000_000
TOPICS = ("bars", "signals", "account_inbox", "dead_letters")
ORIGIN = Origin("test", "9.9.9", "cafe")


def bar(n: int, **changes: Any) -> dict[str, Any]:
    """The n-th bar of a test."""
    t = T0 + n * MINUTE
    return {
        "event_id": f"bar{n:029d}", "event_time": t + MINUTE, "symbol": f"S{n % 5}", "feed": "iex", "t": t,
        "revision": 0, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0 + n, "volume": 100.0,
        "origin": "TEST",
    } | changes  # fmt: skip


@dataclass
class Pipeline:
    """Where one test's topics and tables are, and short ways to fill and read them."""

    bootstrap: str
    url: str
    layout: Layout
    topics: tuple[str, ...] = TOPICS
    producer: Producer = field(init=False)

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.bootstrap, self.layout)

    def __post_init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})

    def put(self, name: str, value: bytes | None, key: bytes = b"K", partition: int = 0, **more: Any) -> None:
        self.producer.produce(
            self.layout.wire_name(name), value, key, partition, timestamp=T0 // 1000, **more
        )

    def send(self, name: str, bodies: Sequence[dict[str, Any]]) -> None:
        schema = topic(name).schema
        assert schema is not None
        for body in bodies:
            key, partition = topic(name).record_key(body), self.layout.partition(name, body)
            self.put(name, encode(schema, body), key, partition, headers=[("tape-code-version", b"9.9.9")])
        self.flush()

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    def sink(self, outbox: Outbox, **changes: Any) -> Sink:
        given = {
            "cluster": self.cluster,
            "url": self.url,
            "topics": self.topics,
        }
        return Sink(SinkSettings(**(given | changes)), outbox, ManualClock(T0), ORIGIN)

    @contextmanager
    def running(self, **changes: Any) -> Iterator[Sink]:
        """A sink that follows the topics while the block runs; its error is raised at the end."""
        outbox = Outbox(self.cluster, "sink-test", timeout_s=10)
        sink, stop, failed = self.sink(outbox, **changes), threading.Event(), []

        def follow() -> None:
            try:
                sink.run(stop)
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield sink
        finally:
            stop.set()
            thread.join(30)
            outbox.close()
            assert not thread.is_alive()
        if failed:
            raise failed[0]

    def run(self) -> None:
        """Run a sink that is expected to end by itself, with an error."""
        outbox = Outbox(self.cluster, "sink-test", timeout_s=10)
        try:
            self.sink(outbox).run(threading.Event())
        finally:
            outbox.close()

    def drain(self, timeout_s: float = 30, **changes: Any) -> Sink:
        """Run a sink until Postgres holds everything; the sink, for its counters."""
        with self.running(**changes) as sink:
            self.wait(timeout_s)
        return sink

    def wait(self, timeout_s: float = 30) -> None:
        wait_until_caught_up(self.url, self.cluster, timeout_s=timeout_s, topics=self.topics)

    def query(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with connect(self.url, self.layout.prefix, role=None) as connection:
            return connection.execute(statement.encode(), arguments).fetchall()

    def rows(self, name: str) -> int:
        with connect(self.url, self.layout.prefix) as connection:
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table_name(name)))
            (row,) = connection.execute(statement).fetchall()
        return int(row[0])


def eventually(what: str, holds: Any, timeout_s: float = 20) -> None:
    """Return when ``holds()`` is true; fail with ``what`` if it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
