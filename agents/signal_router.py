"""Routes signals to an account minute by minute: held until every partition has ended the minute."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from faust.types import AppT, EventT

from tapedeck.agents.arrivals import as_message
from tapedeck.agents.ending import Ending
from tapedeck.agents.settings import Settings
from tapedeck.connectors.dispatch.router import Minute, MinuteRouter
from tapedeck.streams.protocol import Message

OnMinute = Callable[[Minute], Awaitable[None]]


class SignalRouter:
    """Calls ``on_minute`` for each complete minute of the topics ``names``; it acks what it is done with."""

    def __init__(self, app: AppT, settings: Settings, names: Sequence[str], on_minute: OnMinute) -> None:
        self._app, self._layout, self._on_minute = app, settings.layout, on_minute
        self._names = tuple(names)
        self._ending = Ending()
        self._generation: int | None = None
        self._router = self._new_router()
        self._events: dict[Message, EventT[Any]] = {}

    def declare(self) -> None:
        """Make the agent."""
        channel = self._app.topic(
            *map(self._layout.wire_name, self._names), key_type=bytes, value_type=bytes,
            key_serializer="raw", value_serializer="raw",
        )  # fmt: skip
        self._app.agent(channel, name="router", concurrency=1)(self._route)

    def ack(self, messages: Iterable[Message]) -> None:
        """Acknowledge messages of a minute."""
        for each in messages:
            self._events.pop(each).ack()

    def _new_router(self) -> MinuteRouter:
        return MinuteRouter({name: self._layout.partitions(name) for name in self._names})

    async def _route(self, stream: Any) -> None:
        """Never returns; an unexpected error leaves the process, else Faust would drop the event."""
        await self._ending.guard()
        try:
            await self._forward(stream)
        except asyncio.CancelledError:
            raise
        except StopAsyncIteration:
            return  # the app stops
        except Exception as error:
            await self._ending.give_up(self._app, error)

    async def _forward(self, stream: Any) -> None:
        channel = aiter(stream.channel)
        while True:
            event = await channel.get()
            if event.message.generation_id != self._app.consumer_generation_id:
                continue
            if event.message.generation_id != self._generation:
                self._generation = event.message.generation_id
                self._router = self._new_router()
                self._events.clear()
            message = as_message(event, self._layout)
            self._events[message] = event
            self._router.put(message)
            for minute in self._router.minutes():
                await self._on_minute(minute)
