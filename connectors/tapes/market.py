"""What a paper broker may know of the market: stock quotes and option chains at any moment of a tape."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, Protocol
from zlib import crc32

from tapedeck.streams.protocol import MINUTE_US

Right = Literal["CALL", "PUT"]

_NEAREST_US, _FARTHEST_US = 200_000, 3_000_000
RESTATE_US = 10_000_000


@dataclass(frozen=True, kw_only=True)
class StockQuote:
    """Best bid and ask of a stock; ``time`` in UTC microseconds, an unknown side is None."""

    symbol: str
    time: int
    bid: Decimal | None
    ask: Decimal | None
    bid_size: int | None
    ask_size: int | None


@dataclass(frozen=True, kw_only=True)
class ContractQuote:
    """One option contract: ``symbol`` in unpadded OCC form, ``expiry`` in days since the epoch,
    ``volume`` of the session so far, ``size`` shares a contract."""

    symbol: str
    underlying: str
    expiry: int
    right: Right
    strike: Decimal
    size: int
    time: int
    bid: Decimal | None
    ask: Decimal | None
    volume: int | None
    open_interest: int | None
    delta: float | None
    theta: float | None = None
    """USD per share and day."""


class Market(Protocol):
    """The market at a moment. ``origin`` labels its chain, ``quote_origin`` its stock quotes."""

    @property
    def origin(self) -> str: ...

    @property
    def quote_origin(self) -> str: ...

    def symbols(self) -> list[str]:
        """Every stock that is quoted, sorted."""
        ...

    def stock_quote(self, symbol: str, now: int) -> StockQuote | None:
        """The newest quote at or before ``now``; None if there is none yet."""
        ...

    def chain(self, underlying: str, now: int) -> list[ContractQuote]:
        """Every contract of ``underlying``, sorted by symbol; empty if the stock has no quote yet."""
        ...

    def contract(self, symbol: str, underlying: str, now: int) -> ContractQuote | None:
        """A contract listed today or on an earlier day, priced alone as in its chain.

        None past its expiry or without a quote yet.
        """
        ...


class Pricer(Protocol):
    """Prices a chain from its underlying."""

    def contracts(self, underlying: str, spot: float, now: int) -> list[ContractQuote]: ...

    def contract(self, symbol: str, spot: float, now: int) -> ContractQuote | None: ...


def quote_time(name: str, edge: int) -> int:
    """A time 0.2 to 3 s before ``edge``, always the same for one instrument and edge (microseconds)."""
    return edge - _NEAREST_US - crc32(f"{name}|{edge}".encode()) % (_FARTHEST_US - _NEAREST_US)


class TapeMarket:
    """The market over a tape's quotes. Nothing after ``now`` is ever visible.

    ``restated``: the quotes are synthetic and are repeated every 10 s until the next one, so that they stay
    fresh within a minute. Recorded quotes keep the time they were recorded with.
    """

    def __init__(
        self,
        quotes: Mapping[str, Sequence[StockQuote]],
        pricer: Pricer,
        *,
        origin: str,
        restated: bool,
        quote_origin: str | None = None,
    ) -> None:
        self._quotes = {symbol: sorted(rows, key=lambda row: row.time) for symbol, rows in quotes.items()}
        self._times = {symbol: [row.time for row in rows] for symbol, rows in self._quotes.items()}
        self._pricer = pricer
        self._origin = origin
        self._quote_origin = quote_origin or origin
        self._restated = restated
        self._again: dict[str, tuple[StockQuote, StockQuote]] = {}

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def quote_origin(self) -> str:
        return self._quote_origin

    def symbols(self) -> list[str]:
        return sorted(self._quotes)

    def stock_quote(self, symbol: str, now: int) -> StockQuote | None:
        at = bisect_right(self._times.get(symbol, ()), now) - 1
        if at < 0:
            return None
        quote = self._quotes[symbol][at]
        if not self._restated or now - quote.time >= 2 * MINUTE_US:
            return quote
        again = quote_time(symbol, now - now % RESTATE_US)
        if again <= quote.time:
            return quote
        of, last = self._again.get(symbol, (None, quote))
        if of is not quote or last.time != again:
            last = replace(quote, time=again)
            self._again[symbol] = quote, last
        return last

    def chain(self, underlying: str, now: int) -> list[ContractQuote]:
        spot = self._spot(underlying, now)
        return [] if spot is None else self._pricer.contracts(underlying, spot, now)

    def contract(self, symbol: str, underlying: str, now: int) -> ContractQuote | None:
        spot = self._spot(underlying, now)
        return None if spot is None else self._pricer.contract(symbol, spot, now)

    def _spot(self, underlying: str, now: int) -> float | None:
        quote = self.stock_quote(underlying, now)
        if quote is None or quote.bid is None or quote.ask is None or quote.bid > quote.ask:
            return None
        return float(quote.bid + quote.ask) / 2
