"""What does not arrive is a suspect at the second look; it is fetched again, then the process ends."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from tapedeck.agents import liveness as module
from tapedeck.agents.liveness import CURES, STUCK_EXIT, Liveness
from tapedeck.agents.runner import StageRunner
from tapedeck.agents.settings import Settings
from tapedeck.topics.catalogue import Layout

PART = ("features", 0)


def liveness(expected: int, high: int, held_back: bool = False) -> tuple[Liveness, Any]:
    runner = SimpleNamespace(
        waits=True,
        expected=expected,
        again=[],
        spec=SimpleNamespace(name="scores"),
        parts=lambda: [PART],
        end_of=lambda part: high if part == PART else 0,
        is_held_back=lambda part: held_back,
    )
    runner.following = lambda part: runner.expected

    async def read_again(part: Any, offset: int) -> None:
        runner.again.append((part, offset))

    runner.read_again = read_again
    settings = SimpleNamespace(layout=Layout("p"))
    return Liveness(cast(StageRunner, runner), cast(Settings, settings)), runner


def test_a_partition_that_stands_still_before_its_end_is_a_suspect_at_the_second_look() -> None:
    look, _ = liveness(expected=5, high=9)
    assert look.suspects() == []
    assert look.suspects() == [PART]


def test_progress_between_two_looks_clears_it() -> None:
    look, runner = liveness(expected=5, high=9)
    look.suspects()
    runner.expected = 7
    assert look.suspects() == []


def test_a_stage_at_work_is_not_a_suspect() -> None:
    look, runner = liveness(expected=5, high=9)
    look.suspects()
    runner.waits = False
    assert look.suspects() == []
    runner.waits = True
    assert look.suspects() == []


def test_a_partition_in_a_rebalance_is_not_a_suspect() -> None:
    look, runner = liveness(expected=5, high=9)
    look.suspects()
    runner.parts = list
    assert look.suspects() == []


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


def test_what_came_while_the_log_was_looked_into_is_not_fetched_again() -> None:
    look, runner = liveness(expected=6, high=9)
    asyncio.run(look._cure(PART, 5))
    assert runner.again == []


def test_nothing_to_read_is_not_a_fault() -> None:
    look, _ = liveness(expected=9, high=9)
    look.suspects()
    assert look.suspects() == []


def test_a_partition_held_back_on_purpose_is_not_a_fault() -> None:
    look, _ = liveness(expected=5, high=9, held_back=True)
    look.suspects()
    assert look.suspects() == []


def test_a_partition_that_another_worker_has_now_is_not_a_fault() -> None:
    look, _ = liveness(expected=5, high=0)  # what end_of says of it
    look.suspects()
    assert look.suspects() == []


def test_the_end_of_a_partition_that_is_not_assigned_is_nought() -> None:
    def highwater(tp: TP) -> int:
        assert tp == TP("p.features", 1), "Partition is not assigned"
        return 42

    runner = cast(Any, object.__new__(StageRunner))
    runner.app = SimpleNamespace(consumer=SimpleNamespace(highwater=highwater))
    runner._layout, runner.applied = Layout("p"), {("features", 0): 3, ("features", 1): 39}
    assert (runner.end_of(("features", 0)), runner.end_of(("features", 1))) == (0, 42)
    assert runner.lag() == 2
