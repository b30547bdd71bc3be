"""A seeded synthetic market: 28 stocks, day after day, with everything that goes wrong in a real one.

The first day of a market has an invented session before it as its warm-up. Each later day continues from what
was played: prices from the last close, and the bars of the day before as its warm-up. The same (seed, first
day, session, symbols) gives the same tape, byte for byte. All records are labeled ``synthetic/seed-N``.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple
from zlib import crc32

import numpy as np

from tapedeck.connectors.tapes.chain import SyntheticChain, Underlying
from tapedeck.connectors.tapes.market import StockQuote, TapeMarket, quote_time
from tapedeck.connectors.tapes.plants import Floats, Plant, plan, shape_returns, shape_volume
from tapedeck.connectors.tapes.profiles import PROFILES, Profile, profile
from tapedeck.connectors.tapes.tape import (
    Body,
    Tape,
    arrange,
    bar_body,
    money,
    quote_body,
    universe_body,
    with_texts,
)
from tapedeck.connectors.tapes.texts.day import texts
from tapedeck.connectors.tapes.texts.drafts import Day as TextDay
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, Session, day_number, iso_date, xnys

DEFAULT_SEED = 7
DEFAULT_SESSION = date(2026, 2, 17)

_MARKET_DAY_VOL = 0.008
_SESSIONS_A_YEAR = 252
_ROOM_FOR_PLANTS = 300  # a half day has none: its last entries come too early
_EXTENDED = 5  # minutes before the open and after the close
_EXTENDED_FROM = 18.0  # million shares a day: only these trade outside the session
_LATE, _REVISED = 0.003, 0.004  # chance per bar
_TAIL = 3  # the most minutes that a bar is late


class Day(NamedTuple):
    """One session of one stock, an element per minute: prices in dollars, rounded to cents."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def prices(self, i: int) -> tuple[float, float, float, float]:
        return float(self.open[i]), float(self.high[i]), float(self.low[i]), float(self.close[i])


class _Stock(NamedTuple):
    """One stock on one day. ``rng`` decides what happens to its bars and quotes, in a fixed order."""

    symbol: str
    profile: Profile
    before: Day
    today: Day
    plant: Plant | None
    rng: np.random.Generator


class _Label(NamedTuple):
    feed: str
    origin: str


class _Played(NamedTuple):
    """What arrives on one day: quotes by symbol, (minute of arrival, bar) unordered."""

    first: int
    last: int
    quotes: dict[str, list[StockQuote]]
    arrivals: list[tuple[int, Body]]

    def bars(self) -> tuple[Body, ...]:
        """Its bars, as the warm-up of the next day."""
        bars = (body for _, body in self.arrivals)
        return tuple(sorted(bars, key=lambda body: (body["symbol"], body["t"], body["revision"])))


def generate(
    seed: int = DEFAULT_SEED,
    *,
    session: date = DEFAULT_SESSION,
    since: date | None = None,
    symbols: tuple[str, ...] = tuple(PROFILES),
    feed: str = "iex",
    calendar: Calendar | None = None,
) -> Tape:
    """The tape of ``session`` in the market whose first day is ``since``; None begins with ``session``.

    Raises Fatal for a date without a session, a ``since`` after it, or an unknown symbol.
    """
    calendar = calendar or xnys()
    begun = _session(since or session, calendar)
    today = _session(session, calendar)
    if begun.date > today.date:
        remedy = f"name a session from {since} on"
        raise Fatal("the market starts after this session", value=str(session), remedy=remedy)
    made = _Making(seed, symbols, _Label(feed, origin_of(seed)), calendar, begun)
    for day in calendar.between(begun.date + 1, today.date):
        made.turn_to(day)
    return made.tape()


class _Making:
    """A market on its way, at one of its sessions."""

    def __init__(
        self, seed: int, symbols: tuple[str, ...], label: "_Label", calendar: Calendar, begun: Session
    ) -> None:
        self._seed, self._symbols, self._label, self._calendar = seed, symbols, label, calendar
        self._stocks, self._before = _first_day(seed, symbols, begun, calendar)
        self._yesterday: tuple[list[_Stock], Session] | None = None
        self._session = begun
        self._played: _Played | None = None

    def turn_to(self, session: Session) -> None:
        """Go on to the next session."""
        self._yesterday, self._known = (self._stocks, self._session), self._played
        self._stocks, self._session = _next_day(self._seed, self._stocks, session), session
        self._played = None

    def _history(self) -> tuple[Body, ...]:
        label, stocks = self._label, sorted(self._stocks)
        if self._yesterday is None:
            return tuple(body for stock in stocks for body in _history(stock, self._before, label))
        return (self._known or _played(*self._yesterday, label)).bars()

    def tape(self) -> Tape:
        """The tape of the session. Call it once: what happens to bars and quotes is drawn in order."""
        seed, symbols, today, label = self._seed, self._symbols, self._session, self._label
        played = self._played = _played(self._stocks, today, label)
        history = self._history()
        minutes = arrange(played.arrivals, _quote_bodies(played.quotes, label), played.first, played.last)
        plants = _plants(seed, today, is_first=self._yesterday is None)
        written = _texts(seed, symbols, TextDay(today, played.first, tuple(PROFILES), plants, label.origin))
        source = "DEFAULT" if symbols == tuple(PROFILES) else "MANUAL"
        first, chain = played.first, _chain(self._stocks, today, self._calendar)
        return Tape(
            name=f"synthetic session of {iso_date(today.date)}, seed {seed}",
            origin=label.origin,
            session=today.date,
            feed=label.feed,
            universe=universe_body(symbols, source=source, created_at=first - MINUTE_US, origin=label.origin),
            history=history,
            minutes=with_texts(minutes, written),
            market=TapeMarket(played.quotes, chain, origin=label.origin, restated=True),
            notes=(
                f"every bar, quote, option contract, article and post is synthetic ({label.origin})",
                "the universe is the generator's own list; its asset checks were skipped",
            ),
        )


def _texts(seed: int, symbols: Iterable[str], day: TextDay) -> Iterator[tuple[int, str, Body]]:
    """The day's articles and posts about ``symbols``, and those about none."""
    wanted = {*symbols, None}
    for text in texts(seed, day):
        if text.symbol in wanted:
            yield text.label, text.topic, text.body


def origin_of(seed: int) -> str:
    """The label of everything generated from ``seed``."""
    return f"synthetic/seed-{seed}"


def days(
    seed: int = DEFAULT_SEED,
    *,
    first: date,
    last: date,
    symbols: tuple[str, ...] = tuple(PROFILES),
    feed: str = "iex",
    calendar: Calendar | None = None,
) -> Iterator[Tape]:
    """The market that begins on ``first``, one tape per session up to ``last``. Raises Fatal as above."""
    calendar = calendar or xnys()
    begun = _session(first, calendar)
    made = _Making(seed, symbols, _Label(feed, origin_of(seed)), calendar, begun)
    for each in calendar.between(begun.date, day_number(last)):
        if each != begun:
            made.turn_to(each)
        yield made.tape()


def _session(day: date, calendar: Calendar) -> Session:
    found = calendar.session_on(day_number(day))
    if found is None or calendar.previous(found.date) is None:
        raise Fatal("the market has no session on this date", value=str(day), remedy="name a trading day")
    return found


def _first_day(
    seed: int, symbols: tuple[str, ...], today: Session, calendar: Calendar
) -> tuple[list[_Stock], Session]:
    """The stocks of a market's first day, and the session before it."""
    before = calendar.previous(today.date)
    assert before is not None
    plants = _plants(seed, today, is_first=True)
    common = [
        _common(np.random.default_rng([seed, 2 + n]), _minutes(each))
        for n, each in enumerate((before, today))
    ]
    return [_stock(seed, symbol, common, plants.get(symbol)) for symbol in symbols], before


def _next_day(seed: int, stocks: list[_Stock], today: Session) -> list[_Stock]:
    """The stocks one session later: each opens from its last close."""
    plants = _plants(seed, today, is_first=False)
    common = _common(np.random.default_rng([seed, 2, today.date]), _minutes(today))
    found = []
    for symbol, made_of, _, before, _, _ in stocks:
        rng = np.random.default_rng([seed, 100, crc32(symbol.encode()), today.date])
        plant = plants.get(symbol)
        day = _day(rng, made_of, _opening(rng, made_of, before), common, plant)
        found.append(_Stock(symbol, made_of, before, day, plant, rng))
    return found


def _plants(seed: int, session: Session, *, is_first: bool) -> dict[str, Plant]:
    """The planted moves of a market's session, whether or not it has their stocks."""
    rng = np.random.default_rng([seed, 1] if is_first else [seed, 1, session.date])
    found = plan(rng) if _minutes(session) >= _ROOM_FOR_PLANTS else ()
    return {plant.symbol: plant for plant in found}


def _played(stocks: list[_Stock], session: Session, label: _Label) -> _Played:
    first = session.open - _EXTENDED * MINUTE_US
    last = session.close + (_EXTENDED - 1) * MINUTE_US
    minutes = range(first, last + 1, MINUTE_US)
    quotes = {stock.symbol: _quotes(stock, session, minutes) for stock in stocks}
    return _Played(
        first, last, quotes, [pair for stock in stocks for pair in _arrivals(stock, session, label)]
    )


def _minutes(session: Session) -> int:
    return (session.close - session.open) // MINUTE_US


def _volatility_shape(n: int) -> Floats:
    """Minute volatility over a session relative to its level: high after the open, a little at the close."""
    i = np.arange(n)
    return 0.85 + 0.8 * np.exp(-i / 25) + 0.25 * np.exp(-(n - i) / 20)


def _volume_shape(n: int) -> Floats:
    """The U of intraday volume, mean 1."""
    i = np.arange(n)
    shape = 0.7 + 1.8 * np.exp(-i / 20) + 1.6 * np.exp(-(n - 1 - i) / 25)
    return np.asarray(shape / shape.mean())


def _common(rng: np.random.Generator, n: int) -> Floats:
    """The market's own log return per minute."""
    return np.asarray(rng.standard_normal(n) * _MARKET_DAY_VOL / np.sqrt(n) * _volatility_shape(n))


def _stock(seed: int, symbol: str, common: list[Floats], plant: Plant | None) -> _Stock:
    made_of = profile(symbol)
    rng = np.random.default_rng([seed, 100, crc32(symbol.encode())])
    before = _day(rng, made_of, made_of.price * float(np.exp(0.01 * rng.standard_normal())), common[0], None)
    today = _day(rng, made_of, _opening(rng, made_of, before), common[1], plant)
    return _Stock(symbol, made_of, before, today, plant, rng)


def _opening(rng: np.random.Generator, made_of: Profile, before: Day) -> float:
    """The first price of a day: a gap from the last close."""
    gap = float(np.clip(0.35 * made_of.day_vol * rng.standard_normal(), -0.025, 0.025))
    return float(before.close[-1]) * float(np.exp(gap))


def _day(
    rng: np.random.Generator, made_of: Profile, start: float, common: Floats, plant: Plant | None
) -> Day:
    n = len(common)
    whole, shared = made_of.day_vol**2, (made_of.beta * _MARKET_DAY_VOL) ** 2
    own_vol = np.sqrt(max(whole - shared, 0.3 * whole))
    returns = made_of.beta * common + rng.standard_normal(n) * own_vol / np.sqrt(n) * _volatility_shape(n)
    usual = made_of.shares * 1e6 / n * _volume_shape(n)
    minute_vol = made_of.day_vol / np.sqrt(n)
    volume = usual * np.exp(0.2 * rng.standard_normal(n)) * (1 + 0.08 * np.abs(returns) / minute_vol)
    if plant is not None:
        shape_returns(plant, rng, returns)
        shape_volume(plant, rng, volume, usual)
    close = start * np.exp(np.cumsum(returns))
    opened = np.concatenate([[start], close[:-1] * np.exp(0.1 * minute_vol * rng.standard_normal(n - 1))])
    wicks = np.exp(0.4 * minute_vol * np.abs(rng.standard_normal((2, n))))
    high, low = np.maximum(opened, close) * wicks[0], np.minimum(opened, close) / wicks[1]
    cents = [np.round(prices, 2) for prices in (opened, high, low, close)]
    return Day(cents[0], cents[1], cents[2], cents[3], np.maximum(1.0, np.round(volume)))


def _history(stock: _Stock, session: Session, label: _Label) -> list[Body]:
    missing = stock.rng.random(len(stock.before.close)) < stock.profile.gappy
    return [
        _bar(
            stock.symbol, session.open + i * MINUTE_US, stock.before.prices(i), stock.before.volume[i], label
        )
        for i in np.flatnonzero(~missing).tolist()
    ]


def _arrivals(stock: _Stock, session: Session, label: _Label) -> list[tuple[int, Body]]:
    """(minute of arrival, bar) of every bar of the live session, with late and revised ones."""
    n = len(stock.today.close)
    missing, late, revised = stock.rng.random((3, n)) < np.array([[stock.profile.gappy], [_LATE], [_REVISED]])
    delays = stock.rng.integers(1, _TAIL + 1, n)
    quiet = set(stock.plant.window()) if stock.plant else set()
    found = _extended(stock, session, label)
    for i in range(n):
        if missing[i] and i not in quiet:
            continue
        t, prices, volume = session.open + i * MINUTE_US, stock.today.prices(i), float(stock.today.volume[i])
        is_late = bool(late[i]) and i not in quiet
        arrival = t + int(delays[i]) * MINUTE_US * is_late
        found.append((arrival, _bar(stock.symbol, t, prices, volume, label)))
        if revised[i] and not is_late and i not in quiet:
            late_trade = round((prices[1] + prices[2]) / 2, 2)
            again = (prices[0], prices[1], prices[2], late_trade)
            again_bar = _bar(stock.symbol, t, again, round(volume * 1.03), label, revision=1)
            found.append((t + MINUTE_US, again_bar))
    return found


def _extended(stock: _Stock, session: Session, label: _Label) -> list[tuple[int, Body]]:
    """A few thin bars before the open and after the close of the busiest stocks."""
    if stock.profile.shares < _EXTENDED_FROM:
        return []
    found = []
    before = (session.open - _EXTENDED * MINUTE_US, stock.today.open[0])
    after = (session.close, stock.today.close[-1])
    for first, price in (before, after):
        for t in range(first, first + _EXTENDED * MINUTE_US, MINUTE_US):
            shares = float(stock.rng.integers(100, 5_000))
            found.append((t, _bar(stock.symbol, t, (float(price),) * 4, shares, label)))
    return found


def _bar(
    symbol: str, t: int, prices: tuple[float, ...], volume: float, label: _Label, *, revision: int = 0
) -> Body:
    return bar_body(symbol, t, prices, float(volume), feed=label.feed, origin=label.origin, revision=revision)


def _quotes(stock: _Stock, session: Session, labels: range) -> list[StockQuote]:
    """The quote as of the end of each minute, a cent or a basis point either side of the path."""
    sizes = stock.rng.integers(1, 21, (len(labels), 2)) * 100
    found = []
    for at, label in enumerate(labels):
        i = (label - session.open) // MINUTE_US
        price = stock.today.open[0] if i < 0 else stock.today.close[min(i, len(stock.today.close) - 1)]
        half = max(0.01, round(float(price) * 0.0001, 2))
        found.append(
            StockQuote(
                symbol=stock.symbol,
                time=quote_time(stock.symbol, label + MINUTE_US),
                bid=money(round(float(price) - half, 2)),
                ask=money(round(float(price) + half, 2)),
                bid_size=int(sizes[at, 0]),
                ask_size=int(sizes[at, 1]),
            )
        )
    return found


def _quote_bodies(quotes: dict[str, list[StockQuote]], label: _Label) -> list[tuple[int, Body]]:
    return [
        (quote.time - quote.time % MINUTE_US, quote_body(quote, feed=label.feed, origin=label.origin))
        for rows in quotes.values()
        for quote in rows
    ]


def _chain(stocks: list[_Stock], session: Session, calendar: Calendar) -> SyntheticChain:
    return SyntheticChain(
        {
            stock.symbol: Underlying(
                reference=float(stock.before.close[-1]),
                volatility=1.1 * stock.profile.day_vol * _SESSIONS_A_YEAR**0.5,
                activity=8_000 + 2.0 * stock.profile.shares * stock.profile.price,
            )
            for stock in stocks
        },
        session,
        calendar,
    )
