"""Generated data for tapes that lack it: quotes around each close, and the market with its option chain."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from math import sqrt

from tapedeck.connectors.tapes.chain import ORIGIN as CHAIN_ORIGIN
from tapedeck.connectors.tapes.chain import SyntheticChain, Underlying, no_chain
from tapedeck.connectors.tapes.market import StockQuote, TapeMarket, quote_time
from tapedeck.connectors.tapes.tape import Body, money
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar

_SYNTHETIC = "synthetic/"
QUOTES_MADE = f"{_SYNTHETIC}quotes"
_MINUTES_A_YEAR = 252 * 390
_VOL_BOUNDS = (0.12, 0.9)
_ACTIVITY = 20_000.0
_SMALL_TICK = 0.0001  # of a stock under a dollar
_NAMED = 5
_LARGEST = 1e12  # the largest value of a quote's decimal


def made_quotes(arrivals: list[tuple[int, Body]], feed: str) -> dict[str, list[StockQuote]]:
    """A quote around the close of each on-time bar, by symbol, for tapes without quotes."""
    found: dict[str, list[StockQuote]] = {}
    for _, body in sorted(arrivals, key=lambda pair: (pair[1]["t"], pair[1]["revision"])):
        if body["revision"] == 0 and body["close"] > 0 and body["feed"] == feed:
            found.setdefault(body["symbol"], []).append(made_quote(body["symbol"], body["t"], body["close"]))
    return found


def made_quote(symbol: str, ts: int, close: float) -> StockQuote:
    """A quote around one close."""
    return stock_quote(symbol, ts, *_around(close))


def _around(close: float) -> tuple[float | None, float]:
    """(bid, ask) a cent or a basis point from ``close``; a tick if that leaves no bid, or no bid at all."""
    half = max(0.01, round(close * 0.0001, 2))
    if close - half > 0:
        return close - half, close + half
    bid = close - _SMALL_TICK
    return (bid if bid >= _SMALL_TICK else None), close + _SMALL_TICK


def stock_quote(
    symbol: str,
    ts: int,
    bid: float | None,
    ask: float | None,
    sizes: tuple[float | None, float | None] = (None, None),
) -> StockQuote:
    """The quote as of the end of the minute of ``ts``; an unknown side or size is None."""
    edge = ts - ts % MINUTE_US + MINUTE_US
    return StockQuote(
        symbol=symbol,
        time=quote_time(symbol, edge),
        bid=_known(bid),
        ask=_known(ask),
        bid_size=None if sizes[0] is None else int(sizes[0]),
        ask_size=None if sizes[1] is None else int(sizes[1]),
    )


def _known(side: float | None) -> Decimal | None:
    return None if side is None or abs(side) >= _LARGEST else money(side)


def market_over(
    quotes: dict[str, list[StockQuote]], bars: list[Body], day: int, calendar: Calendar, quote_origin: str
) -> TapeMarket:
    """The market of a tape's quotes, with a synthetic chain at the volatility of ``bars``."""
    return TapeMarket(
        quotes,
        chain_of(_closes(bars), day, calendar),
        origin=CHAIN_ORIGIN,
        quote_origin=quote_origin,
        restated=quote_origin.startswith(_SYNTHETIC),
    )


def chain_of(closes: Mapping[str, Sequence[float]], day: int, calendar: Calendar) -> SyntheticChain:
    """The chain of a session at the volatility of ``closes``: minute closes by symbol, in order."""
    session = calendar.session_on(day)
    assert session is not None
    known = {
        symbol: Underlying(reference=rows[-1], volatility=_volatility(rows), activity=_ACTIVITY)
        for symbol, rows in closes.items()
        if rows[-1] > 0
    }
    return SyntheticChain(known, session, calendar)


def chain_notes(bars: list[Body]) -> list[str]:
    """Which symbols have no option chain, and why: their bars play, and only their stock is traded."""
    found: dict[str, list[str]] = {}
    for symbol, rows in sorted(_closes(bars).items()):
        why = no_chain(symbol, rows[-1]) if rows[-1] > 0 else "its last price is not above 0"
        if why is not None:
            found.setdefault(why, []).append(symbol)
    notes = []
    for why, names in found.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        notes.append(f"no option chain for {', '.join(names[:_NAMED])}{more}: {why}")
    return notes


def _closes(bars: list[Body]) -> dict[str, list[float]]:
    closes: dict[str, list[float]] = {}
    for body in bars:
        closes.setdefault(body["symbol"], []).append(body["close"])
    return closes


def _volatility(closes: Sequence[float]) -> float:
    """Annual volatility from minute closes, within sane bounds."""
    returns = [b / a - 1 for a, b in pairwise(closes) if a > 0]
    mean_square = sum(r * r for r in returns) / max(1, len(returns))
    return min(_VOL_BOUNDS[1], max(_VOL_BOUNDS[0], sqrt(mean_square * _MINUTES_A_YEAR)))
