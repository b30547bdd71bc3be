"""Workers of a stage that come and go, and what is seen of it: owners of partitions, and watermarks."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaException, TopicPartition

from tapedeck.agents.membership import DYNAMIC, INSTANCE, LEAVE, TIMEOUT, Membership
from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import new_consumer
from tapedeck.connectors.tapes.marks import last_watermarks, optional_inputs
from tapedeck.connectors.tapes.player import PLAYED, Pace, Player
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import label_of
from tapedeck.streams.wire import Origin
from tests.support.live import Workers

SPEED = 60
MINUTE_S = 60 / SPEED
_LOOK_S = 0.2


class Outage(NamedTuple):
    """Seconds during which a partition had no owner, and the longest stop of the stage's watermarks."""

    unowned: float
    stalled: float


class Observer:
    """Looks at the group of a stage and at the watermarks of its first output. Use as a context."""

    def __init__(self, cluster: Cluster, stage: str) -> None:
        spec, self._cluster = TOPOLOGY.stage(stage), cluster
        self._group, self._trigger, self._output = cluster.layout.group(stage), spec.trigger, spec.outputs[0]
        self._partitions = cluster.layout.partitions(self._trigger)
        self._admin = admin_client(cluster, "bench")
        self._open = True
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
        return Outage(self._unowned, max(0.0, self._stalled - MINUTE_S))

    def settled(self, members: int) -> bool:
        """Whether the group has ``members`` that own everything, and time goes on."""
        return self.owned and self.members == members and time.monotonic() - self._moved < 2 * MINUTE_S

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
                if part.topic == self._cluster.layout.wire_name(self._trigger)
            }
            now = time.monotonic()
            self.members = len(found.members)
            self.owned = found.state is ConsumerGroupState.STABLE and len(mine) == self._partitions
            self._unowned += 0.0 if self.owned else now - looked
            looked = now
            time.sleep(_LOOK_S)

    def _marks(self) -> None:
        consumer, wire = new_consumer(self._cluster), self._cluster.layout.wire_name(self._output)
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
    """The workers of some stages, by number; each runs all of them."""

    def __init__(self, workers: Workers, *stages: str, membership: Membership = DYNAMIC) -> None:
        self._workers, self._stages, self._membership = workers, stages, membership
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *numbers: int) -> None:
        kind = self._membership
        for number in numbers:
            extra = {TIMEOUT: f"{kind.session_timeout_s:g}"}
            if kind.instance:
                extra |= {INSTANCE: f"{kind.instance}-{number}", LEAVE: "yes" if kind.leaves else "no"}
            self.running[number] = self._workers.start(
                *self._stages, disk=f"{self._stages[0]}-{number}", extra=extra
            )

    def end(self, how: signal.Signals, *numbers: int) -> None:
        ended = [self.running.pop(number) for number in numbers]
        for process in ended:
            process.send_signal(how)
        for process in ended:
            process.wait(30)

    def renew(self, how: signal.Signals, numbers: Iterable[int]) -> None:
        """End each in turn, and start it again."""
        for number in list(numbers):
            self.end(how, number)
            self.start(number)


class Playing:
    """A tape that is played at ``SPEED`` until it is told to end. Use as a context."""

    def __init__(self, cluster: Cluster, tape: Tape) -> None:
        self._cluster, self._tape, self._ended = cluster, tape, threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> "Playing":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()

    def end(self) -> None:
        """The minute that is played now is the last."""
        self._ended.set()
        self._thread.join()

    def _play(self) -> None:
        with (
            KafkaLogWriter(self._cluster, Origin("bench", "0", "")) as writer,
            optional_inputs(self._cluster, TOPOLOGY.optional, absent_after_s=0.0) as news,
        ):
            player = Player(self._tape, writer, Pace(SPEED), optional=news, sleep=self._sleep)
            try:
                player.play(lambda: last_watermarks(self._cluster, PLAYED))
            except _Ended:
                return

    def _sleep(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise _Ended


class _Ended(Exception):
    """There is no use for more of the tape."""
