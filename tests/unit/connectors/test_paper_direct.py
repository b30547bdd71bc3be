"""Quotes and chains read without JSON are those that a client reads from the exchange's JSON."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest

from tapedeck.connectors.alpaca import replies
from tapedeck.connectors.broker import ChainQuery, ChainReply
from tapedeck.connectors.paper import direct, wire
from tapedeck.connectors.paper.market import Board
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules.occ import Right
from tests.support.paper import CALL, OPEN, TODAY_CALL, TinyMarket

NOON = OPEN + 150 * MINUTE_US


def query(right: Right | None = None) -> ChainQuery:
    return ChainQuery(
        underlying="AMD", right=right, expiry_from=0, expiry_to=10**6, strike_from=D(0), strike_to=D(10**6)
    )


def by_json(asked: ChainQuery, found: Sequence[ContractQuote], origin: str) -> ChainReply:
    """What a client over HTTP makes of these contracts."""
    listed = json.loads(json.dumps([wire.contract(each) for each in found]))
    snapshots = json.loads(json.dumps({each.symbol: wire.snapshot(each, origin, OPEN) for each in found}))
    return replies.chain(asked, listed, snapshots, "indicative")


@pytest.mark.parametrize("right", [None, Right.CALL])
def test_a_whole_chain_is_the_same(right: Right | None) -> None:
    market, asked = generate().market, query(right)
    found = direct.wanted(asked, market.chain("AMD", NOON))
    assert len(found) > 100
    assert any(each.bid is None for each in found)
    assert direct.chain(asked, found, market.origin, "indicative") == by_json(asked, found, market.origin)


def test_unknown_parts_of_a_contract_are_unknown_in_both() -> None:
    asked, known = query(), generate().market.chain("AMD", NOON)[40]
    parts = {each: getattr(known, each) for each in ContractQuote.__dataclass_fields__}
    whole = ContractQuote(**parts)
    less = [
        replace(whole, bid=D(0), ask=None),
        replace(whole, volume=None, open_interest=None),
        replace(whole, delta=None),
        replace(whole, theta=None),
        replace(whole, theta=0.0),
    ]
    for each in less:
        assert direct.chain(asked, [each], "", "indicative") == by_json(asked, [each], "")


def test_an_empty_chain_has_no_origin_of_its_own() -> None:
    assert direct.chain(query(), [], "synthetic/chain", "indicative") == by_json(
        query(), [], "synthetic/chain"
    )


@pytest.mark.parametrize("bid", [None, D(0), D("1.005"), D("149.98")])
def test_a_quote_is_the_same(bid: D | None) -> None:
    stock = StockQuote(symbol="AMD", time=NOON, bid=bid, ask=D("150.02"), bid_size=None, ask_size=1)
    raw = json.loads(json.dumps(wire.stock_quote(stock, "synthetic/x")))
    assert direct.quote(stock, "synthetic/x", "iex") == replies.quote("AMD", raw, "iex")


def test_a_contract_that_was_seen_is_listed_without_its_chain() -> None:
    market, asked = TinyMarket(), []
    board, chain = Board(market), market.chain

    def counted(underlying: str, now: int) -> list[ContractQuote]:
        asked.append(underlying)
        return chain(underlying, now)

    market.chain = counted  # type: ignore[method-assign]
    first = board.listing(CALL, NOON)
    assert first is not None
    assert first.expiry is not None
    assert board.listing(CALL, NOON + MINUTE_US) == first
    assert asked == ["NVDA"], "a minute later one contract is priced"
    assert board.listing(TODAY_CALL.replace("150", "151"), NOON + MINUTE_US) is None
    assert asked == ["NVDA", "NVDA"], "what was never seen is looked for"
