"""The exchange's own paths, beside Alpaca's: to move its time, to arm what goes wrong, to see what happened.

``POST /_paper/market`` {"tape", ...} continues with another tape's market. ``POST /_paper/advance`` {"label"}
moves the tape's clock. ``POST /_paper/faults`` {"fault", ...} or {"scenario", ...} arms one, {"disarm": name}
disarms one or ``all`` faults, {"temper": profile, "seed"} changes the temper. ``GET /_paper/state`` returns
the time, the market, the requests by operation, what is armed and what fired. ``GET /_paper/books`` returns
what the accounts have done and hold, the journal of calls about orders, and when they came by this machine's
clock.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from aiohttp import web

from tapedeck.connectors.paper import arming, saved
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.tempers import Profile, temper
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal, TapeError

Json = dict[str, Any]


class MovableClock(Protocol):
    """A clock that the player moves. ``runs_at``: how many times as fast as the machine's it runs without."""

    @property
    def runs_at(self) -> float: ...

    def now(self) -> int: ...

    def advance(self, label: int) -> None: ...


class Call(NamedTuple):
    """A call about an order that the exchange answered, as an ``Entry`` of the journal names it.

    ``came`` and ``done`` are this machine's time, UTC microseconds: what it did is on disk by then, if it
    keeps anything there. A fault that delays the answer comes later.
    """

    number: str
    operation: str
    subject: str
    outcome: int
    came: int
    done: int


class Admin:
    """Handlers of the exchange's own paths. ``requests`` counts calls by operation; ``calls`` are the
    newest ones about orders.
    """

    def __init__(
        self,
        exchange: PaperExchange,
        clock: MovableClock,
        *,
        market: TapeSource | None,
        keeps: saved.Saved | None,
        data: DataService | None,
        requests: Counter[str],
        calls: Iterable[Call],
    ) -> None:
        self._exchange, self._clock = exchange, clock
        self._market, self._saved, self._data = market, keeps, data
        self._requests, self._calls = requests, calls
        self._opening = asyncio.Lock()

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/_paper/market", self._open_market, name="_market")
        app.router.add_post("/_paper/advance", self._advance, name="_advance")
        app.router.add_post("/_paper/faults", self._arm, name="_faults")
        app.router.add_get("/_paper/state", self._state, name="_state")
        app.router.add_get("/_paper/books", self._books, name="_books")

    def move(self) -> None:
        """Bring the exchange and its data to the clock's time."""
        self._exchange.advance(self._clock.now())
        self.keep()
        if self._data is not None:
            self._data.advance(self._exchange.now)

    def keep(self) -> None:
        """Save what may have changed, before anyone is told of it."""
        if self._saved is not None:
            self._saved.keep(self._exchange)

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
        self.move()
        if self._saved is not None:
            self._saved.keep_time(self._exchange)
        return web.json_response({"now": self._exchange.now})

    async def _arm(self, request: web.Request) -> web.Response:
        """Arm or disarm a fault or a scenario, or change the temper."""
        asked = await request.json()
        try:
            self._armed(asked)
        except (KeyError, ValueError, TypeError, Fatal) as error:
            raise web.HTTPBadRequest(text=f"not a fault: {error}") from None
        return web.json_response({})

    def _armed(self, asked: Json) -> None:
        faults, name = self._exchange.faults, asked.get("disarm")
        if self._data is not None and "scenario" in asked:
            self._data.scenarios.arm(asked.pop("scenario"), **asked)
        elif "temper" in asked:
            faults.temper = temper(Profile(asked["temper"]), int(asked.get("seed", self._exchange.seed)))
        elif name == "all":
            faults.disarm()
        elif name in set(Fault):
            faults.disarm(Fault(name))
        elif self._data is not None and name is not None:
            self._data.scenarios.disarm(name)
        else:
            arming.arm(faults, asked.pop("fault"), asked)

    async def _state(self, request: web.Request) -> web.Response:
        exchange = self._exchange
        return web.json_response(
            {
                "now": exchange.now,
                "runs_at": self._clock.runs_at,
                "market": self._market.description() if self._market else None,
                "requests": self._requests,
                "temper": exchange.faults.temper.profile if exchange.faults.temper else Profile.CALM,
                "armed": exchange.faults.armed(),
                "fired": exchange.faults.fired,
                "early": exchange.door.early,
                "data": self._data.told() if self._data else None,
            }
        )

    async def _books(self, request: web.Request) -> web.Response:
        exchange = self._exchange
        books = {number: saved.plain_book(book) for number, book in sorted(exchange.books.items())}
        journal, calls = saved.plain(list(exchange.door.journal)), saved.plain(list(self._calls))
        return web.json_response({"books": books, "journal": journal, "calls": calls})
