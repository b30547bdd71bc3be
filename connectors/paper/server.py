"""The paper exchange behind Alpaca's paths, on loopback: the real alpaca-py clients talk to it.

Paths that Alpaca does not have are in ``admin``.
"""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from aiohttp import web

from tapedeck.connectors.alpaca.replies import micros
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.paper import struck, wire
from tapedeck.connectors.paper.admin import Admin, Call, MovableClock
from tapedeck.connectors.paper.data.service import DataService, is_handshake
from tapedeck.connectors.paper.door import Entry
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.orders import NOT_AUTHORISED, NOT_FOUND, NOT_READABLE, Refusal
from tapedeck.connectors.paper.pages import PAGE, activity_page, is_dated, page_of
from tapedeck.connectors.paper.saved import Saved
from tapedeck.connectors.paper.stream import UpdateHub
from tapedeck.connectors.tapes.market import ContractQuote
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import day_number

__all__ = ["MovableClock", "PaperServer"]

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TICK_S = 0.02
_CALLS = 50_000
_NUMBER = web.RequestKey("number", str)
_CAME = web.RequestKey("came", int)


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
        self._port = port
        self._data = data
        self._hub = UpdateHub(exchange, data.altered if data else None)
        self._requests: Counter[str] = Counter()
        self._calls: deque[Call] = deque(maxlen=_CALLS)
        self._machine = SystemClock()
        self._admin = Admin(
            exchange, clock,
            market=market, keeps=saved, data=data, requests=self._requests, calls=self._calls,
        )  # fmt: skip
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
            self._admin.move()
            await asyncio.sleep(_TICK_S)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        for method, path, operation, handler in self._routes():
            app.router.add_route(method, path, handler, name=operation)
        app.router.add_get("/stream", self._hub.serve, name="stream")
        self._admin.add_to(app)
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
        yield "PATCH", "/v2/orders/{id}", "replace", self._replace
        yield "DELETE", "/v2/orders/{id}", "cancel", self._cancel
        yield "DELETE", "/v2/orders", "cancel_all", self._cancel_all
        yield "GET", "/v2/positions", "positions", self._positions
        yield "GET", "/v2/positions/{symbol}", "position", self._position
        yield "DELETE", "/v2/positions/{symbol}", "close", self._close
        yield "GET", "/v2/stocks/quotes/latest", "quote", self._stock_quotes
        yield "GET", "/v1beta1/options/quotes/latest", "option_quote", self._option_quotes
        yield "GET", "/v1beta1/options/snapshots", "option_snapshot", self._option_snapshots
        yield "GET", "/v1beta1/options/snapshots/{underlying}", "chain", self._snapshots
        if self._data is not None:
            yield from self._data.routes()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Move the clock, check the credentials, apply armed faults, and put refusals into words."""
        operation = request.match_info.route.name or "unknown"
        request[_CAME] = self._machine.now()
        self._requests[operation] += 1
        self._admin.move()
        if operation.startswith("_") or is_handshake(request):
            return await handler(request)
        number = self._exchange.authenticate(
            request.headers.get("APCA-API-KEY-ID", ""), request.headers.get("APCA-API-SECRET-KEY", "")
        )
        if number is None:
            return struck.refused(Refusal(401, NOT_AUTHORISED, "request is not authorized"))
        request[_NUMBER] = number
        return await self._through_the_door(operation, number, request, handler)

    async def _through_the_door(
        self, operation: str, number: str, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        door, now = self._exchange.door, self._exchange.now
        subject = await _subject(operation, request)
        early = door.enter(operation, number, now)
        if early is not None:
            if subject:
                door.note(Entry(now, number, operation, subject, 0, early.fault))
            return struck.before(early, request, now, door.calls_per_minute)
        try:
            scene = self._data.strike(operation, request) if self._data else None
            answer = scene or await handler(request)
        except Refusal as refusal:
            answer = struck.refused(refusal)
        self._admin.keep()
        if subject:
            at = request[_CAME], self._machine.now()
            self._calls.append(Call(number, operation, subject, answer.status, *at))
        late = door.leave(operation, number)
        if subject:
            door.note(Entry(now, number, operation, subject, answer.status, late and late.fault))
        return answer if late is None else await struck.after(late, request, answer)

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
        return web.json_response([self._told(symbol) for symbol in self._exchange.board.symbols()])

    async def _asset(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        if symbol not in self._exchange.board.symbols():
            raise Refusal(404, NOT_FOUND, f"asset not found for {symbol}")
        return web.json_response(self._told(symbol))

    def _told(self, symbol: str) -> Json:
        return wire.asset(symbol, borrowable=self._exchange.borrowable(symbol))

    async def _contracts(self, request: web.Request) -> web.Response:
        wanted = request.query.get("underlying_symbols", "").split(",")
        found = [contract for symbol in wanted for contract in self._chain(symbol, request)]
        limit = int(request.query.get("limit", PAGE))
        page, token = page_of(found, limit, request)
        body = {"option_contracts": [wire.contract(each) for each in page], "next_page_token": token}
        return web.json_response(body)

    async def _submit(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.submit(request[_NUMBER], await _body(request)))

    async def _orders(self, request: web.Request) -> web.Response:
        query = request.query
        nested = query.get("nested", "").lower() == "true"
        found = self._exchange.orders(request[_NUMBER], query.get("status", "open"), nested=nested)
        symbols = query["symbols"].split(",") if query.get("symbols") else None
        found = [each for each in found if symbols is None or each["symbol"] in symbols]
        return web.json_response(found[: int(query.get("limit", 50))])

    async def _order(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.order(request[_NUMBER], request.match_info["id"]))

    async def _order_by_client_id(self, request: web.Request) -> web.Response:
        client_id = request.query.get("client_order_id", "")
        return web.json_response(self._exchange.order_by_client_id(request[_NUMBER], client_id))

    async def _cancel(self, request: web.Request) -> web.Response:
        self._exchange.cancel(request[_NUMBER], request.match_info["id"])
        return web.Response(status=204)

    async def _replace(self, request: web.Request) -> web.Response:
        changes = await _body(request)
        return web.json_response(self._exchange.replace(request[_NUMBER], request.match_info["id"], changes))

    async def _cancel_all(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.cancel_all(request[_NUMBER]), status=207)

    async def _position(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.position(request[_NUMBER], request.match_info["symbol"]))

    async def _close(self, request: web.Request) -> web.Response:
        symbol, qty = request.match_info["symbol"], request.query.get("qty")
        return web.json_response(self._exchange.close_position(request[_NUMBER], symbol, qty))

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

    async def _option_snapshots(self, request: web.Request) -> web.Response:
        wanted = request.query.get("symbols", "").split(",")
        told = (self._exchange.option_snapshot(request[_NUMBER], symbol) for symbol in wanted)
        origin, start = self._exchange.board.origin, self._exchange.day_start()
        found = {
            each.quote.symbol: wire.snapshot(each.quote, origin, start, each.trade) | dict.fromkeys(each.gone)
            for each in told
            if each is not None
        }
        return web.json_response({"snapshots": found, "next_page_token": None})

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


async def _subject(operation: str, request: web.Request) -> str:
    """What the journal keeps of a call: the id of the order that it is about, if it is about one."""
    if operation == "submit":
        try:
            asked = await request.json()
        except ValueError:
            return "not JSON"
        return str(asked.get("client_order_id") or "no id") if isinstance(asked, dict) else "not an object"
    if operation == "order":
        return request.query.get("client_order_id", "")
    return request.match_info["id"] if operation in ("cancel", "replace") else ""


async def _body(request: web.Request) -> Json:
    """The JSON object of a request. Raises Refusal for anything else."""
    try:
        found = await request.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, NOT_READABLE, "request body format is invalid")
    return found
