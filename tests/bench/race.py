"""The rebuild race: one tape on one broker, one process per entrant, its CPU between two of its bars.

An entrant reads the tape from its start. It tells its CPU at its warm-up's last bar, so that start-up,
compiling and a JVM's first thousands of calls are left out; its cost is what it used from there until its
last bar is done and all its outputs stand in the log.
"""

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.kafka.scan import new_consumer
from tapedeck.schemas.ids import current_id
from tapedeck.streams.config.groups import DEFAULT_SYMBOLS
from tapedeck.streams.sessions import xnys
from tapedeck.tape.local.places import cache_dir
from tapedeck.tape.local.process import Child, Launch
from tapedeck.topics.catalogue import Layout
from tests.bench.bench_features import Walks, cpu_of, records
from tests.bench.peer import Told, rules
from tests.support.cases import REPOSITORY

_LOOK_S = 0.05
_SILENCE_S = 120.0
_PAUSE_S = 0.5
NO_DIGEST = "-"
"""What stands for a digest that an entrant did not take."""


class Entrant(NamedTuple):
    """One program of the race. ``warm`` and ``bars``: how many it takes before and while it is measured."""

    name: str
    argv: Sequence[str]
    warm: int
    bars: int
    guarantee: str = "at-least-once"
    extra: Mapping[str, str] = {}


class Cost(NamedTuple):
    """CPU seconds per million bars, bars per second of wall time, the digest of the outputs and its tape."""

    cpu_s: float
    rate: float
    digest: str
    tape: Layout


class Race:
    """Runs entrants, each on the tape of its length. A tape is written once."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap, self._folder = bootstrap, folder
        self._walks = Walks()
        self._tapes: dict[int, Layout] = {}
        self._runs = 0

    def minutes(self, bars: int) -> int:
        """How many minutes hold at least ``bars`` bars."""
        return -(-bars // len(DEFAULT_SYMBOLS))

    def tape(self, bars: int) -> Layout:
        """Where the tape of ``bars`` bars lies, rounded up to whole minutes."""
        minutes = self.minutes(bars)
        if minutes not in self._tapes:
            layout = Layout(f"race{uuid.uuid4().hex[:8]}")
            ensure(Cluster(self.bootstrap, layout))
            outbox = Outbox(Cluster(self.bootstrap, layout), "test", linger_ms=20)
            outbox.write(self._walks.wires(layout, range(minutes)))
            outbox.close()
            self._tapes[minutes] = layout
        return self._tapes[minutes]

    def run(self, entrant: Entrant, *, writes: bool) -> Cost:
        """One run. Raises Fatal, quoting the entrant's log, where it ends early or goes silent."""
        layout = self.tape(entrant.warm + entrant.bars)
        total = self.minutes(entrant.warm + entrant.bars) * len(DEFAULT_SYMBOLS)
        self._runs += 1
        folder = self._folder / f"run{self._runs}"
        folder.mkdir()
        told = Told(
            self.bootstrap,
            group=f"{layout.prefix}.run{self._runs}",
            bars=layout.wire_name("bars"),
            output=self._output(layout) if writes else "",
            guarantee=entrant.guarantee,
            folder=folder,
            warm=entrant.warm,
            total=total,
        )
        child, consumer = self._start(entrant, told), new_consumer(Cluster(self.bootstrap))
        try:
            return self._cost(child, told, consumer, layout)
        finally:
            consumer.close()
            child.stop(5.0)

    def _start(self, entrant: Entrant, told: Told) -> Child:
        dates, opens, closes = (column.tolist() for column in xnys().tables())
        lines = [f"{day},{open_},{close}" for day, open_, close in zip(dates, opens, closes, strict=True)]
        (told.folder / "sessions.csv").write_text("\n".join(lines))
        shared = {
            "PEER_SCHEMAS": str(REPOSITORY / "schemas" / "avsc"),
            "PEER_FEATURES_ID": str(current_id("features")),
            "PEER_CONFIG_DIGEST": rules()[0].digest,
            "NUMBA_CACHE_DIR": str(cache_dir() / "numba"),
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'src'}",
        }
        env = os.environ | shared | told.environment() | entrant.extra
        log = told.folder / "entrant.log"
        return Child(Launch(name=entrant.name, argv=entrant.argv, log=log, env=env, cwd=told.folder))

    def _output(self, layout: Layout) -> str:
        name = f"{layout.prefix}.run{self._runs}.features"
        new = NewTopic(name, layout.partitions("features"), 1)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        admin.create_topics([new])[name].result(10)
        return name

    def _cost(self, child: Child, told: Told, consumer: Consumer, tape: Layout) -> Cost:
        until = time.monotonic() + _SILENCE_S
        while "done" not in (said := told_by(child.launch.log)):
            if child.exit_code is not None or time.monotonic() > until:
                raise child.failure(f"{child.name} did not do its {told.total:,} bars")
            time.sleep(_LOOK_S)
        if told.output:
            self._await_outputs(child, told, consumer)
        used = cpu_of(psutil.Process(child.pid))
        mark, done = said["mark"], said["done"]
        bars = told.total - told.warm
        cpu_s = (used - float(mark[0])) / bars * 1e6
        return Cost(cpu_s, bars / (float(done[1]) - float(mark[1])), done[2], tape)

    def _await_outputs(self, child: Child, told: Told, consumer: Consumer) -> None:
        """Wait for all outputs. Ends of transactions count as records, so what is missing may come later."""
        parts = [TopicPartition(told.output, part) for part in range(4)]
        until = time.monotonic() + _SILENCE_S
        while (there := records(consumer, parts)) < told.total:
            if child.exit_code is not None or time.monotonic() > until:
                raise child.failure(f"{child.name} wrote {there:,} of {told.total:,} outputs")
            time.sleep(_LOOK_S)
        time.sleep(_PAUSE_S)


def told_by(log: Path) -> dict[str, list[str]]:
    """What the entrant told so far: the words behind ``mark`` and ``done``."""
    lines = [line.split() for line in log.read_text(errors="replace").splitlines()]
    return {words[1]: words[2:] for words in lines if len(words) == 5 and words[0] == "peer:"}
