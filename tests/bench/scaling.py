"""Workers of a stage come and go during play: seconds in which nobody owns a partition, and time stands.

    python -m tests.bench.scaling [--only 'dynamic, 6 s']

For each kind of membership (agents/membership.py) one pipeline of 28 symbols is played at 60x. Two workers of
the features stage run: one is stopped in order and started again, one is killed and started again, two more
are added, two are taken away for good. A partition has no owner while the group's members do not name it. The
stall is the longest time without a new watermark in the stage's output, less the second that a minute takes.
At the end the outputs and the table are those of a rebuild. docs/operations.md quotes the figures.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaException, TopicPartition

from tapedeck.agents.membership import INSTANCE, LEAVE, TIMEOUT, Membership
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import new_consumer
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.connectors.tapes.player import PLAYED, Pace, Player
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.digests import of_state
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import label_of
from tapedeck.streams.wire import Origin
from tapedeck.tape.rebuild.whole import live_outputs, live_state, rebuild_stage
from tests.bench.report import Row, Table, machine
from tests.bench.servers import kafka
from tests.support.live import Workers, eventually
from tests.support.sim_tapes import CONFIG

STAGE = TOPOLOGY.stage("features")
SPEED = 60
MEMBERSHIPS = {
    "dynamic, 6 s": Membership(6.0),
    "dynamic, 10 s": Membership(10.0),
    "static, 20 s": Membership(20.0, "w"),
    "static, 45 s": Membership(45.0, "w"),
    "static, 45 s, leaves": Membership(45.0, "w", leaves=True),
}
_LOOK_S = 0.2
_SETTLED_S = 4.0
_PATIENCE_S = 120.0


class Outage(NamedTuple):
    """Seconds during which a partition had no owner, and the longest stop of the stage's watermarks."""

    unowned: float
    stalled: float


class Observer:
    """Looks at the group and at the watermarks of the stage's output. Use as a context."""

    def __init__(self, cluster: Cluster, group: str, partitions: int) -> None:
        self._cluster, self._group, self._partitions = cluster, group, partitions
        self._admin = admin_client(cluster, "bench")
        self._open, self._began = True, time.monotonic()
        self._threads = [threading.Thread(target=each) for each in (self._owners, self._marks)]
        self._unowned = self._stalled = 0.0
        self._moved = time.monotonic()
        self.owned = False
        self.members = 0

    def __enter__(self) -> "Observer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._open = False
        for thread in self._threads:
            thread.join()

    def begin(self) -> None:
        """Count from here."""
        self._unowned = self._stalled = 0.0
        self._moved = time.monotonic()

    def outage(self) -> Outage:
        return Outage(self._unowned, max(0.0, self._stalled - 60 / SPEED))

    def settled(self, members: int) -> bool:
        """Whether the group has ``members`` that own everything, and time goes on."""
        return self.owned and self.members == members and time.monotonic() - self._moved < 2 * 60 / SPEED

    def _owners(self) -> None:
        looked = time.monotonic()
        while self._open:
            try:
                answer = self._admin.describe_consumer_groups([self._group], request_timeout=5)
                found = answer[self._group].result()
            except KafkaException:  # no group yet, or a broker that is slow on a busy machine
                continue
            mine = {
                part.partition
                for member in found.members
                for part in (member.assignment.topic_partitions if member.assignment else ())
                if part.topic == self._cluster.layout.wire_name(STAGE.trigger)
            }
            now = time.monotonic()
            self.members = len(found.members)
            self.owned = found.state is ConsumerGroupState.STABLE and len(mine) == self._partitions
            self._unowned += 0.0 if self.owned else now - looked
            looked = now
            time.sleep(_LOOK_S)

    def _marks(self) -> None:
        consumer, wire = new_consumer(self._cluster), self._cluster.layout.wire_name("features")
        consumer.assign([TopicPartition(wire, part, 0) for part in range(self._partitions)])
        newest, lowest = dict.fromkeys(range(self._partitions), 0), 0
        try:
            while self._open:
                record = consumer.poll(_LOOK_S)
                now = time.monotonic()
                self._stalled = max(self._stalled, now - self._moved)
                if record is None or record.error() is not None:
                    continue
                label = label_of(record.key(), record.value(), record.headers() or [])
                if label is not None:
                    newest[record.partition() or 0] = label
                    if min(newest.values()) > lowest:
                        lowest, self._moved = min(newest.values()), now
        finally:
            consumer.close()


class Crew:
    """The workers of the stage, by number."""

    def __init__(self, workers: Workers, membership: Membership) -> None:
        self._workers, self._membership = workers, membership
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *numbers: int) -> None:
        kind = self._membership
        for number in numbers:
            extra = {TIMEOUT: f"{kind.session_timeout_s:g}"}
            if kind.instance:
                extra |= {INSTANCE: f"{kind.instance}-{number}", LEAVE: "yes" if kind.leaves else "no"}
            self.running[number] = self._workers.start("features", disk=f"disk-{number}", extra=extra)

    def end(self, how: signal.Signals, *numbers: int) -> None:
        ended = [self.running.pop(number) for number in numbers]
        for process in ended:
            process.send_signal(how)
        for process in ended:
            process.wait(30)


def events(crew: Crew) -> Iterator[tuple[str, int]]:
    """Does one thing after the other; yields its name and how many members the group should have then."""
    crew.end(signal.SIGTERM, 2)
    crew.start(2)
    yield "stopped and started again", 2
    crew.end(signal.SIGKILL, 2)
    crew.start(2)
    yield "killed and started again", 2
    crew.start(3, 4)
    yield "2 -> 4", 4
    crew.end(signal.SIGTERM, 3, 4)
    yield "4 -> 2 for good", 2


def measure(bootstrap: str, kind: str, membership: Membership, tape: Tape) -> Table:
    """One pipeline. Raises AssertionError where a change is not over in time, or a digest differs."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="tapedeck-scaling-") as folder:
        workers = Workers(bootstrap, f"scale{uuid.uuid4().hex[:8]}", Path(folder), CONFIG)
        cluster, crew = workers.cluster, Crew(workers, membership)
        group, partitions = cluster.layout.group("features"), cluster.layout.partitions("features")
        playing = threading.Event()
        player = threading.Thread(target=_play, args=(cluster, tape, playing))
        try:
            crew.start(1, 2)
            player.start()
            with Observer(cluster, group, partitions) as observer:
                eventually(lambda: observer.settled(2), "two workers that own everything", _PATIENCE_S)
                time.sleep(_SETTLED_S)
                observer.begin()
                for name, members in events(crew):
                    eventually(lambda n=members: observer.settled(n), f"{kind}: {name}", _PATIENCE_S)  # type: ignore[misc]
                    time.sleep(_SETTLED_S)
                    found = observer.outage()
                    rows.append(Row(name, found.unowned, "s", note=f"stall {found.stalled:.1f} s"))
                    print(f"{kind}: {name}: {found.unowned:.1f} s, stall {found.stalled:.1f} s", flush=True)
                    observer.begin()
            playing.set()
            player.join()
            rows.append(Row("features", _agree(cluster), "records", "equal to a rebuild", met=True))
        finally:
            playing.set()
            workers.stop()
    return Table(f"without an owner, {kind}", tuple(rows))


def _play(cluster: Cluster, tape: Tape, ended: threading.Event) -> None:
    """Play at ``SPEED`` until told to end; the minute that is played then is written to its end."""

    class Ended(Exception):
        """There is no use for more."""

    def sleep(seconds: float) -> None:
        if ended.wait(seconds):
            raise Ended

    with KafkaLogWriter(cluster, Origin("bench", "0", "")) as writer:
        player = Player(tape, writer, Pace(SPEED), sleep=sleep)
        try:
            player.play(lambda: last_watermarks(cluster, PLAYED))
        except Ended:
            return


def _agree(cluster: Cluster) -> int:
    """Live outputs and table equal a rebuild of what was played; how many records."""
    source = KafkaSource(cluster)

    def equal() -> bool:
        rebuilt = rebuild_stage(STAGE, source, CONFIG, xnys())
        live = live_outputs("features", source).hexdigest()
        return rebuilt.digests()["features"] == live and rebuilt.state == of_state(live_state(STAGE, source))

    eventually(equal, "the digests of a rebuild", _PATIENCE_S)
    return len(live_outputs("features", source))


def main(words: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling", description=__doc__)
    parser.add_argument("--only", choices=MEMBERSHIPS)
    told = parser.parse_args(words)
    chosen = {told.only: MEMBERSHIPS[told.only]} if told.only else MEMBERSHIPS
    tape = generate(7)
    tape = replace(tape, history=tape.history[-60 * len(tape.symbols) :])
    print(machine(), flush=True)
    with kafka() as bootstrap:
        tables = [measure(bootstrap, kind, each, tape) for kind, each in chosen.items()]
    print("\n\n".join(map(str, tables)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
