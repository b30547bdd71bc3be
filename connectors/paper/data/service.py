"""The data server as the paper exchange holds it: the data, its REST answers and its websockets."""

from collections.abc import Iterable, Iterator

from aiohttp import web

from tapedeck.connectors.paper.data.answers import Answers, Handler
from tapedeck.connectors.paper.data.articles import NewsTape
from tapedeck.connectors.paper.data.feed import MarketData
from tapedeck.connectors.paper.data.messages import Json
from tapedeck.connectors.paper.data.scenarios import Scenario, Scenarios
from tapedeck.connectors.paper.data.sockets import AUTH_S, MOST_WAITING, Authenticate, Sockets
from tapedeck.connectors.paper.orders import FORBIDDEN, NOT_AUTHORISED, TOO_MANY, Refusal
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.sessions import Calendar

_INTERNAL = 50010000
_ELSEWHERE = "http://127.0.0.1:9/moved"
"""Nothing listens on the discard port: a client that follows a redirect is noticed."""


def is_handshake(request: web.Request) -> bool:
    """Whether the request opens a websocket, which checks credentials itself."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


class DataService:
    """Alpaca's market data over a tape. ``authenticate`` tells whose credentials are given."""

    def __init__(
        self,
        tape: Tape,
        calendar: Calendar,
        authenticate: Authenticate,
        *,
        now: int,
        scenarios: Scenarios | None = None,
        news: NewsTape | None = None,
        earlier: Iterable[Tape] = (),
        auth_s: float = AUTH_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.scenarios = scenarios or Scenarios()
        self.data = MarketData(tape, self.scenarios, now=now, news=news, earlier=earlier)
        self._answers = Answers(self.data, calendar)
        self._sockets = Sockets(self.data, authenticate, auth_s=auth_s, most_waiting=most_waiting)
        self._operations = {operation for _, _, operation, _ in self._answers.routes()} | {"quote"}

    def routes(self) -> Iterator[tuple[str, str, str, Handler]]:
        """Method, path, operation and handler. News has one path for REST and for its stream."""
        for method, path, operation, handler in self._answers.routes():
            yield method, path, operation, self._news(handler) if operation == "news" else handler
        for feed in ("iex", "sip"):
            yield "GET", f"/v2/{feed}", f"stream_{feed}", self._sockets.serve

    def _news(self, answer: Handler) -> Handler:
        async def either(request: web.Request) -> web.StreamResponse:
            return await (self._sockets.serve if is_handshake(request) else answer)(request)

        return either

    def advance(self, now: int) -> None:
        """Publish what has become visible."""
        self._sockets.publish(self.data.advance(now))

    def told(self) -> Json:
        """What ``/_paper/state`` shows."""
        return {"feed": self.data.feed, "scenarios": self.scenarios.told()} | self._sockets.told()

    async def close(self) -> None:
        await self._sockets.close()

    def strike(self, operation: str, request: web.Request) -> web.Response | None:
        """The answer in place of the real one, if a scenario has one. Raises Refusal."""
        if operation not in self._operations:
            return None
        newest = operation not in ("bars", "news") and request.query.get("feed") == "sip"
        if newest and self._taken(Scenario.SIP_15MIN_403, operation):
            raise Refusal(403, FORBIDDEN, "subscription does not permit querying recent SIP data")
        if self._taken(Scenario.REVOKED_KEYS, operation):
            raise Refusal(401, NOT_AUTHORISED, "unauthorized.")
        if self._taken(Scenario.REST_429, operation):
            body = Refusal(429, TOO_MANY, "too many requests.").body()
            headers = {"Retry-After": "1", "X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "0"}
            return web.json_response(body, status=429, headers=headers)
        if self._taken(Scenario.REST_500, operation):
            raise Refusal(500, _INTERNAL, "internal server error occurred")
        if self._taken(Scenario.REDIRECTS, operation):
            return web.Response(status=302, headers={"Location": _ELSEWHERE})
        return None

    def altered(self, update: Json) -> Json:
        """The trade update to send in place of one."""
        return update | {"data": None} if self._taken(Scenario.NULL_UPDATES, "trade update") else update

    def _taken(self, scenario: Scenario, detail: str) -> bool:
        return self.scenarios.take(scenario, self.data.now, detail) is not None
