"""A worker gives its free memory back in the pause after work, once, and not while it works."""

import asyncio
from collections.abc import Sequence

import psutil
import pytest

from tapedeck.agents import give_back
from tapedeck.agents.give_back import LEAST, QUIET_LOOKS, GiveBack

MB = 1024 * 1024
MUCH = 2 * LEAST


def due_at(counts: Sequence[int]) -> list[int]:
    """The looks at which it is due, where ``counts`` is what was done at each."""
    done = iter([0, *counts])
    made = GiveBack(lambda: next(done), lambda: None)
    return [place for place, _ in enumerate(counts) if made.is_due()]


def test_it_is_due_once_after_each_spell_of_work() -> None:
    pause = [QUIET_LOOKS + 5]
    first, second = [MUCH] * pause[0], [2 * MUCH] * pause[0]
    assert due_at([*first, *second]) == [QUIET_LOOKS, pause[0] + QUIET_LOOKS]


def test_it_is_not_due_at_work_nor_without_any() -> None:
    assert due_at(range(MUCH, 100 * MUCH, MUCH)) == []
    assert due_at([0] * 50) == []
    short_pauses = [count for count in range(MUCH, 10 * MUCH, MUCH) for _ in range(QUIET_LOOKS)]
    assert due_at(short_pauses) == []


def test_single_records_add_up_before_it_is_due() -> None:
    ticks = [count for count in range(LEAST + 1) for _ in range(QUIET_LOOKS + 1)]
    assert due_at(ticks) == [len(ticks) - 1]


def test_a_count_that_a_rebalance_begins_anew_is_work() -> None:
    assert due_at([*[MUCH] * 6, *[0] * 6]) == [QUIET_LOOKS, 6 + QUIET_LOOKS]


def test_the_loop_gives_back_beside_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(give_back, "LOOK_S", 0.001)
    given: list[str] = []
    counts = iter([0, *[MUCH] * 1000])

    async def watched() -> None:
        made = GiveBack(lambda: next(counts), lambda: given.append("flushed"), lambda: given.append("given"))
        task = asyncio.create_task(made.run())
        await asyncio.sleep(0.2)
        task.cancel()

    asyncio.run(watched())
    assert given == ["flushed", "given"]


@pytest.mark.skipif(not hasattr(give_back._LIBC, "malloc_trim"), reason="the C library is not glibc")
def test_memory_that_a_kept_value_holds_in_the_heap_is_given_back() -> None:
    """Values as large as a stage's, of which one in a thousand is kept: no whole end of the heap is free."""
    process = psutil.Process()
    values = [bytes(10_000) for _ in range(20_000)]
    kept = values[::1000]
    del values
    before = process.memory_info().rss
    give_back.give_back()
    assert before - process.memory_info().rss > 100 * MB
    assert len(kept) == 20
