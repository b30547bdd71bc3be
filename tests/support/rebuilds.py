"""A small recorded run in memory for the tests of rebuild: what live would have written to a cluster."""

from dataclasses import dataclass, replace
from functools import cache

from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.columnar.task import tasks_of
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.task import drain, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.verdict import Basis, Verdict
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.sim_tapes import CONFIG, small_tape, written

LAYOUT = Layout()
TASKS = tasks_of(TOPOLOGY.market, LAYOUT, CONFIG)
PLAYED, WAITING = 45, 5


@dataclass(frozen=True)
class Recorded:
    """Messages by topic partition, and what each group has committed."""

    messages: dict[Part, tuple[Message, ...]]
    committed: dict[TaskId, dict[Part, int | None]]

    def basis(self) -> Basis:
        held = (message for part in sorted(self.messages) for message in self.messages[part])
        return Basis(CONFIG, xnys(), MemorySource(LAYOUT, held, size=200), TOPOLOGY)

    def verified(self, task: TaskId) -> Verdict:
        return verify_task(task, self.basis(), committed=self.committed[task])

    def with_messages(self, part: Part, messages: list[Message]) -> "Recorded":
        """The same with one partition's messages replaced and renumbered."""
        first = self.messages[part][0].offset
        anew = tuple(m._replace(offset=first + n) for n, m in enumerate(messages))
        return replace(self, messages=self.messages | {part: anew})


@cache
def recorded() -> Recorded:
    """Stages at rest after some minutes, and a few more minutes of unread sources."""
    tape = small_tape()
    log = written(tape, minutes=slice(40, 40 + PLAYED), history_tail=120)
    tasks = market_tasks(TOPOLOGY, log, CONFIG, xnys())
    drain(tasks)
    writer = log.writer()
    for minute in tape.minutes[40 + PLAYED : 40 + PLAYED + WAITING]:
        for bar in minute.bars:
            writer.send("bars", bar)
        for name in ("bars", "universe"):
            writer.watermark(name, minute.label)
    messages = {
        (each.name, part): tuple(log.read(each.name, part, 0))
        for each in CATALOGUE
        for part in range(LAYOUT.partitions(each.name))
    }
    by_task = {(task.spec.name, task.home): dict(task.committed) for task in tasks}
    return Recorded(
        {part: held for part, held in messages.items() if held},
        {task: dict(by_task[task.stage, task.home]) for task in TASKS},
    )
