"""A regression tape in memory, and the digests of what the rebuild and sim drivers produce from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import NamedTuple

from tapedeck.connectors.recorded.format import Digest, RecordedTape
from tapedeck.connectors.recorded.window import with_texts
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import run_task, tasks_of
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.topology import Topology, make
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import WATERMARK_KEY


@dataclass
class Left:
    """What a driver produced: every output topic, every table (the accounts' as ``account``)."""

    topics: dict[str, Digest] = field(default_factory=dict)
    tables: dict[str, Digest] = field(default_factory=dict)


class Differs(NamedTuple):
    """One topic or table with an unexpected digest; None if a side has none."""

    what: str
    expected: Digest | None
    found: Digest | None

    def __str__(self) -> str:
        return f"{self.what}: expected {_told(self.expected)}, found {_told(self.found)}"


def differences(topology: Topology, expected: Left, found: Left) -> list[Differs]:
    """Where two runs differ, in the order of the pipeline: look at the first difference."""
    names = [(f"topic {name}", name, True) for spec in topology for name in spec.outputs]
    names += [(f"table {spec.name}", spec.name, False) for spec in topology]
    out = []
    for what, name, is_topic in names:
        ours, theirs = ((e.topics if is_topic else e.tables).get(name) for e in (expected, found))
        if ours != theirs and not _is_nothing_new(ours, theirs):
            out.append(Differs(what, ours, theirs))
    return out


def _is_nothing_new(ours: Digest | None, theirs: Digest | None) -> bool:
    """Whether a stage that the tape does not know, because it is younger, found nothing on it."""
    return ours is None and theirs is not None and theirs.count == 0


def rebuilt(topology: Topology, tape: RecordedTape, calendar: Calendar) -> Left:
    """The rebuild driver over the tape; each stage reads what the earlier ones wrote."""
    left, held, config = Left(), with_texts(tape.messages, tape.layout), tape.config
    for spec in _stages(topology, tape):
        source, written = MemorySource(tape.layout, held), list[Block]()
        rows = {name: Rows() for name in spec.outputs}
        values: dict[bytes, bytes] = {}
        for task in tasks_of([spec], tape.layout, config):
            if task.account_id is None or task.account_id in tape.manifest.accounts:
                result = run_task(task, config, calendar, source, sink=written.append, spool=TemporaryFile)
                for (name, _), part in result.outputs.items():
                    rows[name].absorb(part)
                values |= {key: value for (_, key), value in result.values.items()}
        held += _in_log_order(written)
        left.topics |= {
            name: Digest(count=len(found), sha256=found.hexdigest()) for name, found in rows.items()
        }
        left.tables[spec.name] = _of_values(values)
    return left


def simulated(topology: Topology, tape: RecordedTape, calendar: Calendar) -> Left:
    """The sim driver over the tape, without faults."""
    log = MemoryLog(tape.layout)
    for message in with_texts(tape.messages, tape.layout):
        log.append(_wire(message))
    tasks = {spec: list[SimTask]() for spec in _stages(topology, tape)}
    for task in market_tasks(topology, log, tape.config, calendar):
        tasks[task.spec].append(task)
    for spec in topology.accounts:
        for account_id in tape.manifest.accounts:
            home = tape.layout.partition(spec.trigger, {"account_id": account_id})
            stage = make(spec, tape.config, calendar, account_id)
            tasks[spec].append(SimTask(spec, stage, log, (home,), only_key=account_id.encode()))
    drain([task for each in tasks.values() for task in each])
    left = Left()
    for spec, mine in tasks.items():
        for name in spec.outputs:
            outputs = of_messages(name, log.messages(name))
            left.topics[name] = Digest(count=len(outputs), sha256=outputs.hexdigest())
        left.tables[spec.name] = _of_values({k: v for task in mine for k, v in task.disk.items()})
    return left


def expected(tape: RecordedTape) -> Left:
    """What the manifest says."""
    return Left(dict(tape.manifest.topics), dict(tape.manifest.tables))


def _stages(topology: Topology, tape: RecordedTape) -> tuple[StageSpec, ...]:
    return topology.stages if tape.manifest.accounts else topology.market


def _of_values(values: Mapping[bytes, bytes]) -> Digest:
    return Digest(count=len(values.keys() - {WATERMARK_KEY}), sha256=of_state(values))


def _in_log_order(blocks: Iterable[Block]) -> list[Message]:
    messages = (message for block in blocks for message in block.messages())
    return sorted(messages, key=lambda m: (m.topic, m.partition, m.offset))


def _wire(m: Message) -> Wire:
    return Wire(m.topic, m.partition, m.key, m.value, m.timestamp, list(m.headers))


def _told(digest: Digest | None) -> str:
    return "nothing" if digest is None else f"{digest.count} records {digest.sha256[:16]}"
