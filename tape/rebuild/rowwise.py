"""The rebuild driver: stages recomputed from their source topics in bulk, without Faust.

Reads with librdkafka, keeps state in memory, and gives digests of state and outputs to hold against
what the live driver wrote.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from connectors.reading import ends, new_consumer, read_parts, read_topic
from schemas.codec import PREFIX
from streams.config.document import Config
from streams.contract import Message, Stage, StageSpec
from streams.digests import OutputDigest, of_messages, of_state
from streams.frame import precedence
from streams.merge import Merge, parts_of
from streams.sessions import Calendar
from streams.shell import Shell
from streams.sim.task import MemoryStore
from streams.topology import make_account, make_stage, spec_of
from streams.wire import Origin, Wires
from topics.catalogue import WATERMARK_KEY, Layout

_BATCH = 20_000


@dataclass
class Rebuilt:
    """What a stage gives from its source topics: digests of outputs per topic and of state."""

    stage: str
    outputs: dict[str, OutputDigest] = field(default_factory=dict)
    values: dict[bytes, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    watermark: int | None = None

    @property
    def state(self) -> str:
        """The digest of the rebuilt table."""
        return of_state(self.values)

    def digests(self) -> dict[str, str]:
        """Digest by output topic, and of the table under ``state``."""
        return {name: digest.hexdigest() for name, digest in self.outputs.items()} | {"state": self.state}


class Rebuilder:
    """One task of a stage in memory."""

    def __init__(self, spec: StageSpec, stage: Stage, layout: Layout, home: int, result: Rebuilt) -> None:
        partitions = {name: layout.partitions(name) for name in spec.inputs}
        self._spec, self._result = spec, result
        self._store = MemoryStore()
        self._shell = Shell(spec, stage, self._store, home)
        self.inputs = parts_of(spec, (home,), partitions)
        self._merge = Merge(spec, self.inputs, {})
        self._wires = Wires(spec, layout, Origin("rebuild", "", ""), home)

    def put(self, messages: Iterable[Message]) -> None:
        """Take messages in and do what is ready."""
        for message in messages:
            self._merge.put(message)
        while items := self._merge.take(_BATCH, stop_at_mark=self._spec.period is not None):
            effects = self._shell.apply(items)
            for wire in self._wires.of(effects, 0):
                if wire.value is not None:
                    event_id = dict(wire.headers)["ce_id"].decode()
                    self._result.outputs[wire.topic].add(wire.key, event_id, wire.value[PREFIX.size :])
            for write in effects.writes:
                self._store.put(write.partition, write.key, write.value)
            self._result.counts.update(effects.counts)
            self._result.watermark = effects.watermark or self._result.watermark

    def finish(self) -> None:
        """Hand the state over."""
        self._result.values.update((k, v) for k, v in self._store.items() if k != WATERMARK_KEY)


def _run(spec: StageSpec, stage: Stage, source: "Source", only_key: bytes | None = None) -> Rebuilt:
    result = Rebuilt(spec.name, {name: OutputDigest() for name in spec.outputs})
    homes = (0,) if spec.scale == "single" else tuple(range(source.layout.partitions(spec.trigger)))
    for home in homes:
        task = Rebuilder(spec, stage, source.layout, home, result)
        for chunk in source.read({(n, p) for n, ps in task.inputs.items() for p in ps}):
            task.put(m for m in chunk if only_key is None or m.key == only_key)
        task.finish()
    return result


@dataclass(frozen=True)
class Source:
    """Where the recorded topics are."""

    bootstrap: str
    layout: Layout

    def read(self, parts: set[tuple[str, int]]) -> Iterable[list[Message]]:
        """Chunks of all messages of ``parts``."""
        consumer = new_consumer(self.bootstrap)
        try:
            known = ends(consumer, self.layout, tuple(sorted({name for name, _ in parts})))
        finally:
            consumer.close()
        return read_parts(self.bootstrap, self.layout, {part: known[part] for part in parts})


def rebuild_stage(name: str, source: Source, config: Config, calendar: Calendar) -> Rebuilt:
    """A market stage from its source topics."""
    return _run(spec_of(name), make_stage(name, config, calendar), source)


def rebuild_account(account_id: str, source: Source, config: Config, calendar: Calendar) -> Rebuilt:
    """One account's stage from its recorded inbox: no broker, the order in which it happened."""
    stage = make_account(account_id, config, calendar)
    return _run(spec_of("account"), stage, source, only_key=account_id.encode())


def live_outputs(name: str, source: Source) -> OutputDigest:
    """The digest of what a topic holds."""
    return of_messages(name, read_topic(source.bootstrap, source.layout, name))


class Winners:
    """A table as its changelog restores it: per key the value with the highest (epoch, cursor sum)."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def add(self, message: Message) -> None:
        """The next record of its changelog partition; of two equals the later one wins."""
        if message.key is None or message.value is None:
            return
        known = self._values.get(message.key)
        if known is None or precedence(message.value) >= precedence(known):
            self._values[message.key] = message.value

    def values(self) -> dict[bytes, bytes]:
        """The framed values by key, the ``~watermark`` value left out."""
        return {key: value for key, value in self._values.items() if key != WATERMARK_KEY}


def live_state(stage: str, source: Source) -> dict[bytes, bytes]:
    """The table of a stage, from its changelog."""
    found = Winners()
    for message in read_topic(source.bootstrap, source.layout, spec_of(stage).changelog):
        found.add(message)
    return found.values()
