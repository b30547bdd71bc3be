"""One client of a data websocket: what it subscribed to, and what waits to be sent, within a bound."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from aiohttp import web

from tapedeck.connectors.paper.data.feed import NEWS, Event
from tapedeck.connectors.paper.data.messages import Json, Message, frame

STOCK_CHANNELS = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections",
    "cancelErrors",
)  # fmt: skip
_WITH_TRADES = ("corrections", "cancelErrors")
_FRAME = 500
"""Messages in a frame at most: clients refuse a frame beyond a size."""
_FAREWELL_S = 1.0


class Client:
    """``endpoint`` is ``iex``, ``sip`` or ``news``; ``packed``: msgpack, else JSON.

    At most ``most_waiting`` bytes wait for a client that reads more slowly than it is sent to.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        endpoint: str,
        packed: bool,
        most_waiting: int,
    ) -> None:
        self.endpoint, self.packed = endpoint, packed
        self.key: str | None = None
        self.muted_until = 0
        self._socket, self._transport = socket, transport
        self._most_waiting, self._waiting_bytes = most_waiting, 0
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        channels = (NEWS,) if endpoint == NEWS else STOCK_CHANNELS
        self._wanted: dict[str, dict[str, None]] = {name: {} for name in channels}
        self._gone = False

    @property
    def channels(self) -> list[str]:
        return list(self._wanted)

    def told(self) -> Json:
        """What ``/_paper/state`` shows."""
        return {
            "endpoint": self.endpoint,
            "authenticated": self.key is not None,
            "subscribed": {name: list(found) for name, found in self._wanted.items() if found},
            "waiting_bytes": self._waiting_bytes,
        }

    def wants(self, event: Event) -> bool:
        if event.feed != self.endpoint:
            return False
        wanted = self._wanted[event.channel]
        return "*" in wanted or any(symbol in wanted for symbol in event.symbols)

    def with_added(self, asked: Mapping[str, Iterable[str]]) -> set[str]:
        """The symbols of all channels if ``asked`` were added."""
        return {symbol for found in (*self._wanted.values(), *asked.values()) for symbol in found}

    def subscribe(self, asked: Mapping[str, Iterable[str]]) -> None:
        for channel, symbols in asked.items():
            self._wanted[channel] |= dict.fromkeys(symbols)
        self._acknowledge()

    def unsubscribe(self, asked: Mapping[str, Iterable[str]]) -> None:
        for channel, symbols in asked.items():
            for symbol in symbols:
                self._wanted[channel].pop(symbol, None)
        self._acknowledge()

    def _acknowledge(self) -> None:
        for channel in _WITH_TRADES:
            if channel in self._wanted:
                self._wanted[channel] = self._wanted["trades"]
        self.say({"T": "subscription"} | {name: list(found) for name, found in self._wanted.items()})

    def say(self, *told: Json) -> None:
        """A message of the protocol itself. A client that lets too many of them wait is cut."""
        self._put(frame(map(Message, told), self.packed))
        if self._waiting_bytes > self._most_waiting:
            self.cut()

    def offer(self, messages: list[Message]) -> bool:
        """Queue data. False, and nothing queued, for a client that is too slow."""
        frames = [frame(messages[at : at + _FRAME], self.packed) for at in range(0, len(messages), _FRAME)]
        if self._waiting_bytes + sum(map(len, frames)) > self._most_waiting:
            return False
        for each in frames:
            self._put(each)
        return True

    def _put(self, data: bytes) -> None:
        if not self._gone:
            self._waiting_bytes += len(data)
            self._waiting.put_nowait(data)

    async def write(self) -> None:
        """Send what waits, until the task is canceled."""
        while True:
            data = await self._waiting.get()
            await self._send(data)
            self._waiting_bytes -= len(data)

    async def _send(self, data: bytes) -> None:
        if self.packed:
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(data.decode())

    def cut(self) -> None:
        """Close the connection without a close frame."""
        self._drop()
        if self._transport is not None:
            self._transport.abort()

    async def leave(self, told: Json) -> None:
        """Say one last thing, close, and do not wait for a client that does not read."""
        said = [] if self._gone else [*self._left(), frame([Message(told)], self.packed)]
        self._drop()
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_FAREWELL_S):
                for each in said:
                    await self._send(each)
                await self._socket.close()
                return
        if self._transport is not None:
            self._transport.abort()

    def _left(self) -> list[bytes]:
        """What waits, where it is only the protocol's own words."""
        if self.key is not None:
            return []
        return [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]

    def _drop(self) -> None:
        self._gone, self.key = True, None
        self._waiting_bytes = 0
        while not self._waiting.empty():
            self._waiting.get_nowait()
