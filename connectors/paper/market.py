"""The paper exchange's view of a market: quotes by instrument, contracts by underlying."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tapedeck.connectors.tapes.market import RESTATE_US, ContractQuote, Market, StockQuote
from tapedeck.connectors.tapes.trades import OptionTrade, last_trade
from tapedeck.streams.stages.account.rules import occ

_MOST = 4096
"""Contracts whose prices are kept."""


class Listing(NamedTuple):
    """One tradable instrument. ``multiplier`` is shares per unit; ``expiry`` is None for stock."""

    symbol: str
    underlying: str
    multiplier: int
    expiry: int | None

    @property
    def is_option(self) -> bool:
        return self.expiry is not None


@lru_cache(maxsize=8192)
def underlying_of(symbol: str) -> str:
    """The root of an unpadded contract symbol, or the symbol itself."""
    try:
        return occ.parse(symbol).root
    except occ.OccError:
        return symbol


class Board:
    """The market at a moment. Chains are priced once per 10 s, the rate at which quotes are restated.

    ``kept`` are contracts of earlier days that somebody holds or trades. They stay listed until they expire,
    whatever the strikes of this market.
    """

    def __init__(self, market: Market, kept: Iterable[str] = ()) -> None:
        self.market = market
        self._kept: dict[str, list[str]] = {}
        for symbol in sorted(set(kept)):
            self._kept.setdefault(underlying_of(symbol), []).append(symbol)
        self._stocks = frozenset(market.symbols())
        self._chains: dict[str, tuple[int, dict[str, ContractQuote]]] = {}
        self._alone: dict[tuple[str, int], ContractQuote | None] = {}

    @property
    def origin(self) -> str:
        return self.market.origin

    @property
    def quote_origin(self) -> str:
        return self.market.quote_origin

    def symbols(self) -> list[str]:
        return sorted(self._stocks)

    def stock(self, symbol: str, now: int) -> StockQuote | None:
        return self.market.stock_quote(symbol, now) if symbol in self._stocks else None

    def chain(self, underlying: str, now: int) -> dict[str, ContractQuote]:
        """Contracts of an underlying by symbol; empty if it has none."""
        if underlying not in self._stocks:
            return {}
        stated = now - now % RESTATE_US
        held = self._chains.get(underlying)
        if held is None or held[0] != stated:
            found = {quote.symbol: quote for quote in self.market.chain(underlying, stated)}
            for symbol in self._kept.get(underlying, ()):
                older = None if symbol in found else self.contract(symbol, underlying, stated)
                found |= {symbol: older} if older is not None else {}
            held = self._chains[underlying] = (stated, found)
        return held[1]

    def quote(self, symbol: str, now: int) -> StockQuote | ContractQuote | None:
        """The newest quote of a stock or a contract."""
        underlying = underlying_of(symbol)
        if underlying == symbol:
            return self.stock(symbol, now)
        stated, known = self._chains.get(underlying, (now, {}))
        if symbol in known and stated != now - now % RESTATE_US:
            # What was listed stays listed for the session: one contract is priced, and not thousands.
            return self.contract(symbol, underlying, now - now % RESTATE_US)
        return self.chain(underlying, now).get(symbol)

    def contract(self, symbol: str, underlying: str, now: int) -> ContractQuote | None:
        """The market's contract at a moment, priced once however often it is asked for."""
        if (symbol, now) not in self._alone:
            if len(self._alone) >= _MOST:
                self._alone.clear()
            self._alone[symbol, now] = self.market.contract(symbol, underlying, now)
        return self._alone[symbol, now]

    def trade(self, quote: ContractQuote, now: int) -> OptionTrade | None:
        """The market's last trade of a contract with this quote."""
        return last_trade(self, quote, now)

    def listing(self, symbol: str, now: int) -> Listing | None:
        """The listing of ``symbol``; None if this market does not have it."""
        if symbol in self._stocks:
            return Listing(symbol, symbol, 1, None)
        contract = self.quote(symbol, now)
        if not isinstance(contract, ContractQuote):
            return None
        return Listing(symbol, contract.underlying, contract.size, contract.expiry)
