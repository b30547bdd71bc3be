"""A tiny market, an exchange over it, and a server in a thread, for the tests of the broker's edge."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal as D
from typing import Any

import requests

from tapedeck.connectors.credentials import Credentials
from tapedeck.connectors.paper.book import PaperAccount
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.fills import Fees
from tapedeck.connectors.paper.server import MovableClock, PaperServer
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote
from tapedeck.streams.sessions import day_number, micros, xnys
from tapedeck.streams.stages.account.rules import occ

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = day_number(date(2026, 2, 17))
LARGE = PaperAccount("PAPER-LARGE", "key-large", "secret-large-xyzzy", D(100_000))
TINY = PaperAccount("PAPER-TINY", "key-tiny", "secret-tiny-plugh", D(5_000))
LARGE_KEYS = Credentials(key=LARGE.key, secret=LARGE.secret)


def at(text: str) -> int:
    """UTC microseconds of a time on the test's session, 2026-02-17 (open 14:30, close 21:00)."""
    return micros(datetime.fromisoformat(f"2026-02-17T{text}").replace(tzinfo=UTC))


OPEN, TEN, CLOSE = at("14:30:00"), at("15:00:00.5"), at("21:00:00")
CALL = "NVDA260220C00150000"
PUT = "NVDA260220P00150000"
FAR_CALL = "NVDA260320C00150000"
TODAY_CALL = "NVDA260217C00150000"


class TinyMarket:
    """Two stocks and a handful of NVDA contracts. Prices change by ``price(symbol, bid, ask)`` only."""

    origin = quote_origin = "synthetic/test"

    def __init__(self) -> None:
        self.theta: float | None = None
        """Of every contract, USD per share and day."""
        self.prices: dict[str, tuple[D | None, D | None]] = {
            "NVDA": (D("149.98"), D("150.02")),
            "AMD": (D("99.99"), D("100.01")),
            CALL: (D("2.00"), D("2.10")),
            PUT: (D("1.90"), D("2.00")),
            FAR_CALL: (D("5.00"), D("5.20")),
            TODAY_CALL: (D("1.00"), D("1.10")),
        }

    def price(self, symbol: str, bid: str | None, ask: str | None) -> None:
        self.prices[symbol] = (D(bid) if bid else None, D(ask) if ask else None)

    def symbols(self) -> list[str]:
        return ["AMD", "NVDA"]

    def stock_quote(self, symbol: str, now: int) -> StockQuote | None:
        bid, ask = self.prices[symbol]
        return StockQuote(symbol=symbol, time=now - SECOND, bid=bid, ask=ask, bid_size=3, ask_size=4)

    def chain(self, underlying: str, now: int) -> list[ContractQuote]:
        names = sorted(name for name in self.prices if name.startswith(underlying) and name != underlying)
        return [self._contract(name, now) for name in names]

    def contract(self, symbol: str, underlying: str, now: int) -> ContractQuote | None:
        return self._contract(symbol, now) if symbol in self.prices else None

    def _contract(self, name: str, now: int) -> ContractQuote:
        parsed = occ.parse(name)
        bid, ask = self.prices[name]
        return ContractQuote(
            symbol=name, underlying=parsed.root, expiry=parsed.expiry, right=parsed.right.value,
            strike=parsed.strike, size=100, time=now - SECOND, bid=bid, ask=ask, volume=900,
            open_interest=400, delta=0.4 if parsed.right is occ.Right.CALL else -0.4, theta=self.theta,
        )  # fmt: skip


class StepClock:
    """A clock that the test or ``/_paper/advance`` moves: a label means the end of its minute."""

    runs_at = 0.0

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def advance(self, label: int) -> None:
        self.time = max(self.time, label + MINUTE)


def exchange(market: TinyMarket | None = None, **changes: Any) -> PaperExchange:
    options: dict[str, Any] = {"now": TEN, "seed": 7, "fees": Fees()} | changes
    accounts = options.pop("accounts", [LARGE, TINY])
    return PaperExchange(market or TinyMarket(), xnys(), accounts, **options)


def order(client_order_id: str = "td1-a", **changes: Any) -> dict[str, Any]:
    """A POST body: by default a marketable buy of two calls."""
    body = {
        "symbol": CALL,
        "qty": "2",
        "side": "buy",
        "type": "limit",
        "limit_price": "2.10",
        "time_in_force": "day",
        "client_order_id": client_order_id,
        "position_intent": "buy_to_open",
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


@contextmanager
def serving(paper: PaperExchange, clock: MovableClock, data: DataService | None = None) -> Iterator[str]:
    """The exchange on a free loopback port, in its own thread; yields the base URL."""
    loop = asyncio.new_event_loop()
    server = PaperServer(paper, clock, data=data)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def arm(url: str, fault: str, **options: Any) -> None:
    assert requests.post(f"{url}/_paper/faults", json={"fault": fault, **options}, timeout=5).ok


def state(url: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{url}/_paper/state", timeout=5).json()
    return found
