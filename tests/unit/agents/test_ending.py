"""An agent that has failed does nothing more, however often Faust starts it again."""

import asyncio
from typing import cast

import pytest
from faust.types import AppT

from tapedeck.agents.ending import Ending


class Crashed:
    """An app that keeps why it crashed."""

    def __init__(self) -> None:
        self.reason: BaseException | None = None

    async def crash(self, reason: BaseException) -> None:
        self.reason = reason


async def stays(waiting: asyncio.Task[None]) -> bool:
    await asyncio.wait({waiting}, timeout=0.05)
    return not waiting.done()


def test_an_agent_that_gave_up_never_comes_back_and_no_other_takes_its_place() -> None:
    async def scenario() -> None:
        app, ending, error = Crashed(), Ending(), OSError("the disk is full")
        await asyncio.wait_for(ending.guard(), 1.0)
        first = asyncio.ensure_future(ending.give_up(cast(AppT, app), error))
        assert await stays(first)
        assert app.reason is error
        again = asyncio.ensure_future(ending.guard())
        assert await stays(again)
        for task in (first, again):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
