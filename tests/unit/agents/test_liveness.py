"""What does not arrive is a suspect at the second look; it is fetched again, then the process ends."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from tapedeck.agents import liveness as module
from tapedeck.agents.consumer import TapeConsumer
from tapedeck.agents.gaps import Between, Hole
from tapedeck.agents.liveness import CURES, STUCK_EXIT, Liveness
from tapedeck.agents.runner import StageRunner
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

PART = ("features", 0)
MISSING = Message("features", 0, 5, 0, b"A", b"1", ())


def liveness(expected: int, high: int, held_back: bool = False, there: bool = True) -> tuple[Liveness, Any]:
    """A look at one partition; ``there``: the log has records between ``expected`` and ``high``."""
    runner = SimpleNamespace(
        waits=True,
        expected=expected,
        again=[],
        passed=[],
        recorded=[],
        looked=[],
        there=there,
        holes=[],
        spec=SimpleNamespace(name="scores"),
        parts=lambda: [PART],
        end_of=lambda part: high if part == PART else 0,
        is_held_back=lambda part: held_back,
    )
    runner.following = lambda part: runner.expected

    async def read_again(part: Any, offset: int) -> None:
        runner.again.append((part, offset))

    async def between(part: Any, start: int, end: int) -> Between:
        runner.looked.append((start, end))
        runner.expected += runner.arrives
        return Between([MISSING] if runner.there else [], runner.holes)

    async def record(part: Any, holes: Any) -> None:
        runner.recorded.extend(holes)

    def pass_to(part: Any, offset: int) -> None:
        runner.passed.append((part, offset))
        runner.expected = offset

    runner.arrives = 0
    runner.read_again, runner.record, runner.pass_to = read_again, record, pass_to
    runner.guard = SimpleNamespace(between=between)
    return Liveness(cast(StageRunner, runner)), runner


def looks(look: Liveness, times: int = 2) -> None:
    for _ in range(times):
        asyncio.run(look.look())


def test_a_partition_that_stands_still_before_its_end_is_fetched_again_at_the_second_look() -> None:
    look, runner = liveness(expected=5, high=9)
    looks(look, 1)
    assert (runner.again, runner.passed) == ([], [])
    looks(look, 1)
    assert (runner.again, runner.passed) == ([(PART, 5)], [])


def test_progress_between_two_looks_clears_it() -> None:
    look, runner = liveness(expected=5, high=9)
    looks(look, 1)
    runner.expected = 7
    looks(look, 1)
    assert runner.again == []


def test_a_stage_at_work_is_not_a_suspect() -> None:
    look, runner = liveness(expected=5, high=9)
    looks(look, 1)
    runner.waits = False
    looks(look, 1)
    runner.waits = True
    looks(look, 1)
    assert runner.again == []


def test_a_partition_in_a_rebalance_is_not_a_suspect() -> None:
    look, runner = liveness(expected=5, high=9)
    looks(look, 1)
    runner.parts = list
    looks(look)
    assert runner.again == []


def test_control_records_at_the_end_are_passed_at_once_and_not_looked_at_again() -> None:
    look, runner = liveness(expected=5, high=9, there=False)
    looks(look, 3)
    assert (runner.looked, runner.passed, runner.again) == ([(5, 9)], [(PART, 9)], [])


def test_a_hole_at_the_end_is_recorded_before_it_is_passed() -> None:
    look, runner = liveness(expected=5, high=9, there=False)
    runner.holes = [Hole(*PART, 5, 9, "RETENTION")]
    looks(look)
    assert (runner.recorded, runner.passed) == (runner.holes, [(PART, 9)])


@pytest.mark.parametrize("there", [True, False])
def test_what_came_while_the_log_was_looked_into_is_neither_fetched_again_nor_passed(there: bool) -> None:
    look, runner = liveness(expected=5, high=99, there=there)
    runner.arrives = 1
    looks(look, 3)
    assert (runner.again, runner.passed) == ([], [])


def test_a_suspect_is_fetched_again_from_what_is_missing_and_after_some_times_the_process_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[int] = []
    monkeypatch.setattr(module.os, "_exit", ends.append)
    look, runner = liveness(expected=5, high=9)
    for _ in range(CURES):
        asyncio.run(look._cure(PART, 5))
    assert (runner.again, ends) == ([(PART, 5)] * CURES, [])
    asyncio.run(look._cure(PART, 5))
    assert ends == [STUCK_EXIT]


@pytest.mark.parametrize(
    ("high", "held_back"), [(5, False), (9, True), (0, False)],
    ids=["nothing to read", "held back on purpose", "another worker has it now"],
)  # fmt: skip
def test_what_is_no_fault_is_not_looked_into(high: int, held_back: bool) -> None:
    look, runner = liveness(expected=5, high=high, held_back=held_back)
    looks(look)
    assert (runner.looked, runner.again) == ([], [])


def lagging(known: dict[int, int | None], starts: dict[int, int]) -> Any:
    """A runner of `features` whose consumer has fetched the ends ``known``."""

    def known_end(tp: TP) -> int | None:
        assert tp.partition in known, "Partition is not assigned"
        return known[tp.partition]

    runner = cast(Any, object.__new__(StageRunner))
    consumer = cast(Any, object.__new__(TapeConsumer))
    consumer._thread = SimpleNamespace(known_end=known_end, highwater=lambda tp: known_end(tp) or 0)
    consumer.starts = {TP("p.features", partition): at for partition, at in starts.items()}
    runner.app = SimpleNamespace(consumer=consumer, rebalancing=False)
    runner.broadcasts, runner.spec = SimpleNamespace(lag=lambda: 0), SimpleNamespace(inputs=("features",))
    runner._layout, runner.applied, runner.passed = Layout("p"), {}, {}
    return runner


def test_the_end_of_a_partition_that_is_not_assigned_is_nought() -> None:
    runner = lagging({1: 42}, {1: 30})
    assert (runner.end_of(("features", 0)), runner.end_of(("features", 1))) == (0, 42)


def test_the_lag_counts_what_is_not_applied_but_not_what_has_no_record() -> None:
    runner = lagging({1: 42}, {1: 30})
    runner.applied = {("features", 0): 3, ("features", 1): 39}
    assert runner.lag() == 2, "partition 0 has another owner"
    runner.passed = {("features", 1): range(40, 42)}
    assert runner.lag() == 0
    runner.applied["features", 1] = 38
    assert runner.lag() == 3, "what arrived and is not applied yet counts"


def test_the_lag_of_a_partition_from_which_nothing_came_is_unknown_until_its_end_is() -> None:
    runner = lagging({0: None, 1: 42}, {0: 7, 1: 30})
    runner.applied = {("features", 1): 41}
    assert runner.lag() is None
    assert lagging({0: 7}, {0: 7}).lag() == 0
    unread = lagging({0: 9}, {0: 7})
    assert unread.lag() == 2, "nothing of it is applied"
    unread.passed = {("features", 0): range(7, 9)}
    assert unread.lag() == 0
    assert lagging({}, {}).lag() is None, "no partition is assigned"
    unread.app.rebalancing = True
    assert unread.lag() is None


def test_what_a_group_has_committed_counts_as_reached_though_another_generation_applied_it() -> None:
    runner = lagging({0: 42}, {0: 7})
    assert runner.reached(("features", 0)) == 7
    runner.applied = {("features", 0): 9}
    assert runner.reached(("features", 0)) == 10
