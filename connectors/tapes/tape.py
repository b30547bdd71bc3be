"""A tape: one session of a market as it arrived, minute by minute, with the session before as warm-up."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

from tapedeck.connectors.tapes.market import Market, StockQuote
from tapedeck.schemas.codec import encode_body
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US

_MICRO = Decimal("0.000001")

Body = dict[str, Any]


class Minute(NamedTuple):
    """What arrives in the minute that starts at ``label``, in arrival order; quotes as of its end."""

    label: int
    bars: tuple[Body, ...]
    quotes: tuple[Body, ...]
    news: tuple[Body, ...] = ()
    posts: tuple[Body, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tape:
    """One playable session.

    ``session`` is its New York date in days since the epoch. ``history`` holds the bars of the session
    before, ordered by (symbol, t). ``minutes`` has every minute from the first to the last, even empty ones.
    ``notes`` are what a reader must know: what is synthetic, what was not checked.
    """

    name: str
    origin: str
    session: int
    feed: str
    universe: Body
    history: tuple[Body, ...]
    minutes: tuple[Minute, ...]
    market: Market
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Minute]:
        return iter(self.minutes)

    @property
    def first_live(self) -> int:
        """Label of the first minute that is played live."""
        return self.minutes[0].label

    def number(self, label: int) -> int:
        """How many minutes come before ``label``."""
        return (label - self.first_live) // MINUTE_US

    @property
    def symbols(self) -> list[str]:
        """The universe's symbols, in its order."""
        return [member["symbol"] for member in self.universe["members"]]

    def digest(self) -> str:
        """SHA-256 over every body, topic by topic in playing order: equal tapes, equal digest."""
        total = sha256(encode_body("universe", self.universe))
        for body in chain(self.history, *(minute.bars for minute in self.minutes)):
            total.update(encode_body("bars", body))
        for body in chain.from_iterable(minute.quotes for minute in self.minutes):
            total.update(encode_body("quotes", body))
        for body in chain.from_iterable(minute.news for minute in self.minutes):
            total.update(encode_body("news", body))
        for body in chain.from_iterable(minute.posts for minute in self.minutes):
            total.update(encode_body("posts", body))
        return total.hexdigest()


def bar_body(
    symbol: str, t: int, prices: Sequence[float], volume: float, *, feed: str, origin: str, revision: int = 0
) -> Body:
    """A record of ``bars``. ``prices``: open, high, low, close; ``t``: left edge, UTC microseconds."""
    opened, high, low, close = prices
    return {
        "event_id": event_id("bars", (feed, symbol, t), revision=revision),
        "event_time": t + MINUTE_US,
        "symbol": symbol,
        "feed": feed,
        "t": t,
        "revision": revision,
        "open": float(opened),
        "high": float(high),
        "low": float(low),
        "close": float(close),
        "volume": float(volume),
        "origin": origin,
    }


def quote_body(quote: StockQuote, *, feed: str, origin: str) -> Body:
    """A record of ``quotes`` for a stock."""
    return {
        "event_id": event_id("quotes", (feed, quote.symbol, quote.time)),
        "event_time": quote.time,
        "instrument": quote.symbol,
        "underlying": quote.symbol,
        "feed": feed,
        "quote_time": quote.time,
        "bid": quote.bid,
        "ask": quote.ask,
        "bid_size": quote.bid_size,
        "ask_size": quote.ask_size,
        "origin": origin,
    }


def universe_body(symbols: Iterable[str], *, source: str, created_at: int, origin: str) -> Body:
    """Version 1 of ``universe``: the tape's own list, whose asset checks were not made."""
    return {
        "event_id": event_id("universe", (1,)),
        "event_time": created_at,
        "version": 1,
        "created_at": created_at,
        "source": source,
        "validated": False,
        "members": [{"symbol": s, "score": None, "reason": "TAPE"} for s in symbols],
        "origin": origin,
    }


def money(value: float | None) -> Decimal | None:
    """``value`` as a decimal of scale 6."""
    return None if value is None else Decimal(str(value)).quantize(_MICRO)


def arrange(
    arrivals: Iterable[tuple[int, Body]], quotes: Iterable[tuple[int, Body]], first: int, last: int
) -> tuple[Minute, ...]:
    """Every minute from ``first`` to ``last`` with what arrives in it, from (label, body) pairs.

    On-time bars come first, by symbol. Then come late and revised ones by (t, symbol, revision), so that a
    late bar really meets a newer one of its symbol.
    """
    bars: dict[int, list[Body]] = {}
    for label, body in arrivals:
        bars.setdefault(label, []).append(body)
    quoted: dict[int, list[Body]] = {}
    for label, body in quotes:
        quoted.setdefault(label, []).append(body)

    def order(label: int, body: Body) -> tuple[bool, int, str, int]:
        straggler = body["t"] < label or body["revision"] > 0
        return straggler, body["t"], body["symbol"], body["revision"]

    return tuple(
        Minute(
            label,
            tuple(sorted(bars.get(label, ()), key=lambda body: order(label, body))),
            tuple(sorted(quoted.get(label, ()), key=lambda body: body["instrument"])),
        )
        for label in range(first, last + MINUTE_US, MINUTE_US)
    )


def with_texts(minutes: tuple[Minute, ...], texts: Iterable[tuple[int, str, Body]]) -> tuple[Minute, ...]:
    """``minutes`` with news and posts, from (label, topic, body) in arrival order.

    What came before the first minute arrives in it; what comes after the last one is left out.
    """
    found: dict[tuple[int, str], list[Body]] = {}
    for label, name, body in texts:
        found.setdefault((max(label, minutes[0].label), name), []).append(body)
    return tuple(
        minute._replace(
            news=(*minute.news, *found.get((minute.label, "news"), ())),
            posts=(*minute.posts, *found.get((minute.label, "posts"), ())),
        )
        for minute in minutes
    )
