"""Calls of the broker: one at a time, and one that gets out is not behind those that only read."""

import asyncio
from collections.abc import Sequence

from tapedeck.agents.precedence import Precedence
from tapedeck.connectors.dispatch.budget import call_kind

READ, CLOSE = {"kind": "FETCH_QUOTE"}, {"kind": "SUBMIT", "intent": "SELL_TO_CLOSE"}
OPEN, CANCEL, ASK = {"kind": "SUBMIT", "intent": "BUY_TO_OPEN"}, {"kind": "CANCEL"}, {"kind": "LOOK_UP"}


def order_of(ranks: Sequence[int], cancelled: Sequence[int] = ()) -> list[int]:
    """In which order waiters of ``ranks`` have their turns, behind one that is at it when they come."""
    had: list[int] = []

    async def wait(turns: Precedence, number: int) -> None:
        async with turns.turn(ranks[number]):
            had.append(number)
            await asyncio.sleep(0)
            assert had[-1] == number, "one at a time"

    async def run() -> None:
        turns = Precedence()
        async with turns.turn(9):
            waiting = [asyncio.create_task(wait(turns, number)) for number in range(len(ranks))]
            await asyncio.sleep(0)
            for number in cancelled:
                waiting[number].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(1), turns.turn(0):
            had.append(-1)

    asyncio.run(run())
    return had


def test_a_close_waits_for_the_call_at_hand_and_for_no_quote() -> None:
    asked = [READ, READ, OPEN, ASK, CLOSE, READ, CANCEL]
    assert order_of([call_kind(each).rank for each in asked]) == [4, 6, 2, 3, 0, 1, 5, -1]


def test_equal_ranks_have_their_turns_as_they_came() -> None:
    assert order_of([1, 1, 1, 1]) == [0, 1, 2, 3, -1]


def test_who_no_longer_waits_holds_up_nobody() -> None:
    assert order_of([0, 1, 2], cancelled=[0]) == [1, 2, -1]
    assert order_of([0, 1], cancelled=[0, 1]) == [-1]


def test_a_turn_that_came_too_late_is_passed_on_and_one_that_failed_ends() -> None:
    async def run() -> list[str]:
        turns, had = Precedence(), []

        async def wait(name: str) -> None:
            async with turns.turn(0):
                had.append(name)
                raise ValueError(name)

        async with turns.turn(0):
            first, second = asyncio.create_task(wait("first")), asyncio.create_task(wait("second"))
            await asyncio.sleep(0)
        first.cancel()  # called already, and not yet running
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(1), turns.turn(0):
            return had

    assert asyncio.run(run()) == ["second"]
