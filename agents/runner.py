"""The live driver's one shell: a Faust channel in, a stage, and effects in the safe order.

Per batch: outputs acknowledged; the changelog acknowledged; the table written; the inputs acked. A batch
whose generation has ended is dropped unacked, and the next owner repeats it with identical results.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NoReturn, cast

from faust.types import TP, AppT, EventT

from tapedeck.agents.arrivals import WRONG_PARTITION, Strays, as_message
from tapedeck.agents.broadcast import Broadcasts
from tapedeck.agents.consumer import TapeConsumer
from tapedeck.agents.ending import Ending
from tapedeck.agents.gaps import Between, Guard, Hole, cursor_of, is_contiguous
from tapedeck.agents.patience import patiently
from tapedeck.agents.recovery import Recovered
from tapedeck.agents.settings import Settings
from tapedeck.agents.settling import Settler
from tapedeck.agents.table import PartitionedStore, ShellStore
from tapedeck.agents.tally import Figures
from tapedeck.agents.task import Task
from tapedeck.agents.writing import Writing
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.logs import NO_IDS, TopicIds
from tapedeck.streams.merge import Merge, Part, broadcast_joins, parts_of
from tapedeck.streams.protocol import Message, Stage, StageSpec
from tapedeck.streams.shell import Effects, Shell
from tapedeck.streams.watermarks import readable_punctuation
from tapedeck.streams.wire import Wires
from tapedeck.topics.catalogue import topic

log = logging.getLogger("tapedeck.runner")

BATCH = 2000
FAR_BEHIND = 50
WAIT_S = 0.001
FAR_WAITS = 40
NEAR_WAITS = 4
"""Waits for the rest of a minute: a fetch brings one partition first, and a separate batch costs more."""
_NOTHING = range(0)
_WAKE: Any = object()
"""Takes the place of an event: there is work that came another way."""

AfterBatch = Callable[[Effects], Awaitable[None]]
Probe = Callable[[str], None]
"""Called wherever a crash would leave effects half done; tests kill the process there."""


def no_probe(point: str) -> None:
    """Does nothing: the production probe."""


class StageRunner:
    """Runs one stage in one Faust app. ``only_key`` keeps one account's records; others are just acked."""

    def __init__(
        self,
        app: AppT,
        spec: StageSpec,
        stage: Stage,
        settings: Settings,
        *,
        store: Callable[[], ShellStore],
        outbox: Outbox,
        only_key: bytes | None = None,
        home: int = 0,
        after: AfterBatch | None = None,
    ) -> None:
        self.app, self.spec, self._stage, self._settings = app, spec, stage, settings
        self._store, self._only_key, self._after = store, only_key, after
        self._single_home = home
        self._layout = settings.layout
        self.writing = Writing(spec, self._layout, outbox)
        self.written = self.writing.written
        self._clock = SystemClock()
        self._partitions = {name: self._layout.partitions(name) for name in spec.inputs}
        self._generation: int | None = None
        self._events: dict[tuple[str, int, int], EventT[Any]] = {}
        self.guard = Guard(settings.cluster)
        self.expected: dict[Part, int] = {}
        self._watermarked = topic(spec.trigger).watermarked
        self._ended: dict[int, int | None] = {}
        self._held_back: set[Part] = set()
        self._queue: Any = None
        self._strays = Strays(self._layout)
        self._ending = Ending()
        self.ids: TopicIds = NO_IDS
        """The ids of the topics at process start, stored in the values that are written."""
        self.waits = False
        """Whether everything delivered is done, and the next message would be taken at once."""
        self.probe: Probe = no_probe
        self.tasks: dict[int, Task] = {}
        self.applied: dict[Part, int] = {}
        self.passed: dict[Part, range] = {}
        """Offsets after the last arrival of a partition that have no record, according to the log."""
        self.figures = Figures(spec, self.writing)
        self.broadcasts = Broadcasts(self, settings.cluster, broadcast_joins(spec, self._partitions))

    async def run(self, stream: Any) -> None:
        """The agent's body. It never returns; an unexpected error ends the process through the app."""
        await self._ending.guard()
        channel = aiter(stream.channel)
        self._queue = channel.queue
        while True:
            try:
                self.waits = self._queue.empty()
                event = await channel.get()
            except StopAsyncIteration:
                return  # the app stops
            self.waits = False
            try:
                await self._take(event)
                await self._drain(self._queue)
                await self._work()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self.fail(error)

    async def fail(self, error: Exception) -> NoReturn:
        """Log the reason and end the process through the app."""
        told = error if isinstance(error, TapeError) else repr(error)
        log.critical("the %s stage cannot continue: %s", self.spec.name, told, exc_info=error)
        await self._ending.give_up(self.app, error)

    def wake(self) -> None:
        """Make ``run`` look for work: something was put into a merge, or a task must be opened."""
        if self._queue is not None and self._queue.empty():
            self._queue.force_put_nowait(_WAKE)

    async def _drain(self, queue: Any) -> None:
        taken, waits = 1, 0
        while taken < BATCH:
            if queue.empty():
                if waits >= (FAR_WAITS if taken >= FAR_BEHIND else NEAR_WAITS if self._is_uneven() else 0):
                    return
                waits += 1
                await asyncio.sleep(WAIT_S)
                continue
            await self._take(queue.get_nowait())
            taken += 1

    def _is_uneven(self) -> bool:
        """Whether the trigger's partitions are within a minute, or at the ends of different ones."""
        return len(set(self._ended.values())) > 1 or None in self._ended.values()

    async def _take(self, event: EventT[Any]) -> None:
        """Put one event into its task's merge; events of an old generation are left unacked."""
        if event is _WAKE:
            self._open_generation()
            return
        record = event.message
        if record.generation_id != self.app.consumer_generation_id:
            return
        if record.generation_id != self._generation:
            self._begin_generation(record.generation_id)
        message = as_message(event, self._layout)
        name = message.topic
        if name == self.spec.trigger and self._watermarked:
            ended = readable_punctuation(message)
            self._ended[record.partition] = ended.label if ended is not None else None
        if self._strays.is_stray(message):
            self._task_of(name, record.partition).counts[WRONG_PARTITION] += 1
        for each in await self._guarded(message):
            if self._only_key is None or each.key == self._only_key:
                self._task_of(name, record.partition).merge.put(each)
        if self._only_key is not None and record.key != self._only_key:
            event.ack()
            return
        self._events[name, record.partition, record.offset] = event
        part = (name, record.partition)
        if self._task_of(*part).is_full(part):
            # Not pause_partitions: that drops what the fetcher already took of the partition.
            if part not in self._held_back:
                log.info("%s pauses %s/%d: a joined input is behind", self.spec.name, *part)
            self._held_back.add(part)
            self._consumer.on_buffer_full(TP(record.topic, record.partition))

    @property
    def _consumer(self) -> TapeConsumer:
        return cast(TapeConsumer, self.app.consumer)

    def _begin_generation(self, generation: int) -> None:
        """After a rebalance, start from the stored state: everything unacked will be delivered again."""
        self._generation = generation
        self.figures.generations += 1
        self.tasks.clear()
        self._events.clear()
        self.expected.clear()
        self._ended.clear()
        self.passed.clear()
        self.guard.forget()
        self._held_back.clear()
        self.broadcasts.forget()

    def _open_generation(self) -> None:
        """Begin with this worker's current partitions, without waiting for an event of theirs."""
        if self.parts() and not self.is_current():
            self._begin_generation(self.app.consumer_generation_id)
        self.open_tasks()

    def lacks_tasks(self) -> bool:
        """Whether this worker has a trigger partition without a task of this generation."""
        homes = {partition for name, partition in self.parts() if name == self.spec.trigger}
        return bool(homes) and not (self.is_current() and homes <= self.tasks.keys())

    def _task_of(self, name: str, partition: int) -> Task:
        """The task that reads a partition; for a broadcast join, the first of its tasks."""
        home = self._single_home if self.spec.scale == "single" else partition
        if (name, partition) in self.broadcasts:
            home = next(iter(self.tasks), 0)
        if home not in self.tasks:
            self.tasks[home] = self._new_task(home)
        return self.tasks[home]

    def _new_task(self, home: int) -> Task:
        inputs = parts_of(self.spec, (home,), self._partitions)
        tables = (
            range(self._layout.partitions(self.spec.changelog)) if self.spec.scale == "single" else (home,)
        )
        store = PartitionedStore(self._store(), (home,) if self._only_key else tuple(tables))
        shell = Shell(self.spec, self._stage, store, home, self.ids)
        resume = shell.resume()
        wires = Wires(self.spec, self._layout, self._settings.origin(self.spec.name), home)
        task = Task(home, shell, Merge(self.spec, inputs, resume), wires, inputs)
        labels = [label for (name, _), label in resume.labels.items() if name == self.spec.trigger]
        task.watermark = min(labels, default=None)
        self.broadcasts.open(home, resume.labels)
        log.info("%s/%d starts at %s", self.spec.name, home, task.watermark)
        return task

    async def _guarded(self, message: Message) -> list[Message]:
        """The message, after what a jump in the offsets skipped; a hole is recorded before any ack."""
        part = (message.topic, message.partition)
        expected = self.following(part)
        self.expected[part] = message.offset + 1
        if expected is None or message.offset <= expected or not is_contiguous(message.topic):
            return [message]
        found, holes = await self.between(part, expected, message.offset)
        if found:
            self._task_of(*part).counts["REREAD"] += len(found)
            what = "%s did not receive %d records of %s/%d: they are read again"
            log.warning(what, self.spec.name, len(found), *part)
        await self.record(part, holes)
        return [*found, message]

    async def between(self, part: Part, start: int, end: int) -> Between:
        """What the log has at these offsets; waits for a broker that is silent."""
        return await patiently(self.spec.name, lambda: self.guard.between(part, start, end))

    async def record(self, part: Part, holes: Sequence[Hole]) -> None:
        """Record, once, the holes of a topic that may have none, not those the table has passed."""
        if not holes or not is_contiguous(part[0]):
            return
        cursor = cursor_of(self._store(), (self.spec.inputs.index(part[0]), part[1]))
        for hole in holes:
            if hole.end > cursor:
                log.error("%s lacks records: %s", self.spec.name, hole)
                self._task_of(*part).counts[hole.reason] += hole.end - hole.start
                await self.written([hole.wire(self._layout, self.spec.name, self._clock.now())])

    def following(self, part: Part) -> int | None:
        """The next offset; before a generation's first message, the one it starts from."""
        start = self._consumer.starts.get(self._tp(part))
        return self.expected.get(part, start) if self.is_current() else start

    async def _work(self) -> None:
        """Run all tasks in rounds, so that a minute of all partitions costs two waits and not two each."""
        while True:
            taken = [
                (task, items)
                for task in self.tasks.values()
                if (items := task.merge.take(BATCH, stop_at_mark=self.spec.period is not None))
            ]
            if not taken:
                break
            if not await self._perform([(task, task.shell.apply(items)) for task, items in taken]):
                return
        self._resume()

    def _resume(self) -> None:
        for name, partition in list(self._held_back):
            task = self._task_of(name, partition)
            if task.has_room((name, partition)):
                self._held_back.discard((name, partition))
                self._consumer.on_buffer_drop(self._tp((name, partition)))

    async def _perform(self, done: list[tuple[Task, Effects]]) -> bool:
        """Do outputs, changelog, table, acks. False if the generation ended and the batch was dropped."""
        now, began = self._clock.now(), time.monotonic()
        wires = [wire for task, effects in done for wire in task.wires.of(effects, now)]
        dead = self.writing.dead(each for _, effects in done for each in effects.dead)
        await self.written([*wires, *dead])
        self.probe("outputs written")
        batch = await self.written(self.writing.changelog(w for _, effects in done for w in effects.writes))
        self.probe("changelog written")
        if not self.is_current():
            log.warning("%s: a batch was dropped, because its generation has ended", self.spec.name)
            return False
        writes = (w for _, effects in done for w in effects.writes)
        changelog = self._layout.wire_name(self.spec.changelog)
        self._store().write_all(writes, lambda partition: batch.offsets[changelog, partition])
        self.probe("table written")
        for _, effects in done:
            self._ack(effects.acks)
        self.probe("inputs acked")
        self.figures.add(time.monotonic() - began, [effects for _, effects in done])
        for task, effects in done:
            task.counts.update(effects.counts)
            task.records += len(effects.acks)
            if effects.watermark is not None:
                task.watermark = effects.watermark
            if self._after is not None:
                await self._after(effects)
        return True

    def _ack(self, messages: Iterable[Message]) -> None:
        for message in messages:
            event = self._events.pop((message.topic, message.partition, message.offset), None)
            if event is not None:
                event.ack()
            if (message.topic, message.partition) not in self.broadcasts:
                self.applied[message.topic, message.partition] = message.offset

    def is_current(self) -> bool:
        """Whether the tasks belong to the group's current generation."""
        return self.app.consumer_generation_id == self._generation

    async def settle(self, recovered: Recovered) -> None:
        """Settle the recovered table; an error ends the process, because Faust would continue without it."""
        settler = Settler(self.spec, self._layout, self._single_home, written=self.written, probe=self.probe)
        try:
            await settler.settle(self._store(), recovered)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.critical("the %s stage cannot settle its table: %s", self.spec.name, error, exc_info=error)
            await self._ending.give_up(self.app, error)

    def parts(self) -> list[Part]:
        """The input partitions that this worker reads; none in a rebalance and the recovery after it."""
        starts = [] if self.app.rebalancing else self._consumer.starts
        parts = ((self._layout.catalogue_name(tp.topic), tp.partition) for tp in starts)
        return [part for part in parts if part[0] in self.spec.inputs]

    def open_tasks(self) -> None:
        """Open a task for every partition, even if nothing has arrived yet: an idle worker beats too."""
        for part in self.parts():
            if part[0] == self.spec.trigger:
                self._task_of(*part)

    async def read_again(self, part: Part, offset: int) -> None:
        """Fetch ``part`` again from ``offset`` on: what was fetched of it never arrived."""
        await self._consumer.go_back(self._tp(part), offset)
        self._task_of(*part).counts["SOUGHT_BACK"] += 1

    def pass_to(self, part: Part, offset: int) -> None:
        """No record is left between the last of ``part`` and ``offset``: it counts as done up to there."""
        start, before = self.following(part) or 0, self.passed.get(part, _NOTHING)
        self.passed[part] = range(before.start if before.stop == start else start, offset)
        self.expected[part] = offset
        self._consumer.pass_to(self._tp(part), offset)

    def withheld(self, part: Part) -> bool:
        """Whether an open transaction withholds the end of ``part``."""
        if part in self.broadcasts:
            return self.broadcasts[part].withheld()
        return self._consumer.withheld(self._tp(part))

    def is_held_back(self, part: Part) -> bool:
        """Whether ``part`` is held back on purpose."""
        return part in self._held_back

    def lag(self) -> int | None:
        """Offsets between what was applied and the readable end; None, not 0, until every end is known."""
        ends = {part: self._consumer.known_end(self._tp(part)) for part in self.parts()}
        known = [max(0, end - self.reached(part)) for part, end in ends.items() if end is not None]
        return sum(known, self.broadcasts.lag()) if known and len(known) == len(ends) else None

    def reached(self, part: Part) -> int:
        """The offset before which everything of ``part`` is applied. What was committed is."""
        start = self._consumer.starts.get(self._tp(part), 0)
        at, passed = max(start, self.applied.get(part, -1) + 1), self.passed.get(part, _NOTHING)
        return passed.stop if at in passed else at

    def end_of(self, part: Part) -> int:
        """The end of what can be read of an input, as far as is known; 0 if it has another owner by now."""
        return self._consumer.end_of(self._tp(part))

    def _tp(self, part: Part) -> TP:
        return TP(self._layout.wire_name(part[0]), part[1])
