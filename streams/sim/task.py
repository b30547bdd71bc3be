"""One task of a stage in memory, with a crash possible between every two effects.

The order of effects is the live driver's: outputs, changelog, table on disk, acks.
"""

from collections.abc import Iterator

from tapedeck.streams.changelog import is_control, settle, wins
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Merge, Part, parts_of
from tapedeck.streams.protocol import Message, Stage, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.shell import Effects, Produced, Shell, Write
from tapedeck.streams.sim.crash import Crash, Fuse, Point
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.topology import Topology, make
from tapedeck.streams.wire import Origin, Wire, Wires
from tapedeck.topics.catalogue import topic


class MemoryStore:
    """A table in memory, partition by partition: the Store of the rebuild and sim drivers.

    ``offsets``: the changelog offset per partition from which a recovery continues.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.offsets: dict[int, int] = {}

    def copied(self) -> "MemoryStore":
        """A copy of the disk as it is now."""
        fresh = MemoryStore()
        fresh.values, fresh.offsets = dict(self.values), dict(self.offsets)
        return fresh

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self.values.get((partition, key))

    def items(self, partition: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """(key, framed value) of one partition, or of all."""
        for (home, key), value in self.values.items():
            if partition is None or home == partition:
                yield key, value

    def put(self, partition: int, key: bytes, value: bytes) -> None:
        self.values[partition, key] = value


Effect = tuple[Point, Wire | Write | Message]
"""One effect of a batch: a record to write, a table value to put, a message to ack."""


class SimTask:
    """A stage over some trigger partitions: reads, applies, performs the effects one by one.

    ``disk`` survives a crash and ``committed`` is on the broker; everything else is process memory.
    """

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
        self._parts, self.home = parts, parts[0]
        self._only_key = only_key
        partitions = {name: log.layout.partitions(name) for name in spec.inputs}
        self.inputs = parts_of(spec, parts, partitions)
        every = range(log.layout.partitions(spec.changelog))
        self._tables = tuple(every) if spec.scale == "single" and only_key is None else (self.home,)
        self._wires = Wires(spec, log.layout, Origin(source, "sim", ""), self.home)
        self.disk = MemoryStore()
        self.committed: dict[Part, int] = {(n, p): 0 for n, ps in self.inputs.items() for p in ps}
        self.counts: dict[str, int] = {}
        self.crashes = 0
        self._recovered: dict[int, int] = {}
        self._start()

    def _start(self) -> None:
        self._shell = self._new_shell()
        self._merge = self._new_merge()
        self._position = dict(self.committed)
        self._requests: list[Produced] = []
        self._left: list[Effect] = []
        self._ahead: dict[int, int] = {}

    def _new_shell(self) -> Shell:
        return Shell(self.spec, self._stage, self.disk, self.home, self._log.ids)

    def _new_merge(self) -> Merge:
        return Merge(self.spec, self.inputs, self._shell.resume())

    def go_on_from(self, other: "SimTask") -> None:
        """Start from the position of ``other``, on a copy of its disk; both logs begin alike."""
        self.disk, self.committed = other.disk.copied(), dict(other.committed)
        self._start()

    def restored(self) -> MemoryStore:
        """The table that a worker with an empty disk would restore."""
        fresh = type(self)(self.spec, self._stage, self._log, self._parts, only_key=self._only_key)
        fresh._recover(Fuse())
        return fresh.disk

    def unread(self) -> list[Part]:
        """Input partitions with records for this task after the committed offset."""
        return [
            part
            for part, offset in self.committed.items()
            if any(self._only_key in (None, message.key) for message in self._log.read(*part, offset))
        ]

    def restart(
        self,
        *,
        empty_disk: bool = False,
        disk: MemoryStore | None = None,
        rewind: int = 0,
        fuse: Fuse | None = None,
    ) -> None:
        """Restart after a crash on the same disk, an empty one or ``disk``; read the rest of the changelog.

        ``rewind`` redelivers that many already acked messages per partition. Raises Crash when the fuse
        burns down.
        """
        self.crashes += 1
        if empty_disk:
            self.disk = MemoryStore()
        elif disk is not None:
            self.disk = disk.copied()
        for part, offset in self.committed.items():
            self.committed[part] = max(0, offset - rewind)
        self._recover(fuse or Fuse())
        self._start()

    def _recover(self, fuse: Fuse) -> None:
        """Restore the newest winner of every key, then do what a table's owner does before anything else."""
        outrun: dict[tuple[int, bytes], None] = {}
        whole = [partition for partition in self._tables if partition not in self.disk.offsets]
        for partition in self._tables:
            start = self.disk.offsets.get(partition, 0)
            for message in self._log.read(self.spec.changelog, partition, start):
                fuse.burn(Point.RECOVERY)
                self.disk.offsets[partition] = message.offset + 1
                self._restore(partition, message, outrun)
        self._settle(fuse)
        for partition, key in sorted(outrun):
            fuse.burn(Point.REWRITE)
            self._log.append(self._changelog(partition, key, self.disk.get(partition, key)))
        self._recovered |= {p: self._log.end(self.spec.changelog, p) for p in whole}

    def _restore(self, partition: int, message: Message, outrun: dict[tuple[int, bytes], None]) -> None:
        """Apply one changelog record to the disk; ``outrun`` collects the keys whose newest record lost."""
        key, value = message.key or b"", message.value
        if self._only_key is not None and key != self._only_key:
            return
        if value is None:
            if is_control(key):
                self.disk.values.pop((partition, key), None)
        elif is_control(key) or self._wins(value, self.disk.get(partition, key)):
            self.disk.put(partition, key, value)
            outrun.pop((partition, key), None)
        else:
            outrun[partition, key] = None

    def _wins(self, value: bytes, known: bytes | None) -> bool:
        return wins(value, known)

    def _settle(self, fuse: Fuse) -> None:
        """Activate an applied rebuild, or remove what is left of one that never took effect."""
        settled = settle(self.disk, self.home, self._tables)
        for (partition, key), value in settled.promoted.items():
            fuse.burn(Point.REWRITE)
            self._log.append(self._changelog(partition, key, value))
        for (partition, key), value in settled.promoted.items():
            self.disk.put(partition, key, value)
        for partition, key in settled.nulls:
            fuse.burn(Point.REWRITE)
            self._log.append(self._changelog(partition, key, None))
        for each in (*settled.nulls, *settled.dropped):
            self.disk.values.pop(each, None)

    def _changelog(self, partition: int, key: bytes, value: bytes | None) -> Wire:
        return Wire(self.spec.changelog, partition, key, value, 0, [])

    def idle(self) -> bool:
        """Whether there is nothing to read."""
        return all(position >= self._log.end(*part) for part, position in self._position.items())

    def ready(self) -> bool:
        """Whether something that was read can be applied."""
        return self._merge.ready()

    def compact(self) -> int:
        """Let the broker compact the changelog; returns how many records were removed.

        Records keep their compaction lag: those written after the last recovery from an empty disk stay.
        """
        return sum(self._log.compact(self.spec.changelog, p, end) for p, end in self._recovered.items())

    def unwritten(self) -> list[Wire]:
        """What the dead process still had to write to the log: a frozen one may write it later."""
        return [effect for _, effect in self._left if isinstance(effect, Wire)]

    def write_late(self, wire: Wire) -> None:
        """Append a record of a process that no longer owns its partitions."""
        self._log.append(wire)

    def poll(self, n: int) -> None:
        """Read up to ``n`` new messages of each input partition."""
        for part in self._position:
            self.poll_part(part, n)

    def poll_part(self, part: Part, n: int) -> None:
        """Read up to ``n`` new messages of one input partition."""
        for message in self._log.read(*part, self._position[part], n):
            self._position[part] = message.offset + 1
            if self._only_key is None or message.key == self._only_key:
                self._merge.put(message)

    def waiting(self) -> list[Part]:
        """Input partitions with something to read."""
        return [part for part in self._position if self._position[part] < self._log.end(*part)]

    def step(self, n: int, fuse: Fuse | None = None) -> bool:
        """Apply up to ``n`` ready items; True if anything was done. Raises Crash at the fuse."""
        items = self._merge.take(n, stop_at_mark=self.spec.period is not None)
        if not items:
            return False
        effects = self._shell.apply(items)
        self._perform(self._in_order(effects), fuse or Fuse())
        for name, count in effects.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self._requests.extend(effects.requests)
        return True

    def _in_order(self, effects: Effects) -> list[Effect]:
        """All effects of a batch in the order in which they must happen."""
        return [
            *((Point.OUTPUT, wire) for wire in self._wires.of(effects, 0)),
            *((Point.DEAD_LETTER, _dead_wire(dead.message)) for dead in effects.dead),
            *((Point.CHANGELOG, self._changelog(*write)) for write in effects.writes),
            *((Point.TABLE, write) for write in effects.writes),
            *((Point.ACK, message) for message in effects.acks),
        ]

    def _perform(self, order: list[Effect], fuse: Fuse) -> None:
        for done, (point, effect) in enumerate(order):
            try:
                fuse.burn(point)
            except Crash:
                self._left = order[done:]
                raise
            if isinstance(effect, Wire):
                offset = self._log.append(effect).offset
                if point is Point.CHANGELOG:
                    self._ahead[effect.partition] = offset + 1
            elif isinstance(effect, Write):
                self.disk.put(*effect)
            else:
                self.disk.offsets |= self._ahead
                part = (effect.topic, effect.partition)
                self.committed[part] = max(self.committed[part], effect.offset + 1)
        self.disk.offsets |= self._ahead
        fuse.burn(Point.DONE)

    def take_requests(self) -> list[Produced]:
        """The requests since the last call. A crash loses them, like everything in memory."""
        taken, self._requests = self._requests, []
        return taken


def _dead_wire(message: Message) -> Wire:
    partition = message.partition
    return Wire("dead_letters", partition, message.topic.encode(), message.value, message.timestamp, [])


def drain(tasks: list[SimTask], n: int = 1000) -> None:
    """Run all tasks without faults until none has anything left to do."""
    while True:
        busy = False
        for task in tasks:
            if not task.idle():
                task.poll(n)
            while task.step(n):
                busy = True
        if not busy:
            return


def tasks_of(
    spec: StageSpec, stage: Stage, log: MemoryLog, task_type: type[SimTask] = SimTask
) -> list[SimTask]:
    """The tasks of a stage: one per trigger partition, or a single one for a single stage."""
    assert topic(spec.trigger).watermarked
    partitions = range(log.layout.partitions(spec.trigger))
    if spec.scale == "single":
        return [task_type(spec, stage, log, tuple(partitions))]
    return [task_type(spec, stage, log, (partition,)) for partition in partitions]


def market_tasks(topology: Topology, log: MemoryLog, config: Config, calendar: Calendar) -> list[SimTask]:
    """All tasks of all market stages over ``log``, in the order of the topology."""
    made = ((spec, make(spec, config, calendar)) for spec in topology.market)
    return [task for spec, stage in made for task in tasks_of(spec, stage, log)]
