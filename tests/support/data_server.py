"""A small tape with every kind of bar, a data server over it, and plain clients of its websockets."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import msgpack
import requests
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.live.stock import StockDataStream
from alpaca.data.live.websocket import DataStream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tapedeck.connectors.paper.data.articles import Article, NewsList
from tapedeck.connectors.paper.data.scenarios import Scenarios
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.connectors.paper.server import MovableClock
from tapedeck.connectors.tapes.market import StockQuote
from tapedeck.connectors.tapes.tape import Body, Tape, arrange, bar_body, quote_body, universe_body
from tapedeck.streams.sessions import xnys
from tests.support.paper import DAY, LARGE, MINUTE, OPEN, SECOND, StepClock, TinyMarket, exchange, serving

SYMBOLS = ("AMD", "NVDA")
ORIGIN = "synthetic/test"
MINUTES = 12
BEFORE = OPEN - 4 * 24 * 60 * MINUTE
"""The open of Friday, 13 February 2026: the session before."""
LATE, REVISED, ABSENT = 3, 5, 7
"""Minutes of the tape in which NVDA's bar is late, revised once, or does not exist."""
Json = dict[str, Any]


def bar(symbol: str, t: int, *, revision: int = 0, feed: str = "iex") -> Body:
    base = (100.0 if symbol == "AMD" else 150.0) + (t // MINUTE) % 97 / 100 + revision / 100
    prices = (base, base + 0.5, base - 0.5, base + 0.25)
    return bar_body(symbol, t, prices, 1_000.0 + revision, feed=feed, origin=ORIGIN, revision=revision)


def made_tape(*, feed: str = "iex") -> Tape:
    """Twelve minutes from the open on, and ten minutes of the session before."""
    arrivals = []
    for n in range(MINUTES):
        t = OPEN + n * MINUTE
        arrivals.append((t, bar("AMD", t, feed=feed)))
        if n != ABSENT:
            arrivals.append((t + MINUTE if n == LATE else t, bar("NVDA", t, feed=feed)))
        if n == REVISED:
            arrivals.append((t + MINUTE, bar("NVDA", t, revision=1, feed=feed)))
    quotes = []
    for n in range(MINUTES):
        t = OPEN + n * MINUTE
        at = StockQuote(
            symbol="NVDA", time=t + 58 * SECOND, bid=D("149.98"), ask=None, bid_size=3, ask_size=None
        )
        quotes.append((t, quote_body(at, feed=feed, origin=ORIGIN)))
    history = [bar(s, BEFORE + n * MINUTE, feed=feed) for s in SYMBOLS for n in range(10)]
    return Tape(
        name="made", origin=ORIGIN, session=DAY, feed=feed,
        universe=universe_body(SYMBOLS, source="MANUAL", created_at=OPEN - MINUTE, origin=ORIGIN),
        history=tuple(history), minutes=arrange(arrivals, quotes, OPEN, OPEN + (MINUTES - 1) * MINUTE),
        market=TinyMarket(),
    )  # fmt: skip


def article(number: int, at: int, *symbols: str, **changes: Any) -> Article:
    words = {"headline": f"headline {number}", "summary": "s", "content": f"<p>content {number}</p>"}
    told = {"id": number, "created_at": at, "updated_at": at, "symbols": symbols} | words
    return Article(**told | changes)


@dataclass
class Served:
    """A running data server. ``to`` moves its clock, by minutes of the tape and seconds."""

    url: str
    clock: MovableClock
    service: DataService
    streams: list["Ears"] = field(default_factory=list)

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws")

    def to(self, minutes: float, seconds: float = 0) -> None:
        """``minutes`` after the open, and ``seconds``."""
        assert isinstance(self.clock, StepClock)
        self.clock.time = OPEN + int(minutes * MINUTE + seconds * SECOND)
        self.state()

    def state(self) -> Json:
        found: Json = requests.get(f"{self.url}/_paper/state", timeout=5).json()
        return found

    def arm(self, scenario: str, **how: Any) -> None:
        answer = requests.post(f"{self.url}/_paper/faults", json={"scenario": scenario, **how}, timeout=5)
        assert answer.ok, answer.text

    def fired(self, scenario: str) -> int:
        return int(self.state()["data"]["scenarios"]["counts"].get(scenario, 0))

    def ask(self, path: str, **query: Any) -> requests.Response:
        keys = {"APCA-API-KEY-ID": LARGE.key, "APCA-API-SECRET-KEY": LARGE.secret}
        return requests.get(f"{self.url}{path}", params=query, headers=keys, timeout=5, allow_redirects=False)

    def bars(self, **query: Any) -> dict[str, list[Json]]:
        asked = {"symbols": "AMD,NVDA", "timeframe": "1Min", "feed": "iex", "start": iso(OPEN)} | query
        found: dict[str, list[Json]] = self.ask("/v2/stocks/bars", **asked).json()["bars"]
        return found

    def history(self) -> StockHistoricalDataClient:
        return StockHistoricalDataClient(LARGE.key, LARGE.secret, raw_data=True, url_override=self.url)


@contextmanager
def data_server(
    tape: Tape | None = None, *, news: Iterable[Article] = (), scenarios: Iterable[str] = (), **how: Any
) -> Iterator[Served]:
    """A server whose clock stands at the open of the tape."""
    tape = tape or made_tape()
    paper, clock = exchange(now=OPEN), StepClock(OPEN)
    service = DataService(
        tape, xnys(), paper.authenticate, now=OPEN, scenarios=Scenarios(scenarios), news=NewsList(news), **how
    )
    with serving(paper, clock, service) as url:
        served = Served(url, clock, service)
        try:
            yield served
        finally:
            for each in served.streams:
                each.stop()


def iso(t: int) -> str:
    return datetime.fromtimestamp(t / 1e6, UTC).isoformat().replace("+00:00", "Z")


class Plain:
    """A websocket client that shows every frame, in JSON or msgpack."""

    def __init__(self, url: str, *, packed: bool = False) -> None:
        headers = {"Content-Type": "application/msgpack"} if packed else {}
        self._packed = packed
        self._open = ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(url, additional_headers=headers, max_size=None)
        )

    def close(self) -> None:
        self._open.close()

    def send(self, **told: Any) -> None:
        self.socket.send(msgpack.packb(told) if self._packed else json.dumps(told))

    def next(self, timeout: float = 5.0) -> list[Json]:
        """The messages of the next frame. Raises TimeoutError, or ConnectionClosed."""
        data = self.socket.recv(timeout)
        found: list[Json] = msgpack.unpackb(data) if self._packed else json.loads(data)
        return found

    def log_in(self, key: str = LARGE.key, secret: str = LARGE.secret) -> list[Json]:
        assert self.next() == [{"T": "success", "msg": "connected"}]
        self.send(action="auth", key=key, secret=secret)
        return self.next()

    def subscribe(self, **channels: list[str]) -> Json:
        self.send(action="subscribe", **channels)
        (found,) = self.next()
        return found

    def none_more(self) -> bool:
        try:
            return not self.next(0.15)
        except TimeoutError:
            return True

    def is_closed(self) -> bool:
        try:
            while True:
                self.next()
        except ConnectionClosed:
            return True
        except TimeoutError:
            return False


@contextmanager
def plain(url: str, *, log_in: bool = True, packed: bool = False, **channels: list[str]) -> Iterator[Plain]:
    """A client, logged in and subscribed to ``channels``."""
    client = Plain(url, packed=packed)
    try:
        if log_in:
            assert client.log_in() == [{"T": "success", "msg": "authenticated"}]
        if channels:
            assert client.subscribe(**channels)["T"] == "subscription"
        yield client
    finally:
        client.close()


class Ears:
    """One of alpaca-py's streams in a thread, and what its handlers heard."""

    def __init__(self, served: Served, stream: DataStream, start: Callable[[Any, Any], None]) -> None:
        self.heard: list[Any] = []
        self._stream = stream
        stream._reconnect_min_backoff = stream._reconnect_max_backoff = 0.05
        start(stream, self._handle)
        self._thread = threading.Thread(target=stream.run, daemon=True)
        before = _subscribed(served)
        self._thread.start()
        served.streams.append(self)
        until(lambda: _subscribed(served) > before)

    async def _handle(self, message: Any) -> None:
        self.heard.append(message)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stream.stop_ws(), self._stream._loop).result(5)
        if self._stream._ws is not None:
            asyncio.run_coroutine_threadsafe(self._stream.close(), self._stream._loop)
        self._thread.join(8)


def listen_to_bars(served: Served, **how: Any) -> Ears:
    """alpaca-py's stock stream with bars, updated bars, quotes and statuses of all symbols."""

    def start(stream: Any, handle: Any) -> None:
        for subscribe in (
            stream.subscribe_bars,
            stream.subscribe_updated_bars,
            stream.subscribe_quotes,
            stream.subscribe_trading_statuses,
        ):
            subscribe(handle, "*")

    stream = StockDataStream(LARGE.key, LARGE.secret, url_override=f"{served.ws}/v2/iex", **how)
    return Ears(served, stream, start)


def _subscribed(served: Served) -> int:
    return sum(bool(each["subscribed"]) for each in served.state()["data"]["connections"])


def until(holds: Callable[[], bool], seconds: float = 8.0) -> None:
    """Wait until it holds. Fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
