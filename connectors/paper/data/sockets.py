"""Alpaca's market-data websockets: welcome, log-in, acknowledged subscriptions, then data as it is published.

A key has one connection per endpoint. Errors have Alpaca's codes and words. A client that does not keep up is
told 407 and cut; nothing waits for it without bound.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from tapedeck.connectors.paper.data.clients import Client
from tapedeck.connectors.paper.data.feed import NEWS, Event, MarketData
from tapedeck.connectors.paper.data.messages import Json, Message, read
from tapedeck.connectors.paper.data.scenarios import Armed, Scenario

Authenticate = Callable[[str, str], str | None]
AUTH_S = 10.0
"""Alpaca closes a connection that has not logged in by then."""
MOST_WAITING = 8 * 1024 * 1024
MOST_SYMBOLS = 50_000
"""More than any market has: what a client subscribed to is kept."""
ERRORS = {
    400: "invalid syntax", 401: "not authenticated", 402: "auth failed", 403: "already authenticated",
    404: "auth timeout", 405: "symbol limit exceeded", 406: "connection limit exceeded", 407: "slow client",
    409: "insufficient subscription", 410: "invalid subscribe action for this feed", 500: "internal error",
}  # fmt: skip
_REFUSED = {
    Scenario.AUTH_TIMEOUT: 404,
    Scenario.AUTH_FAILED: 402,
    Scenario.REVOKED_KEYS: 402,
    Scenario.INSUFFICIENT_SUBSCRIPTION: 409,
    Scenario.CONNECTION_LIMIT: 406,
}
Mail = list[tuple[Client, list[Message]]]


def error(code: int) -> Json:
    return {"T": "error", "code": code, "msg": ERRORS.get(code, "error")}


class Sockets:
    """The stock streams of each feed and the news stream."""

    def __init__(
        self,
        data: MarketData,
        authenticate: Authenticate,
        *,
        auth_s: float = AUTH_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._data = data
        self._authenticate = authenticate
        self._auth_s, self._most_waiting = auth_s, most_waiting
        self._clients: list[Client] = []
        self._ghosts: dict[tuple[str, str], int] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._refused: Counter[int] = Counter()

    def told(self) -> Json:
        """What ``/_paper/state`` shows: connections, and the errors sent by code."""
        return {"connections": [each.told() for each in self._clients], "errors": self._refused}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from handshake to close."""
        endpoint = request.path.rpartition("/")[2]
        if self._take(Scenario.HANDSHAKE_429, request.path, endpoint):
            return web.Response(status=429, text="too many requests")
        socket = web.WebSocketResponse(heartbeat=20.0, compress=False)
        await socket.prepare(request)
        client = Client(
            socket,
            request.transport,
            endpoint=endpoint,
            packed="msgpack" in request.headers.get("Content-Type", ""),
            most_waiting=self._most_waiting,
        )
        self._clients.append(client)
        client.say({"T": "success", "msg": "connected"})
        writer = asyncio.create_task(client.write())
        deadline = asyncio.get_running_loop().call_later(self._auth_s, self._no_log_in, client)
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._answer(client, message.data)
        finally:
            deadline.cancel()
            self._clients.remove(client)
            writer.cancel()
        return socket

    async def close(self) -> None:
        for client in list(self._clients):
            client.cut()
        await asyncio.gather(*self._farewells, return_exceptions=True)

    def publish(self, events: list[Event]) -> None:
        """Queue what each client subscribed to, unless a scenario strikes."""
        mail: Mail = []
        for client in self._clients:
            mine = [each.message for each in events if client.wants(each)] if client.key else []
            if mine:
                mail.append((client, mine))
        for client, mine in self._struck(mail) if mail else ():
            if client.muted_until <= self._data.now and client.key and not client.offer(mine):
                self._leave(client, 407)

    def _struck(self, mail: Mail) -> Mail:
        """The mail that is left after the scenarios that cut, mute or disturb a stream."""
        if hit := self._hit(Scenario.GHOST_SESSION, mail):
            armed, client, _ = hit
            assert client.key is not None
            self._ghosts[client.endpoint, client.key] = self._data.now + armed.microseconds
            client.cut()
        if hit := self._hit(Scenario.STREAM_CUT, mail):
            hit[1].cut()
        while hit := self._hit(Scenario.REVOKED_KEYS, mail):
            hit[1].cut()
        if hit := self._hit(Scenario.MUTE, mail):
            for client in self._clients:
                if hit[0].endpoint in (None, client.endpoint):
                    client.muted_until = self._data.now + hit[0].microseconds
        if hit := self._hit(Scenario.SLOW_CLIENT_CUT, mail):
            self._leave(hit[1], 407)
        if hit := self._hit(Scenario.STREAM_ERROR, mail):
            self._refuse(hit[1], hit[0].code)
        if hit := self._hit(Scenario.UNKNOWN_FRAME, mail):
            hit[2].insert(0, Message({"T": "zz", "S": "AAPL", "what": "an unknown type"}))
        return mail

    def _hit(self, scenario: Scenario, mail: Mail) -> tuple[Armed, Client, list[Message]] | None:
        """The scenario and the first connected client that it strikes, recorded."""
        for client, mine in mail:
            if client.key and (armed := self._take(scenario, f"{client.endpoint} stream", client.endpoint)):
                return armed, client, mine
        return None

    def _answer(self, client: Client, data: str | bytes) -> None:
        try:
            asked = read(data, client.packed)
            action = asked.pop("action")
        except (ValueError, AttributeError, KeyError, TypeError):
            self._refuse(client, 400)
            return
        if action == "auth":
            self._log_in(client, str(asked.get("key")), str(asked.get("secret")))
        elif client.key is None:
            self._refuse(client, 401)
        elif action in ("subscribe", "unsubscribe"):
            self._subscribe(client, action, asked)
        else:
            self._refuse(client, 400)

    def _log_in(self, client: Client, key: str, secret: str) -> None:
        if client.key is not None:
            self._refuse(client, 403)
            return
        code = self._no(client, key, secret)
        if code is not None:
            self._leave(client, code)
            return
        client.key = key
        client.say({"T": "success", "msg": "authenticated"})

    def _no(self, client: Client, key: str, secret: str) -> int | None:
        """The code of a log-in that is refused."""
        for scenario, code in _REFUSED.items():
            if self._take(scenario, f"log-in to {client.endpoint}", client.endpoint):
                return code
        if self._authenticate(key, secret) is None:
            return 402
        if self._ghosts.get((client.endpoint, key), 0) > self._data.now:
            return 406
        others = [each for each in self._clients if (each.endpoint, each.key) == (client.endpoint, key)]
        if others and self._take(Scenario.SECOND_CONNECTION, f"log-in to {client.endpoint}", client.endpoint):
            for each in others:
                self._leave(each, 406)
        return 406 if others else None

    def _subscribe(self, client: Client, action: str, asked: Mapping[str, Any]) -> None:
        wanted = {name: symbols for name, symbols in asked.items() if symbols}
        if not all(isinstance(found, list) and set(map(type, found)) == {str} for found in wanted.values()):
            self._refuse(client, 400)
        elif set(wanted) - set(client.channels):
            self._refuse(client, 410)
        elif action == "unsubscribe":
            client.unsubscribe(wanted)
        elif not self._is_over_limit(client, wanted):
            client.subscribe(wanted)

    def _is_over_limit(self, client: Client, wanted: Mapping[str, list[str]]) -> bool:
        """Whether it is too many symbols: then none is added."""
        symbols = client.with_added(wanted)
        if len(symbols) > MOST_SYMBOLS:
            self._refuse(client, 405)
            return True
        armed = self._data.scenarios.waits(Scenario.SYMBOL_LIMIT, endpoint=client.endpoint)
        if armed is None or client.endpoint == NEWS:
            return False
        asked = len(self._data.symbols(client.endpoint)) if "*" in symbols else len(symbols)
        if asked <= armed.limit:
            return False
        self._data.scenarios.record(armed, self._data.now, f"{asked} symbols, limit {armed.limit}")
        self._refuse(client, 405)
        return True

    def _no_log_in(self, client: Client) -> None:
        if client.key is None:
            self._leave(client, 404)

    def _refuse(self, client: Client, code: int) -> None:
        self._refused[code] += 1
        client.say(error(code))

    def _leave(self, client: Client, code: int) -> None:
        self._refused[code] += 1
        task = asyncio.get_running_loop().create_task(client.leave(error(code)))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    def _take(self, scenario: Scenario, detail: str, endpoint: str) -> Armed | None:
        return self._data.scenarios.take(scenario, self._data.now, detail, endpoint=endpoint)
