"""One task of a stage in memory, with a crash possible between every two effects.

The order of effects is the live driver's: outputs, changelog, table on disk, acks.
"""

from collections.abc import Iterator

from streams.config.document import Config
from streams.contract import Message, Out, Stage, StageSpec
from streams.frame import precedence
from streams.merge import Merge, Part, parts_of
from streams.sessions import Calendar
from streams.shell import Effects, Shell
from streams.sim.log import MemoryLog
from streams.topology import MARKET_STAGES, make_stage, spec_of
from streams.wire import Origin, Wire, Wires
from topics.catalogue import topic


class Crash(Exception):
    """The simulated process dies here."""


class MemoryStore:
    """A table in memory, partition by partition: the Store of the rebuild and sim drivers."""

    def __init__(self) -> None:
        self.values: dict[tuple[int, bytes], bytes] = {}

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self.values.get((partition, key))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for (_, key), value in self.values.items():
            yield key, value

    def put(self, partition: int, key: bytes, value: bytes) -> None:
        self.values[partition, key] = value


class Fuse:
    """Burns one step per effect and raises Crash when it is through; None never crashes."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps

    def burn(self) -> None:
        if self.left is not None:
            if self.left == 0:
                self.left = None
                raise Crash
            self.left -= 1


class SimTask:
    """A stage over some trigger partitions: reads, applies, performs the effects one by one."""

    def __init__(
        self,
        spec: StageSpec,
        stage: Stage,
        log: MemoryLog,
        parts: tuple[int, ...],
        *,
        only_key: bytes | None = None,
        source: str = "sim",
    ) -> None:
        self.spec, self._stage, self._log = spec, stage, log
        self.home = parts[0]
        self._only_key = only_key
        partitions = {name: log.layout.partitions(name) for name in spec.inputs}
        self._inputs = parts_of(spec, parts, partitions)
        self._wires = Wires(spec, log.layout, Origin(source, "sim", ""), self.home)
        self.disk = MemoryStore()
        self.committed: dict[Part, int] = {(n, p): 0 for n, ps in self._inputs.items() for p in ps}
        self.counts: dict[str, int] = {}
        self.crashes = 0
        self._start()

    def _start(self) -> None:
        self._shell = Shell(self.spec, self._stage, self.disk, self.home)
        self._merge = Merge(self.spec, self._inputs, self._shell.labels())
        self._position = dict(self.committed)
        self._requests: list[Out] = []

    def restart(self, *, empty_disk: bool, rewind: int = 0) -> None:
        """Come back after a crash: on the same disk, or on an empty one restored from the changelog.

        ``rewind`` redelivers that many already acked messages per partition.
        """
        self.crashes += 1
        if empty_disk:
            self.disk = MemoryStore()
            self._recover()
        for part, offset in self.committed.items():
            self.committed[part] = max(0, offset - rewind)
        self._start()

    def _recover(self) -> None:
        for message in self._log.messages(self.spec.changelog):
            key, value = message.key or b"", message.value
            assert value is not None
            if self.spec.scale == "partition" and message.partition != self.home:
                continue
            if self._only_key is not None and key != self._only_key:
                continue
            known = self.disk.get(message.partition, key)
            if known is None or precedence(value) >= precedence(known):
                self.disk.put(message.partition, key, value)

    def idle(self) -> bool:
        """Nothing to read."""
        return all(self._position[n, p] >= self._log.end(n, p) for n, p in self._position)

    def ready(self) -> bool:
        """Something that was read can be applied."""
        return self._merge.ready()

    def poll(self, n: int) -> None:
        """Read up to ``n`` new messages of each input partition."""
        for name, partition in self._position:
            for message in self._log.read(name, partition, self._position[name, partition], n):
                self._position[name, partition] = message.offset + 1
                if self._only_key is None or message.key == self._only_key:
                    self._merge.put(message)

    def step(self, n: int, fuse: Fuse | None = None) -> bool:
        """Apply up to ``n`` ready items; True where something was done. Raises Crash at the fuse."""
        items = self._merge.take(n, stop_at_mark=self.spec.period is not None)
        if not items:
            return False
        self._perform(self._shell.apply(items), fuse or Fuse())
        return True

    def _perform(self, effects: Effects, fuse: Fuse) -> None:
        for wire in self._wires.of(effects, 0):
            fuse.burn()
            self._log.append(wire)
        for dead in effects.dead:
            fuse.burn()
            self._log.append(_dead_wire(dead.message))
        for write in effects.writes:
            fuse.burn()
            self._log.append(Wire(self.spec.changelog, write.partition, write.key, write.value, 0, []))
        for write in effects.writes:
            fuse.burn()
            self.disk.put(write.partition, write.key, write.value)
        for name, count in effects.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for message in effects.acks:
            fuse.burn()
            part = (message.topic, message.partition)
            self.committed[part] = max(self.committed[part], message.offset + 1)
        self._requests.extend(effects.requests)

    def take_requests(self) -> list[Out]:
        """The requests since the last call; a crash loses them, as it loses a process's memory."""
        taken, self._requests = self._requests, []
        return taken


def _dead_wire(message: Message) -> Wire:
    partition = message.partition
    return Wire("dead_letters", partition, message.topic.encode(), message.value, message.timestamp, [])


def drain(tasks: list[SimTask], n: int = 1000) -> None:
    """Run all tasks without faults until none can do anything."""
    while True:
        busy = False
        for task in tasks:
            if not task.idle():
                task.poll(n)
            while task.step(n):
                busy = True
        if not busy:
            return


def tasks_of(spec: StageSpec, stage: Stage, log: MemoryLog) -> list[SimTask]:
    """The tasks of a stage: one per trigger partition, or one in all for a single stage."""
    assert topic(spec.trigger).watermarked
    partitions = range(log.layout.partitions(spec.trigger))
    if spec.scale == "single":
        return [SimTask(spec, stage, log, tuple(partitions))]
    return [SimTask(spec, stage, log, (partition,)) for partition in partitions]


def market_tasks(log: MemoryLog, config: Config, calendar: Calendar) -> list[SimTask]:
    """All tasks of all market stages over ``log``, in the order of the topology."""
    stages = ((spec_of(name), make_stage(name, config, calendar)) for name in MARKET_STAGES)
    return [task for spec, stage in stages for task in tasks_of(spec, stage, log)]
