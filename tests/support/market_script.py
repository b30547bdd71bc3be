"""A websocket server that plays a script: one step after the other, one script a connection."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed

from tapedeck.connectors.alpaca.updates import quiet_log
from tapedeck.connectors.credentials import Credentials

KEYS = Credentials(key="key-data", secret="secret-data-frobozz")
Json = dict[str, Any]
Step = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection as the script sees it; ``heard`` is what the client sent."""

    def __init__(self, connection: ServerConnection, heard: list[Json]) -> None:
        self._connection, self._heard = connection, heard

    async def say(self, *messages: Any) -> None:
        await self._connection.send(json.dumps(list(messages)))

    async def hear(self) -> Json:
        message = json.loads(await self._connection.recv())
        self._heard.append(message)
        return message

    async def closed(self) -> None:
        await self._connection.wait_closed()

    async def close(self, code: int = 1000) -> None:
        await self._connection.close(code)


async def log_in(line: Line) -> None:
    await line.say({"T": "success", "msg": "connected"})
    await line.hear()
    await line.say({"T": "success", "msg": "authenticated"})


def subscribe(*, but: tuple[str, ...] = ()) -> Step:
    """Acknowledge one subscription, without the symbols ``but``."""

    async def step(line: Line) -> None:
        await _answer(line, [], but, 10_000)

    return step


def subscriptions(*, most: int = 10_000) -> Step:
    """Answer every subscription until the client leaves; 405 above ``most`` symbols."""

    async def step(line: Line) -> None:
        held: list[str] = []
        while True:
            await _answer(line, held, (), most)

    return step


async def _answer(line: Line, held: list[str], but: tuple[str, ...], most: int) -> None:
    asked = await line.hear()
    named = [symbol for symbol in asked["bars"] if symbol not in but]
    whole = [s for s in held if s not in named] + (named if asked["action"] == "subscribe" else [])
    if len(whole) > most:
        await line.say({"T": "error", "code": 405, "msg": "symbol limit exceeded"})
        return
    held[:] = whole
    await line.say({"T": "subscription", "trades": [], **{n: whole for n in asked if n != "action"}})


def say(*messages: Any) -> Step:
    async def step(line: Line) -> None:
        await line.say(*messages)

    return step


def error(code: int, message: str = "no") -> Step:
    return say({"T": "error", "code": code, "msg": message})


def wait(seconds: float) -> Step:
    async def step(line: Line) -> None:
        await asyncio.sleep(seconds)

    return step


async def stay(line: Line) -> None:
    """Answer nothing and stay open."""
    await line.closed()


async def close(line: Line) -> None:
    await line.close()


class Server:
    """What happened: handshakes, what clients sent. ``statuses``: HTTP answers to the first handshakes.

    ``rest`` answers requests for historical bars, by their path.
    """

    def __init__(self, scripts: tuple[tuple[Step, ...], ...], statuses: tuple[int, ...]) -> None:
        self._scripts, self._statuses = scripts, list(statuses)
        self.heard: list[Json] = []
        self.paths: list[str] = []
        self.at: list[float] = []
        self.opened = 0
        self.url = ""
        self.rest: Callable[[str], Json] | None = None

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.rest is not None and "/stocks/" in request.path:
            content = json.dumps(self.rest(request.path)).encode()
            return Response(200, "OK", Headers({"Content-Length": str(len(content))}), content)
        self.paths.append(request.path)
        self.at.append(asyncio.get_running_loop().time())
        if not self._statuses:
            return None
        status = HTTPStatus(self._statuses.pop(0))
        return Response(status.value, status.phrase, Headers(), b"")

    async def play(self, connection: ServerConnection) -> None:
        script = self._scripts[min(self.opened, len(self._scripts) - 1)]
        self.opened += 1
        line = Line(connection, self.heard)
        try:
            for step in script:
                await step(line)
        except ConnectionClosed:
            pass


@asynccontextmanager
async def scripted(*scripts: tuple[Step, ...], statuses: tuple[int, ...] = ()) -> AsyncIterator[Server]:
    """A server on a free loopback port; the last script is played for every further connection too."""
    server = Server(scripts, statuses)
    async with serve(
        server.play, "127.0.0.1", 0, process_request=server.answer, logger=quiet_log
    ) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"http://127.0.0.1:{port}"
        yield server
