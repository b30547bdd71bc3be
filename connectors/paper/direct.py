"""Quotes and chains as a client of the paper exchange reads them, without the JSON in between.

They are the replies that ``alpaca.replies`` makes of ``paper.wire``, prices through floats included.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from tapedeck.connectors.broker import ChainQuery, ChainReply, ContractReply, QuoteReply
from tapedeck.connectors.paper.exchange import Snapshot
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote
from tapedeck.streams.stages.account.rules.occ import Right


def quote(found: StockQuote, origin: str, feed: str) -> QuoteReply:
    """The reply to a question for the quote of one stock."""
    return QuoteReply(
        instrument=found.symbol,
        feed=feed,
        origin=origin or f"alpaca/{feed}",
        time=found.time,
        bid=_price(found.bid),
        ask=_price(found.ask),
    )


def option_quote(told: Snapshot, origin: str, feed: str) -> QuoteReply | None:
    """The reply to a question for one contract; None without a quote and a trade."""
    quoted = "latestQuote" not in told.gone
    trade = None if "latestTrade" in told.gone else told.trade
    if not quoted and trade is None:
        return None
    return QuoteReply(
        instrument=told.quote.symbol,
        feed=feed,
        origin=origin or f"alpaca/{feed}",
        time=told.quote.time if quoted else None,
        bid=_price(told.quote.bid) if quoted else None,
        ask=_price(told.quote.ask) if quoted else None,
        trade_price=_price(trade.price) if trade else None,
        trade_time=trade.time if trade else None,
        theta=None if "greeks" in told.gone else _theta(told.quote),
    )


def chain(query: ChainQuery, found: Iterable[ContractQuote], origin: str, feed: str) -> ChainReply:
    """The reply to a question for a chain, of which ``found`` are the contracts that are asked for."""
    contracts = tuple(sorted((_contract(each) for each in found), key=lambda each: each.symbol))
    labeled = origin if contracts else f"alpaca/{feed}"
    return ChainReply(underlying=query.underlying, feed=feed, origin=labeled, contracts=contracts)


def wanted(query: ChainQuery, listed: Iterable[ContractQuote]) -> list[ContractQuote]:
    """The contracts that ``query`` asks for."""
    return [
        contract
        for contract in listed
        if (query.right is None or contract.right == query.right)
        and query.expiry_from <= contract.expiry <= query.expiry_to
        and query.strike_from <= contract.strike <= query.strike_to
    ]


def _contract(found: ContractQuote) -> ContractReply:
    return ContractReply(
        symbol=found.symbol,
        expiry=found.expiry,
        right=Right(found.right),
        strike=found.strike,
        size=found.size,
        bid=_price(found.bid),
        ask=_price(found.ask),
        time=found.time,
        volume=found.volume,
        open_interest=found.open_interest,
        delta=found.delta,
        theta=_theta(found),
    )


def _theta(found: ContractQuote) -> float | None:
    return None if found.delta is None else found.theta or None


@lru_cache(maxsize=65_536)
def _price(side: Decimal | None) -> Decimal | None:
    """A side as it is after a float of JSON; one that is missing or 0 is none."""
    return Decimal(str(float(side))) if side else None
