"""What the core of market-data ingest wants done, and the bodies that it writes. Pure."""

from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any, NamedTuple

from tapedeck.connectors.alpaca.market.frames import Bar, Quote
from tapedeck.connectors.tapes.market import StockQuote
from tapedeck.connectors.tapes.tape import bar_body, quote_body
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

Body = dict[str, Any]
MARKET_EVENTS = "market_events"
AHEAD_US = 120 * SECOND_US
"""How far ahead of this machine's clock a time may be."""
_MICRO = Decimal("0.000001")
_LARGEST = Decimal(10) ** 15
_OLDEST = 946_684_800 * SECOND_US  # 2000


class Kind(StrEnum):
    """The kinds of market events."""

    HALTED = "HALTED"
    RESUMED = "RESUMED"
    NO_TRADE = "NO_TRADE"  # REST has no bar of this minute: nothing eligible was traded on this feed
    GAP_FILLED = "GAP_FILLED"  # the stream lacked this minute's bar, REST had it
    COVERAGE = "COVERAGE"  # how many minutes of a session are there


class Why(StrEnum):
    """Why REST is asked."""

    BACKFILL = "BACKFILL"
    GAP = "GAP"
    POLL = "POLL"


class Write(NamedTuple):
    """Append a record."""

    topic: str
    body: Body


class Mark(NamedTuple):
    """Write watermark(label) into every partition of the sources."""

    label: int


class Ask(NamedTuple):
    """Ask REST for the bars of ``symbols`` from minute ``first`` to minute ``last``, both inclusive."""

    why: Why
    symbols: tuple[str, ...]
    first: int
    last: int


class Refuse(NamedTuple):
    """Write a dead letter: what came cannot be used."""

    reason: str
    error: str
    raw: bytes


Step = Write | Mark | Ask | Refuse


def fault_of(bar: Bar, now: int) -> str:
    """Why a bar is not valid; empty if it is."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    if bar.t % MINUTE_US:
        return "it does not start on a whole minute"
    if not _OLDEST <= bar.t <= now + AHEAD_US:
        return "its time is not a time of this market"
    if not all(isfinite(price) and price > 0 for price in prices):
        return "a price is not positive"
    if bar.low > min(bar.open, bar.close) or bar.high < max(bar.open, bar.close):
        return "its low or high does not hold its open and close"
    return "" if isfinite(bar.volume) and bar.volume >= 0 else "its volume is negative"


def bar_record(bar: Bar, revision: int, feed: str) -> Body:
    """A body of ``bars``."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    return bar_body(
        bar.symbol, bar.t, prices, bar.volume, feed=feed, origin=bar.origin or f"alpaca/{feed}",
        revision=revision,
    )  # fmt: skip


def quote_record(quote: Quote, feed: str) -> Body:
    """A body of ``quotes``; prices in six decimals."""
    stock = StockQuote(
        symbol=quote.symbol,
        time=quote.time,
        bid=_money(quote.bid),
        ask=_money(quote.ask),
        bid_size=quote.bid_size,
        ask_size=quote.ask_size,
    )
    return quote_body(stock, feed=feed, origin=quote.origin or f"alpaca/{feed}")


def market_event(
    kind: Kind,
    symbol: str,
    feed: str,
    *,
    event_time: int,
    t: int | None = None,
    detail: str = "",
    expected: int | None = None,
    found: int | None = None,
) -> Write:
    """A record of ``market_events``. ``t``: the minute, or a session's first one, if it is about one."""
    body = {
        "event_id": event_id(MARKET_EVENTS, (feed, symbol, kind.value, t, event_time)),
        "event_time": event_time,
        "symbol": symbol,
        "feed": feed,
        "kind": kind.value,
        "t": t,
        "detail": detail,
        "expected": expected,
        "found": found,
        "origin": f"alpaca/{feed}",
    }
    return Write(MARKET_EVENTS, body)


def _money(price: Decimal | None) -> Decimal | None:
    if price is None or not 0 < price < _LARGEST:
        return None
    return price.quantize(_MICRO) or None
