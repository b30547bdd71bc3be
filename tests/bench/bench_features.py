"""CPU of the live features worker beside a plain Faust event agent that does the same work.

    python -m tests.bench.bench_features

Both read bars of the same random walks (28 symbols, a watermark a minute) from topics of their own on one
broker, one process each, in turn. A worker first proves with one minute that it works; then the tape is
written, and what the process uses until its last output stands in the log is its cost. So start-up and
compiling are left out, and everything that Faust does for a bar is in.
"""

import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.kafka.scan import new_consumer
from tapedeck.connectors.tapes.tape import bar_body
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import DEFAULT_SYMBOLS
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.wire import Wire, record_wire, watermark_wires
from tapedeck.tape.local.process import Child, Launch
from tapedeck.topics.catalogue import Layout, topic
from tests.bench.bench_kernel import bars
from tests.bench.peer import Told
from tests.bench.plain_faust import OUTPUT
from tests.bench.report import Row, Table
from tests.bench.servers import kafka
from tests.support.cases import REPOSITORY

AIM = 1 / 3
_LOOK_S = 0.1
_PATIENCE_S = 120.0


class Size(NamedTuple):
    """How many bars each worker folds, and how often."""

    ours: int
    plain: int
    rounds: int


FULL = Size(60_000, 8_000, 3)
SHORT = Size(2_800, 1_400, 1)


class Walks:
    """Random walks of all symbols over the same minutes, as the player writes them."""

    def __init__(self) -> None:
        table, _ = bars(0)
        self._minutes: list[int] = table[:, 0].tolist()
        self._prices = [bars(seed)[1] for seed in range(len(DEFAULT_SYMBOLS))]

    def wires(self, layout: Layout, minutes: range) -> Iterator[Wire]:
        """Every symbol's bar of each minute, then the minute's watermark."""
        partitions = range(layout.partitions("bars"))
        if minutes.start == 0:
            yield from watermark_wires("bars", self._minutes[0] - MINUTE_US, partitions)
        for at in minutes:
            for symbol, prices in zip(DEFAULT_SYMBOLS, self._prices, strict=True):
                *ohlc, volume = np.asarray(prices[at]).tolist()
                body = bar_body(symbol, self._minutes[at], ohlc, volume, feed="iex", origin="BENCH")
                yield record_wire("bars", topic("bars").record_key(body), body, layout, [])
            yield from watermark_wires("bars", self._minutes[at], partitions)


class Cost(NamedTuple):
    """One run: CPU seconds per million bars, bars per second."""

    cpu_s: float
    rate: float


class Run:
    """One worker on a prefix of its own. ``marked``: it forwards the watermarks."""

    def __init__(self, bootstrap: str, folder: Path, walks: Walks, minutes: int, marked: bool) -> None:
        self._bootstrap, self._walks, self._minutes, self._marked = bootstrap, walks, minutes, marked
        self._folder = folder
        self.layout = Layout(f"bench{uuid.uuid4().hex[:8]}")
        ensure(Cluster(bootstrap, self.layout))
        self._outbox = Outbox(Cluster(bootstrap, self.layout), "test", linger_ms=20)

    def cost_of(self, name: str, module: list[str], output: str) -> Cost:
        """Start the worker, let it prove itself, then give it the whole tape."""
        symbols, partitions = len(DEFAULT_SYMBOLS), self.layout.partitions("features")
        marks = partitions if self._marked else 0
        child = self._start(name, module)
        consumer = new_consumer(Cluster(self._bootstrap))
        try:
            self._outbox.write(self._walks.wires(self.layout, range(1)))
            self._until(child, consumer, output, symbols + 2 * marks)
            process = psutil.Process(child.pid)
            used, began = cpu_of(process), time.perf_counter()
            self._outbox.write(self._walks.wires(self.layout, range(1, self._minutes)))
            self._until(child, consumer, output, self._minutes * (symbols + marks) + marks)
            done = (self._minutes - 1) * symbols
            return Cost((cpu_of(process) - used) / done * 1e6, done / (time.perf_counter() - began))
        finally:
            consumer.close()
            self._outbox.close()
            child.kill()

    def _start(self, name: str, module: list[str]) -> Child:
        self._folder.mkdir()
        document = self._folder / "tape.toml"
        document.write_text(Config().to_toml())
        told = {
            "KAFKA_BOOTSTRAP_SERVERS": self._bootstrap,
            "TAPE_PREFIX": self.layout.prefix,
            "TAPE_CONFIG": str(document),
            "TAPE_HOME": str(self._folder),
        }
        if not self._marked:
            told |= self._as_peer().environment()
        argv = [sys.executable, "-m", *module]
        log = self._folder / "worker.log"
        return Child(Launch(name=name, argv=argv, log=log, env=os.environ | told, cwd=REPOSITORY))

    def _as_peer(self) -> Told:
        """What plain Faust is told; it counts nothing here."""
        prefix, bars = self.layout.prefix, self.layout.wire_name("bars")
        output = f"{prefix}.{OUTPUT}"
        return Told(self._bootstrap, f"{prefix}.plain", bars, output, "at-least-once", self._folder, 0, 0)

    def _until(self, child: Child, consumer: Consumer, output: str, expected: int) -> None:
        """Wait for ``expected`` records. Raises Fatal, quoting the log, where they do not come."""
        parts = [TopicPartition(output, each) for each in range(self.layout.partitions("features"))]
        until = time.monotonic() + _PATIENCE_S
        while True:
            there = records(consumer, parts)
            if there >= expected:
                return
            if child.exit_code is not None or time.monotonic() > until:
                raise child.failure(f"{child.name} wrote {there} of {expected} records")
            time.sleep(_LOOK_S)


def records(consumer: Consumer, parts: list[TopicPartition]) -> int:
    """How many records ``parts`` hold."""
    try:
        return sum(consumer.get_watermark_offsets(part, timeout=10)[1] for part in parts)
    except KafkaException:  # a topic made a moment ago may have no leader yet
        return 0


def cpu_of(process: psutil.Process) -> float:
    """Seconds of user and system time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def live(bootstrap: str, folder: Path, walks: Walks, count: int) -> Cost:
    """The features worker, as the local stack starts it."""
    run = Run(bootstrap, folder, walks, count // len(DEFAULT_SYMBOLS), marked=True)
    return run.cost_of("features", ["tapedeck", "worker", "features"], run.layout.wire_name("features"))


def plain(bootstrap: str, folder: Path, walks: Walks, count: int) -> Cost:
    """Plain Faust; its output topic is made as a catalogue topic would be."""
    run = Run(bootstrap, folder, walks, count // len(DEFAULT_SYMBOLS), marked=False)
    output = f"{run.layout.prefix}.{OUTPUT}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = NewTopic(output, run.layout.partitions("features"), 1)
    admin.create_topics([new])[output].result(10)
    return run.cost_of("plain", ["tests.bench.plain_faust"], output)


def measure(bootstrap: str, size: Size = FULL) -> Table:
    """Both workers in turn. The ratio is taken pair by pair."""
    walks, pairs = Walks(), []
    with tempfile.TemporaryDirectory(prefix="bench-features-") as folder:
        for number in range(size.rounds):
            here = Path(folder)
            ours = live(bootstrap, here / f"live{number}", walks, size.ours)
            pairs.append((ours, plain(bootstrap, here / f"plain{number}", walks, size.plain)))
    ratio = statistics.median(ours.cpu_s / theirs.cpu_s for ours, theirs in pairs)
    rows = [
        _row("live features worker", [ours for ours, _ in pairs]),
        _row("plain Faust, RocksDB table", [theirs for _, theirs in pairs]),
        Row("ratio", ratio, "x", aim=f"{AIM:.2f}", met=ratio <= AIM),
    ]
    return Table(
        "live features worker and plain Faust, CPU seconds per million bars",
        tuple(rows),
        (
            f"median of {size.rounds}; {size.ours:,} and {size.plain:,} bars; same mathematics and schemas;",
            "the live worker also keeps cursors, headers, watermarks and the order outputs, changelog, ack",
        ),
    )


def _row(name: str, runs: list[Cost]) -> Row:
    rate = statistics.median(run.rate for run in runs)
    return Row(name, statistics.median(run.cpu_s for run in runs), "CPU s", note=f"{rate:,.0f} bars/s")


def main() -> None:
    """Measure and print."""
    with kafka() as bootstrap:
        print(measure(bootstrap))


if __name__ == "__main__":
    main()
