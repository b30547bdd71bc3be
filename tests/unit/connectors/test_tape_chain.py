"""The synthetic chain and the market over a tape: prices that hang together, nothing from the future."""

from datetime import date
from decimal import Decimal
from functools import cache

import pytest

from tapedeck.connectors.tapes.chain import SyntheticChain, Underlying, black_scholes, expiries
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote, TapeMarket, quote_time
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Session, day_number, iso_date, xnys
from tapedeck.streams.stages.account.rules import occ

DAY = day_number(date(2026, 2, 17))


def session() -> Session:
    found = xnys().session_on(DAY)
    assert found is not None
    return found


NOON = session().open + 150 * MINUTE_US


@cache
def tape() -> Tape:
    return generate(DEFAULT_SEED)


def amd(now: int = NOON) -> list[ContractQuote]:
    return tape().market.chain("AMD", now)


def test_expiries_are_today_tomorrow_and_every_weeks_last_session() -> None:
    found = expiries(session(), xnys())
    days = [str(iso_date(day)) for day in found]
    assert days[:4] == ["2026-02-17", "2026-02-18", "2026-02-20", "2026-02-27"]
    assert days[-1] == "2026-04-02"  # the third of April is Good Friday
    assert found[DAY] == 0
    assert found[day_number(date(2026, 2, 20))] == 3


def test_call_and_put_obey_parity() -> None:
    call, delta, theta = black_scholes(occ.Right.CALL, 100.0, 95.0, 0.05, 0.4)
    put, put_delta, put_theta = black_scholes(occ.Right.PUT, 100.0, 95.0, 0.05, 0.4)
    bit = 1e-6
    sooner, _, _ = black_scholes(occ.Right.CALL, 100.0, 95.0, 0.05 - bit, 0.4)
    assert theta == put_theta == pytest.approx((sooner - call) / bit / 252, rel=1e-3), (
        "the value that a day takes"
    )
    assert call - put == pytest.approx(5.0)
    assert delta - put_delta == pytest.approx(1.0)


def test_symbols_parse_back_to_their_contract() -> None:
    chain = amd()
    assert [c.symbol for c in chain] == sorted(c.symbol for c in chain)
    for contract in chain:
        parsed = occ.parse(contract.symbol)
        assert (parsed.root, parsed.expiry, parsed.right.value) == (
            contract.underlying,
            contract.expiry,
            contract.right,
        )
        assert parsed.strike == contract.strike
        assert not parsed.adjusted


def test_quotes_are_whole_cents_and_never_crossed() -> None:
    for contract in amd():
        assert contract.ask is not None
        assert contract.ask % Decimal("0.01") == 0
        assert contract.bid is None or 0 < contract.bid < contract.ask
        assert 0 < NOON - contract.time < 15_000_000
        assert contract.volume is not None
        assert contract.open_interest is not None
        assert contract.volume <= contract.open_interest


def test_calls_get_cheaper_with_the_strike_and_puts_dearer() -> None:
    expiry = day_number(date(2026, 2, 20))
    for right, sign in (("CALL", -1), ("PUT", 1)):
        row = sorted((c.strike, c.ask) for c in amd() if c.right == right and c.expiry == expiry)
        asks = [ask for _, ask in row if ask is not None]
        assert asks == sorted(asks, reverse=sign < 0)


def test_deltas_have_their_right_sign_and_size() -> None:
    for contract in amd():
        assert contract.delta is not None
        assert (0 <= contract.delta <= 1) if contract.right == "CALL" else (-1 <= contract.delta <= 0)


def test_the_list_of_contracts_stays_the_same_all_day_and_volume_only_grows() -> None:
    early, late = amd(session().open + 60 * MINUTE_US), amd(session().close - 60 * MINUTE_US)
    assert [c.symbol for c in early] == [c.symbol for c in late]
    total = [sum(c.volume or 0 for c in chain) for chain in (early, late)]
    assert 0 < total[0] < total[1]


def test_a_name_that_no_option_symbol_can_hold_has_no_chain() -> None:
    underlying = Underlying(reference=500.0, volatility=0.2, activity=1e4)
    chain = SyntheticChain({"BRK.B": underlying}, session(), xnys())
    assert chain.contracts("BRK.B", 500.0, NOON) == []
    assert chain.contracts("ELSE", 500.0, NOON) == []


def test_a_stock_quote_is_the_newest_that_is_not_in_the_future() -> None:
    market = tape().market
    minute = next(each for each in tape() if each.label == NOON)
    body = next(each for each in minute.quotes if each["instrument"] == "AMD")
    at_edge = market.stock_quote("AMD", NOON + MINUTE_US)
    assert at_edge is not None
    assert (at_edge.time, at_edge.bid, at_edge.ask) == (body["quote_time"], body["bid"], body["ask"])
    before = market.stock_quote("AMD", body["quote_time"] - 1)
    assert before is not None
    assert before.time < body["quote_time"]
    assert market.stock_quote("AMD", tape().first_live - MINUTE_US) is None
    assert market.stock_quote("ELSE", NOON) is None
    assert market.chain("AMD", tape().first_live - MINUTE_US) == []


def test_a_synthetic_quote_stays_fresh_inside_its_minute() -> None:
    for second in range(60):
        now = NOON + second * 1_000_000
        quote = tape().market.stock_quote("AMD", now)
        assert quote is not None
        assert 0 <= now - quote.time < 15_000_000


def test_a_recorded_quote_keeps_its_time_and_one_sided_quotes_have_no_chain() -> None:
    quote = StockQuote(symbol="AMD", time=NOON, bid=None, ask=Decimal("10"), bid_size=None, ask_size=1)
    chain = SyntheticChain(
        {"AMD": Underlying(reference=10.0, volatility=0.3, activity=1e4)}, session(), xnys()
    )
    market = TapeMarket({"AMD": [quote]}, chain, origin="synthetic/chain", restated=False)
    assert market.stock_quote("AMD", NOON + 50_000_000) == quote
    assert market.chain("AMD", NOON + 50_000_000) == []


def test_quote_times_are_always_the_same_for_one_instrument_and_edge() -> None:
    assert quote_time("AMD", NOON) == quote_time("AMD", NOON)
    assert len({NOON - quote_time(name, NOON) for name in "ABCDEFGH"}) > 4
