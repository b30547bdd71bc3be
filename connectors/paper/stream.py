"""The paper exchange's trade-update websocket: authenticate, listen, then one binary frame per update."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.gates import UpdateGate
from tapedeck.streams.protocol import SECOND_US

Json = dict[str, Any]


@dataclass(eq=False)
class _Connection:
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    number: str | None = None
    listening: bool = False
    waiting: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)


class UpdateHub:
    """Carries the exchange's trade updates to every connection that listens to their account.

    ``altered``: what is sent in place of an update.
    """

    def __init__(self, exchange: PaperExchange, altered: Callable[[Json], Json] | None = None) -> None:
        self._exchange = exchange
        self._altered = altered
        self._gates: dict[str, UpdateGate] = {}
        self._closed_until: dict[str, int] = {}
        self._connections: list[_Connection] = []
        exchange.listen(self._heard)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One connection, from handshake to close."""
        socket = web.WebSocketResponse(heartbeat=20.0)
        await socket.prepare(request)
        connection = _Connection(socket, request.transport)
        self._connections.append(connection)
        writer = asyncio.create_task(_write(connection))
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._answer(connection, json.loads(message.data))
        finally:
            self._connections.remove(connection)
            writer.cancel()
        return socket

    async def close(self) -> None:
        for connection in list(self._connections):
            await connection.socket.close()

    def _answer(self, connection: _Connection, asked: Json) -> None:
        data = asked.get("data") or {}
        if asked.get("action") == "authenticate":
            key, secret = str(data.get("key_id")), str(data.get("secret_key"))
            connection.number = self._exchange.authenticate(key, secret)
            if connection.number and self._exchange.now < self._closed_until.get(connection.number, 0):
                _cut(connection)
                return
            status = "unauthorized" if connection.number is None else "authorized"
            answer = {"action": "authenticate", "status": status}
            connection.waiting.put_nowait({"stream": "authorization", "data": answer})
        elif asked.get("action") == "listen" and connection.number is not None:
            streams = list(data.get("streams") or [])
            connection.listening = "trade_updates" in streams
            connection.waiting.put_nowait({"stream": "listening", "data": {"streams": streams}})

    def _heard(self, number: str, update: Json) -> None:
        if self._ears(number):
            gate = self._gates.get(number)
            if gate is None:
                gate = self._gates[number] = UpdateGate(
                    self._exchange,
                    number,
                    lambda passed: self._send(number, passed),
                    lambda seconds: self._end(number, seconds),
                )
            gate.put(update)

    def _ears(self, number: str) -> list[_Connection]:
        return [each for each in self._connections if each.listening and each.number == number]

    def _send(self, number: str, update: Json) -> None:
        sent = self._altered(update) if self._altered is not None else update
        for connection in self._ears(number):
            connection.waiting.put_nowait(sent)

    def _end(self, number: str, seconds: float) -> None:
        """End the account's connections; new ones end at once until so many seconds have passed."""
        self._closed_until[number] = self._exchange.now + round(seconds * SECOND_US)
        for connection in self._ears(number):
            _cut(connection)


def _cut(connection: _Connection) -> None:
    """Close the connection without a close frame."""
    connection.listening = False
    if connection.transport is not None:
        connection.transport.abort()


async def _write(connection: _Connection) -> None:
    while True:
        message = await connection.waiting.get()
        await connection.socket.send_bytes(json.dumps(message).encode())
