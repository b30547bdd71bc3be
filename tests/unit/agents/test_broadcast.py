"""A join of one partition is handed to every task, whole and in order, from where the task's table stands."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tapedeck.agents import task as limits
from tapedeck.agents.broadcast import Broadcast, start_of
from tapedeck.agents.gaps import Between, Hole
from tapedeck.agents.task import Task
from tapedeck.connectors.kafka.bulk.source import Look
from tapedeck.schemas.errors import Retry
from tapedeck.streams.merge import Merge, Part, Resume, broadcast_joins, parts_of
from tapedeck.streams.protocol import Join, Message, StageSpec
from tapedeck.streams.watermarks import headers_for
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.support.shells import MINUTE, T0, mark_message

PART: Part = ("scores", 0)
SPEC = StageSpec(name="features", trigger="bars", joins=(Join("scores"),), outputs=("features",), doc="a toy")
PARTITIONS = {name: Layout().partitions(name) for name in (*SPEC.inputs, "universe")}


def record(offset: int, minute: int = 0) -> Message:
    """Its time lies in the minute that it belongs to."""
    return Message(*PART, offset, (T0 + minute * MINUTE) // 1000, b"K", b"v", ())


def watermark(offset: int, minute: int, late_ms: int = 0) -> Message:
    label = T0 + minute * MINUTE
    ended = (label + MINUTE) // 1000 + late_ms
    return Message(*PART, offset, ended, WATERMARK_KEY, None, tuple(headers_for(label)))


class FakeLog:
    """A log with a time index that is as exact as Kafka's, and what a consumer would give of it."""

    def __init__(self, messages: Iterable[Message], low: int = 0) -> None:
        self.messages, self.low = list(messages), low
        self.looks = 0
        self.seeks: list[int] = []
        self.ended = False
        self.fails = 0
        self._position = 0

    @property
    def end(self) -> int:
        return max((message.offset + 1 for message in self.messages), default=self.low)

    def ends(self, names: tuple[str, ...]) -> dict[Part, tuple[int, int]]:
        return {(name, 0): (self.low, self.end) for name in names}

    def look(self, part: Part, start: int, end: int) -> Look:
        self.looks += 1
        return Look([m for m in self.messages if start <= m.offset < end], [], end)

    def offset_at(self, part: Part, time_us: int) -> int:
        late = (m.offset for m in self.messages if m.offset >= self.low and m.timestamp * 1000 >= time_us)
        return next(late, self.end)

    def start_of(self, label: int | None) -> int:
        return start_of(self, PART, label)

    def read(self, start: int | None) -> list[Message]:
        if self.fails:
            self.fails -= 1
            raise Retry("the broker is away")
        if start is not None:
            self.seeks.append(start)
            self._position = start
        found = [m for m in self.messages if m.offset >= self._position][:10]
        self._position = found[-1].offset + 1 if found else self._position
        self.ended = self._position >= self.end
        return found

    def high(self) -> int:
        return self.end

    def close(self) -> None:
        self.ended = False


class FakeRunner:
    """What a Broadcast sees of a StageRunner."""

    def __init__(self, log: FakeLog) -> None:
        self.spec, self.log = SPEC, log
        self.tasks: dict[int, Task] = {}
        self.current, self.wakes = True, 0
        self.recorded: list[Hole] = []
        self.there: list[Message] = []
        self.broadcast = Broadcast(cast(Any, self), PART, cast(Any, log))

    def open(self, home: int, label: int | None = None) -> None:
        inputs = parts_of(SPEC, (home,), PARTITIONS)
        merge = Merge(SPEC, inputs, Resume({} if label is None else {PART: label}))
        anything: Any = SimpleNamespace()
        self.tasks[home] = Task(home, anything, merge, anything, inputs)
        self.broadcast.open(home, label)

    def begin_generation(self) -> None:
        self.tasks.clear()
        self.broadcast.forget()

    def lacks_tasks(self) -> bool:
        return False

    def is_current(self) -> bool:
        return self.current

    def wake(self) -> None:
        self.wakes += 1

    async def between(self, part: Part, start: int, end: int) -> Between:
        return Between(self.there, [Hole(*PART, start, end, "HOLE_IN_LOG")] if not self.there else [])

    async def record(self, part: Part, holes: list[Hole]) -> None:
        self.recorded += holes

    def turns(self, times: int = 1) -> list[bool]:
        async def go() -> list[bool]:
            return [await self.broadcast._turn() for _ in range(times)]

        return asyncio.run(go())

    def held(self, home: int) -> list[int]:
        return [message.offset for message in self.tasks[home].merge._queues[PART]]


def test_a_broadcast_join_is_of_one_partition_beside_a_trigger_of_several() -> None:
    both = StageSpec(
        name="features", trigger="bars", joins=(Join("universe"), Join("quotes")), outputs=(), doc=""
    )
    single = StageSpec(
        name="features", trigger="bars", joins=(Join("universe"),), outputs=(), scale="single", doc=""
    )
    counts = {name: Layout().partitions(name) for name in ("bars", "quotes", "universe")}
    assert broadcast_joins(both, counts) == ("universe",)
    assert broadcast_joins(single, counts) == ()
    assert broadcast_joins(both, counts | {"bars": 1, "quotes": 1}) == (), "one task reads all there is"


# where a task starts --------------------------------------------------------------------------------------


def test_a_task_starts_behind_the_last_watermark_below_its_own() -> None:
    log = FakeLog([watermark(0, 0), record(1, 1), watermark(2, 1), record(3, 2), watermark(4, 2)])
    assert log.start_of(T0 + MINUTE) == 1
    assert log.start_of(T0 + 2 * MINUTE) == 3


def test_a_new_task_starts_where_the_log_does() -> None:
    assert FakeLog([watermark(7, 0)], low=7).start_of(None) == 7


def test_a_watermark_that_was_written_twice_counts_where_it_stood_first() -> None:
    """Its writer was started again: offset 5 came after what the task has applied up to the first."""
    log = FakeLog(
        [watermark(0, 0), record(1, 1), watermark(2, 1), record(3, 2), watermark(4, 2), record(5, 2),
         watermark(6, 2), watermark(7, 3)]
    )  # fmt: skip
    assert log.start_of(T0 + 2 * MINUTE) == 3


def test_a_late_record_before_the_watermark_does_not_move_the_start_behind_it() -> None:
    log = FakeLog([watermark(0, 0), record(1, 5), watermark(2, 1), record(3, 0), watermark(4, 2)])
    assert log.start_of(T0 + 2 * MINUTE) == 1


def test_watermarks_that_carry_an_earlier_time_than_their_minutes_end_are_not_believed() -> None:
    """A stranger's: by the time index alone the start would be behind record 3, which was never applied."""
    log = FakeLog(
        [watermark(0, 0, -MINUTE), watermark(1, 1, -MINUTE), watermark(2, 2, -MINUTE), record(3, 4)]
    )
    assert log.start_of(T0 + 2 * MINUTE) == 0


def test_what_retention_has_taken_leaves_the_start_of_the_log() -> None:
    log = FakeLog([record(50, 1), watermark(51, 9)], low=50)
    assert log.start_of(T0 + 2 * MINUTE) == 50


def test_a_compacted_topic_is_read_from_its_start() -> None:
    """Its watermarks share one key: the one that the task has applied may be gone."""
    log = FakeLog([])
    log.low = 3
    assert start_of(log, ("universe", 0), T0) == 3


def test_a_watermark_far_back_is_found_in_looks_that_grow() -> None:
    log = FakeLog([watermark(0, 0), *(record(at, 1) for at in range(1, 5_000)), watermark(5_000, 1)])
    assert log.start_of(T0 + MINUTE) == 1
    assert log.looks <= 4


# what a task is handed ------------------------------------------------------------------------------------


def test_each_task_is_handed_everything_once_and_in_order_from_its_own_place() -> None:
    log = FakeLog(watermark(at, at) for at in range(25))
    runner = FakeRunner(log)
    runner.open(0)
    runner.open(3, T0 + 12 * MINUTE)
    runner.turns(4)
    assert runner.held(0) == list(range(25))
    assert runner.held(3) == list(range(12, 25))
    assert log.seeks == [0], "one consumer reads for both"
    assert runner.wakes == 3


def test_a_task_that_opens_later_is_caught_up_without_a_repeat_for_the_others() -> None:
    log = FakeLog(watermark(at, at) for at in range(12))
    runner = FakeRunner(log)
    runner.open(1, T0 + 8 * MINUTE)
    runner.turns()
    runner.open(2)
    runner.turns(3)
    assert runner.held(1) == [8, 9, 10, 11]
    assert runner.held(2) == list(range(12))


def test_a_task_that_is_full_is_left_out_and_read_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAUSE_AT", 4)
    monkeypatch.setattr(limits, "RESUME_AT", 2)
    log = FakeLog(watermark(at, at) for at in range(30))
    runner = FakeRunner(log)
    runner.open(0)
    runner.open(1, T0 + 20 * MINUTE)
    runner.turns(2)
    assert runner.held(0) == [0, 1, 2, 3, 4]
    assert runner.held(1) == [20, 21, 22, 23, 24], "the other went on to what it lacks"
    assert runner.turns() == [False]
    runner.tasks[0].merge._queues[PART].clear()
    runner.turns()
    assert runner.held(0) == [5, 6, 7, 8, 9]
    assert len(runner.held(1)) == 5
    assert log.seeks == [0, 20, 5]


def test_a_generation_that_ends_while_the_log_is_read_leaves_nothing_of_it() -> None:
    log = FakeLog(watermark(at, at) for at in range(5))
    runner = FakeRunner(log)
    runner.open(0)

    def read(start: int | None) -> list[Message]:
        runner.begin_generation()
        runner.open(0, T0 + 3 * MINUTE)
        return FakeLog.read(log, start)

    log.read = read  # type: ignore[method-assign]
    runner.turns()
    assert runner.held(0) == []
    del log.read  # type: ignore[method-assign]
    runner.turns()
    assert runner.held(0) == [3, 4]


def test_tasks_of_an_ended_generation_are_handed_nothing() -> None:
    runner = FakeRunner(FakeLog([watermark(0, 0)]))
    runner.open(0)
    runner.current = False
    assert runner.turns(2) == [False, False]
    assert runner.held(0) == []


def test_a_worker_without_tasks_keeps_no_consumer() -> None:
    log = FakeLog([watermark(0, 0)])
    runner = FakeRunner(log)
    log.ended = True
    assert runner.turns() == [False]
    assert not log.ended


def test_a_read_that_failed_is_made_again_from_the_same_place() -> None:
    log = FakeLog(watermark(at, at) for at in range(15))
    runner = FakeRunner(log)
    runner.open(0)
    runner.turns()
    log.fails = 1
    with pytest.raises(Retry):
        runner.turns()
    runner.turns()
    assert runner.held(0) == list(range(15))
    assert log.seeks == [0, 10]


def test_a_jump_is_looked_into_and_its_hole_recorded_once() -> None:
    log = FakeLog([watermark(0, 0), watermark(5, 1)])
    runner = FakeRunner(log)
    runner.open(0)
    runner.turns()
    runner.open(1)
    runner.turns()
    assert runner.held(0) == runner.held(1) == [0, 5]
    assert runner.recorded == [Hole(*PART, 1, 5, "HOLE_IN_LOG")]


def test_what_was_not_delivered_is_handed_over_before_what_was() -> None:
    runner = FakeRunner(FakeLog([watermark(0, 0), watermark(3, 1)]))
    runner.there = [record(2)]
    runner.open(0)
    runner.turns()
    assert runner.held(0) == [0, 2, 3]
    assert runner.recorded == []


def test_the_lag_is_that_of_the_slowest_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAUSE_AT", 4)
    monkeypatch.setattr(limits, "RESUME_AT", 2)
    log = FakeLog(watermark(at, at) for at in range(30))
    runner = FakeRunner(log)
    runner.open(0)
    runner.open(1, T0 + 28 * MINUTE)
    runner.turns(2)
    assert log.ended
    assert runner.broadcast.lag() == 30
    runner.tasks[0].merge._queues[PART].clear()
    runner.tasks[0].merge.put(mark_message(T0, 0, 0, "scores"))
    assert runner.broadcast.lag() == 26
