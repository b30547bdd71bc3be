"""The last trade of a synthetic contract: a price that its own quote had, a moment before now."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple, Protocol

from tapedeck.connectors.tapes.market import RESTATE_US, ContractQuote, quote_time

_CENT = Decimal("0.01")
_EACH_RESTATEMENT = 2_000
"""Contracts a session from which on every restated quote has one."""
_RAREST = 9
"""The longest time between two trades: RESTATE_US x 2 to this power, about an hour and a half."""


class OptionTrade(NamedTuple):
    """One trade of a contract: price per share, contracts, UTC microseconds."""

    price: Decimal
    size: int
    time: int


class Lists(Protocol):
    """A market as far as one contract goes: see ``Market``."""

    def contract(self, symbol: str, underlying: str, now: int) -> ContractQuote | None: ...


def last_trade(market: Lists, quote: ContractQuote, now: int) -> OptionTrade | None:
    """The newest trade at or before ``now`` of a contract with this quote: the busier, the younger.

    It is at the middle of the quote that the contract had then, a cent where nobody bid. Pure, as the market
    is; nothing after ``now`` is visible. None for a contract that has not traded today.
    """
    if not quote.volume:
        return None
    # Powers of two: a grid that gets finer as the volume grows never goes back in time.
    apart = RESTATE_US << min(_RAREST, (_EACH_RESTATEMENT // (quote.volume + 1)).bit_length())
    then = quote_time(f"{quote.symbol}|trade", now - now % apart)
    traded = market.contract(quote.symbol, quote.underlying, then)
    if traded is None or not traded.volume or traded.ask is None:
        return None
    middle = ((traded.bid or Decimal(0)) + traded.ask) / 2
    return OptionTrade(max(_CENT, middle.quantize(_CENT, ROUND_HALF_EVEN)), 1, then)
