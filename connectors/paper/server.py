"""The paper exchange behind Alpaca's paths, on loopback: the real alpaca-py clients talk to it.

Besides Alpaca's paths it has four of its own: ``POST /_paper/market`` {"tape", ...} continues with another
tape's market, ``POST /_paper/advance`` {"label"} moves the tape's clock, ``POST /_paper/faults``
{"fault", ...} or {"scenario", ...} arms a fault or a scenario, {"disarm": scenario} disarms one,
``GET /_paper/state`` returns the time, the market, the requests by operation, and what fired.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from aiohttp import web

from tapedeck.connectors.alpaca.replies import micros
from tapedeck.connectors.paper import wire
from tapedeck.connectors.paper.data.service import DataService, is_handshake
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.orders import NOT_AUTHORISED, NOT_FOUND, TOO_MANY, Refusal
from tapedeck.connectors.paper.pages import PAGE, activity_page, is_dated, page_of
from tapedeck.connectors.paper.saved import Saved
from tapedeck.connectors.paper.stream import UpdateHub
from tapedeck.connectors.tapes.market import ContractQuote
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.streams.sessions import day_number

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TICK_S = 0.02
_NUMBER = web.RequestKey("number", str)


class MovableClock(Protocol):
    """A clock that the player moves. ``runs_at``: how many times as fast as the machine's it runs without."""

    @property
    def runs_at(self) -> float: ...

    def now(self) -> int: ...

    def advance(self, label: int) -> None: ...


class PaperServer:
    """Serves one exchange. Run ``start``, read ``url``, and ``stop`` in the same event loop.

    ``market`` is the source of the first market. With ``saved``, every change is on disk before anyone is
    told of it. With ``data``, Alpaca's market-data paths are served too.
    """

    def __init__(
        self,
        exchange: PaperExchange,
        clock: MovableClock,
        *,
        port: int = 0,
        market: TapeSource | None = None,
        saved: Saved | None = None,
        data: DataService | None = None,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._port = port
        self._market = market
        self._saved = saved
        self._data = data
        self._opening = asyncio.Lock()
        self._hub = UpdateHub(exchange, data.altered if data else None)
        self._requests: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on loopback. Raises Fatal if the port is taken."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._port))
        except OSError as error:
            listener.close()
            raise Fatal(
                f"the paper exchange cannot listen: {error.strerror}",
                value=self._port,
                remedy="choose another port, or 0 for a free one",
            ) from None
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        await self._hub.close()
        if self._data is not None:
            await self._data.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tick(self) -> None:
        while True:
            self._move()
            await asyncio.sleep(_TICK_S)

    def _move(self) -> None:
        """Bring the exchange and its data to the clock's time."""
        self._exchange.advance(self._clock.now())
        self._keep()
        if self._data is not None:
            self._data.advance(self._exchange.now)

    def _keep(self) -> None:
        if self._saved is not None:
            self._saved.keep(self._exchange)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        for method, path, operation, handler in self._routes():
            app.router.add_route(method, path, handler, name=operation)
        app.router.add_get("/stream", self._hub.serve, name="stream")
        app.router.add_post("/_paper/market", self._open_market, name="_market")
        app.router.add_post("/_paper/advance", self._advance, name="_advance")
        app.router.add_post("/_paper/faults", self._arm, name="_faults")
        app.router.add_get("/_paper/state", self._state, name="_state")
        return app

    def _routes(self) -> Iterator[tuple[str, str, str, Handler]]:
        yield "GET", "/v2/account", "account", self._account
        yield "GET", "/v2/account/activities/FILL", "activities", self._activities
        yield "GET", "/v2/account/activities", "option_activities", self._option_activities
        yield "GET", "/v2/clock", "clock", self._market_clock
        yield "GET", "/v2/calendar", "calendar", self._calendar
        yield "GET", "/v2/assets", "assets", self._assets
        yield "GET", "/v2/assets/{symbol}", "asset", self._asset
        yield "GET", "/v2/options/contracts", "contracts", self._contracts
        yield "POST", "/v2/orders", "submit", self._submit
        yield "GET", "/v2/orders", "orders", self._orders
        yield "GET", "/v2/orders:by_client_order_id", "order", self._order_by_client_id
        yield "GET", "/v2/orders/{id}", "order_by_id", self._order
        yield "DELETE", "/v2/orders/{id}", "cancel", self._cancel
        yield "GET", "/v2/positions", "positions", self._positions
        yield "GET", "/v2/stocks/quotes/latest", "quote", self._stock_quotes
        yield "GET", "/v1beta1/options/quotes/latest", "option_quote", self._option_quotes
        yield "GET", "/v1beta1/options/snapshots/{underlying}", "chain", self._snapshots
        if self._data is not None:
            yield from self._data.routes()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Move the clock, check the credentials, apply armed faults, and put refusals into words."""
        operation = request.match_info.route.name or "unknown"
        self._requests[operation] += 1
        self._move()
        if operation.startswith("_") or is_handshake(request):
            return await handler(request)
        number = self._exchange.authenticate(
            request.headers.get("APCA-API-KEY-ID", ""), request.headers.get("APCA-API-SECRET-KEY", "")
        )
        if number is None:
            return _refused(Refusal(401, NOT_AUTHORISED, "request is not authorized"))
        request[_NUMBER] = number
        early = self._strike_before(operation, number, request)
        if early is not None:
            return early
        try:
            struck = self._data.strike(operation, request) if self._data else None
            answer = struck or await handler(request)
        except Refusal as refusal:
            answer = _refused(refusal)
        self._keep()
        return await self._strike_after(operation, number, request, answer)

    def _strike_before(self, operation: str, number: str, request: web.Request) -> web.StreamResponse | None:
        faults = self._exchange.faults
        if faults.take(Fault.RATE_LIMIT, operation, number):
            return _refused(Refusal(429, TOO_MANY, "too many requests."))
        if faults.take(Fault.GATEWAY_TIMEOUT_BEFORE, operation, number):
            return _gateway_timeout()
        if faults.take(Fault.DROP_BEFORE, operation, number):
            return _dropped(request)
        return None

    async def _strike_after(
        self, operation: str, number: str, request: web.Request, answer: web.StreamResponse
    ) -> web.StreamResponse:
        faults = self._exchange.faults
        wait = faults.seconds(Fault.DELAY, operation, number)
        if wait is not None:
            await asyncio.sleep(wait)
        if faults.take(Fault.GATEWAY_TIMEOUT_AFTER, operation, number):
            return _gateway_timeout()
        if faults.take(Fault.DROP_AFTER, operation, number):
            return _dropped(request)
        return answer

    async def _account(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.account(request[_NUMBER]))

    async def _activities(self, request: web.Request) -> web.Response:
        after = micros(request.query["after"]) + 1 if "after" in request.query else 0
        return activity_page(self._exchange.activities(request[_NUMBER], after), request)

    async def _option_activities(self, request: web.Request) -> web.Response:
        after = micros(request.query["after"]) if "after" in request.query else 0
        kinds = request.query.get("activity_types", "").split(",")
        found = self._exchange.option_activities(request[_NUMBER], after)
        return activity_page([each for each in found if each["activity_type"] in kinds], request)

    async def _market_clock(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.clock())

    async def _calendar(self, request: web.Request) -> web.Response:
        first, last = (day_number(date.fromisoformat(request.query[edge])) for edge in ("start", "end"))
        return web.json_response(self._exchange.sessions(first, last))

    async def _assets(self, request: web.Request) -> web.Response:
        return web.json_response([wire.asset(symbol) for symbol in self._exchange.board.symbols()])

    async def _asset(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        if symbol not in self._exchange.board.symbols():
            raise Refusal(404, NOT_FOUND, f"asset not found for {symbol}")
        return web.json_response(wire.asset(symbol))

    async def _contracts(self, request: web.Request) -> web.Response:
        wanted = request.query.get("underlying_symbols", "").split(",")
        found = [contract for symbol in wanted for contract in self._chain(symbol, request)]
        limit = int(request.query.get("limit", PAGE))
        page, token = page_of(found, limit, request)
        body = {"option_contracts": [wire.contract(each) for each in page], "next_page_token": token}
        return web.json_response(body)

    async def _submit(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.submit(request[_NUMBER], await request.json()))

    async def _orders(self, request: web.Request) -> web.Response:
        found = self._exchange.orders(request[_NUMBER], request.query.get("status", "open"))
        return web.json_response(found[: int(request.query.get("limit", 50))])

    async def _order(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.order(request[_NUMBER], request.match_info["id"]))

    async def _order_by_client_id(self, request: web.Request) -> web.Response:
        client_id = request.query.get("client_order_id", "")
        return web.json_response(self._exchange.order_by_client_id(request[_NUMBER], client_id))

    async def _cancel(self, request: web.Request) -> web.Response:
        self._exchange.cancel(request[_NUMBER], request.match_info["id"])
        return web.Response(status=204)

    async def _positions(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.positions(request[_NUMBER]))

    async def _stock_quotes(self, request: web.Request) -> web.Response:
        board, now = self._exchange.board, self._exchange.now
        wanted = {symbol: board.stock(symbol, now) for symbol in request.query.get("symbols", "").split(",")}
        quotes = {
            symbol: wire.stock_quote(each, board.quote_origin) for symbol, each in wanted.items() if each
        }
        return web.json_response({"quotes": quotes})

    async def _option_quotes(self, request: web.Request) -> web.Response:
        board, now = self._exchange.board, self._exchange.now
        wanted = {symbol: board.quote(symbol, now) for symbol in request.query.get("symbols", "").split(",")}
        quotes = {
            symbol: wire.option_quote(each, board.origin)
            for symbol, each in wanted.items()
            if isinstance(each, ContractQuote)
        }
        return web.json_response({"quotes": quotes})

    async def _snapshots(self, request: web.Request) -> web.Response:
        found = self._chain(request.match_info["underlying"], request)
        page, token = page_of(found, int(request.query.get("limit", PAGE)), request)
        origin, start = self._exchange.board.origin, self._exchange.day_start()
        snapshots = {each.symbol: wire.snapshot(each, origin, start) for each in page}
        return web.json_response({"snapshots": snapshots, "next_page_token": token})

    def _chain(self, underlying: str, request: web.Request) -> list[ContractQuote]:
        """The contracts that pass the query's type, expiry and strike filters."""
        query = request.query
        lowest, highest = (
            Decimal(query[f"strike_price_{edge}"]) if f"strike_price_{edge}" in query else None
            for edge in ("gte", "lte")
        )
        return [
            each
            for each in self._exchange.board.chain(underlying, self._exchange.now).values()
            if query.get("type", each.right.lower()) == each.right.lower()
            and (lowest is None or each.strike >= lowest)
            and (highest is None or each.strike <= highest)
            and is_dated(each, query.get("expiration_date_gte"), query.get("expiration_date_lte"))
        ]

    async def _open_market(self, request: web.Request) -> web.Response:
        """Answer when the market is open. Nothing is read if that market is already served."""
        asked = await request.json()
        try:
            source = TapeSource.described(asked)
            async with self._opening:
                if self._market is None or source.description() != self._market.description():
                    tape = await asyncio.to_thread(source.load)
                    self._exchange.open_market(tape.market, tape.first_live)
                    self._market = source
                    if self._data is not None:
                        self._data.data.open(tape, self._exchange.now)
                    if self._saved is not None:
                        self._saved.keep(self._exchange)
                        self._saved.keep_time(self._exchange, source.description())
        except (TapeError, KeyError, TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"no market: {error}") from None
        return web.json_response({"now": self._exchange.now})

    async def _advance(self, request: web.Request) -> web.Response:
        label = (await request.json())["label"]
        if not isinstance(label, int):
            raise web.HTTPBadRequest(text="label must be whole UTC microseconds")
        self._clock.advance(label)
        self._move()
        if self._saved is not None:
            self._saved.keep_time(self._exchange)
        return web.json_response({"now": self._exchange.now})

    async def _arm(self, request: web.Request) -> web.Response:
        """Arm a fault or a scenario, or disarm a scenario."""
        asked = await request.json()
        try:
            if self._data is not None and "scenario" in asked:
                self._data.scenarios.arm(asked.pop("scenario"), **asked)
            elif self._data is not None and "disarm" in asked:
                self._data.scenarios.disarm(asked["disarm"])
            else:
                self._exchange.faults.arm(Fault(asked.pop("fault")), **asked)
        except (KeyError, ValueError, TypeError, Fatal) as error:
            raise web.HTTPBadRequest(text=f"not a fault: {error}") from None
        return web.json_response({})

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "now": self._exchange.now,
                "runs_at": self._clock.runs_at,
                "market": self._market.description() if self._market else None,
                "requests": self._requests,
                "fired": self._exchange.faults.fired,
                "data": self._data.told() if self._data else None,
            }
        )


def _refused(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.body(), status=refusal.status)


def _gateway_timeout() -> web.Response:
    """The answer of a load balancer: not JSON."""
    return web.Response(
        status=504, text="<html><body>504 Gateway Time-out</body></html>", content_type="text/html"
    )


def _dropped(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        with contextlib.suppress(OSError):
            request.transport.abort()
    return web.Response(status=504)
