"""Routes ``signals`` to an account minute by minute: held until every partition has ended the minute."""

from collections.abc import Awaitable, Callable
from typing import Any

from faust.types import AppT, EventT

from agents.runner import as_message
from agents.settings import Settings
from schemas.codec import decode
from streams.contract import Message, StageSpec
from streams.merge import Mark, Merge, Record

TOPIC = "signals"
SPEC = StageSpec(name="router", trigger=TOPIC, outputs=(), scale="single", doc="signals to the inbox")
_TAKE = 1000

OnMinute = Callable[[int, list[dict[str, Any]]], Awaitable[None]]


class SignalRouter:
    """Calls ``on_minute(label, signals)`` for each complete minute, then acks it."""

    def __init__(self, app: AppT, settings: Settings, on_minute: OnMinute) -> None:
        self._app, self._layout, self._on_minute = app, settings.layout, on_minute
        self._generation: int | None = None
        self._merge = self._new_merge()
        self._events: dict[Message, EventT[Any]] = {}
        self._collected: list[dict[str, Any]] = []
        self._unacked: list[EventT[Any]] = []

    def declare(self) -> None:
        """Make the agent."""
        channel = self._app.topic(
            self._layout.wire_name(TOPIC), key_type=bytes, value_type=bytes,
            key_serializer="raw", value_serializer="raw",
        )  # fmt: skip
        self._app.agent(channel, name="router", concurrency=1)(self._route)

    def _new_merge(self) -> Merge:
        return Merge(SPEC, {TOPIC: range(self._layout.partitions(TOPIC))}, {})

    async def _route(self, stream: Any) -> None:
        channel = aiter(stream.channel)
        while True:
            event = await channel.get()
            if event.message.generation_id != self._app.consumer_generation_id:
                continue
            if event.message.generation_id != self._generation:
                self._generation = event.message.generation_id
                self._merge = self._new_merge()
                self._collected, self._unacked = [], []
            message = as_message(event, self._layout)
            self._events[message] = event
            self._merge.put(message)
            await self._forward()

    async def _forward(self) -> None:
        for item in self._merge.take(_TAKE):
            messages = item.messages if isinstance(item, Mark) else (item.message,)
            self._unacked.extend(self._events.pop(message) for message in messages)
            if isinstance(item, Record):
                self._collected.append(decode(TOPIC, item.message.value))
            elif isinstance(item, Mark):
                signals, self._collected = self._collected, []
                await self._on_minute(item.label, signals)
                for event in self._unacked:
                    event.ack()
                self._unacked = []
