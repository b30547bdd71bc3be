"""Contract choice: vectors Q1 to Q7, every filter, the windows and the order of choice."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.groups import Contract
from tapedeck.streams.stages.account.rules.contracts import (
    ContractQuote,
    ContractReason,
    Moment,
    choose,
    refusal,
    score,
    window,
)
from tapedeck.streams.stages.account.rules.money import spread
from tapedeck.streams.stages.account.rules.occ import Occ, Right, build
from tests.support.account import ELEVEN, SECOND, TODAY, at

D = Decimal
RULES = Contract()
QUOTE_S = 15
CUTOFF = at("2026-02-17T15:00:00-05:00")
MOMENT = Moment(ELEVEN, TODAY, CUTOFF)


def quote(**changes: Any) -> ContractQuote:
    fields: dict[str, Any] = {
        "expiry": TODAY + 1,
        "right": Right.CALL,
        "strike": D(100),
        "size": 100,
        "bid": D("1.99"),
        "ask": D("2.01"),
        "quote_time": ELEVEN - SECOND,
        "volume": 1000,
        "open_interest": 100,
        "delta": 0.4,
    } | changes
    fields.setdefault("symbol", build(Occ("NVDA", fields["expiry"], fields["right"], fields["strike"])))
    return ContractQuote(**fields)


QUALITY = {
    "Q1": ("1.99", "2.01", 1000, 0.4, "100", "100", "0.010000", 96.0, None),
    "Q2": ("1.95", "2.05", 500, 0.4, "100", "100", "0.050000", 70.6250, None),
    "Q3": ("1.95", "2.05", 500, 0.55, "100", "100", "0.050000", 65.6250, "QUALITY_TOO_LOW"),
    "Q4": ("1.95", "2.05", 499, 0.4, "100", "100", "0.050000", 70.6063, "LOW_VOLUME"),
    "Q5": ("1.94", "2.05", 2000, 0.4, "100", "100", "0.055138", 77.9449, "WIDE_SPREAD"),
    "Q6": ("1.98", "2.02", 800, -0.35, "101", "101.5", "0.020000", 87.2648, None),
    "Q7": ("1.98", "2.02", 800, None, "101", "101.5", "0.020000", 72.2648, None),
}


@pytest.mark.parametrize(
    ("bid", "ask", "volume", "delta", "strike", "target", "wide", "points", "refused"),
    QUALITY.values(),
    ids=QUALITY,
)
def test_quality_vector(
    bid: str,
    ask: str,
    volume: int,
    delta: float | None,
    strike: str,
    target: str,
    wide: str,
    points: float,
    refused: str | None,
) -> None:
    offered = quote(bid=D(bid), ask=D(ask), volume=volume, delta=delta, strike=D(strike))
    assert spread(D(bid), D(ask)) == D(wide)
    assert round(score(offered, D(target)), 4) == points
    asked = window(RULES, "day_trade", Right.CALL, D(100), TODAY)._replace(target=D(target))
    choice = choose(RULES, QUOTE_S, [offered], right=Right.CALL, asked=asked, moment=MOMENT)
    assert choice.reason == refused
    assert choice.contract == (None if refused else offered)


FILTERS: dict[ContractReason, dict[str, Any]] = {
    ContractReason.NON_STANDARD: {"size": 10},
    ContractReason.EXPIRED: {"expiry": TODAY - 1},
    ContractReason.NO_QUOTE: {"bid": None},
    ContractReason.QUOTE_STALE: {"quote_time": ELEVEN - QUOTE_S * SECOND - 1},
    ContractReason.WIDE_SPREAD: {"bid": D("1.94"), "ask": D("2.05")},
    ContractReason.PREMIUM_TOO_LOW: {"bid": D("0.99"), "ask": D("1.00")},
    ContractReason.LOW_VOLUME: {"volume": 499},
    ContractReason.LOW_OPEN_INTEREST: {"open_interest": 99},
}


@pytest.mark.parametrize(("reason", "changes"), FILTERS.items(), ids=list(FILTERS))
def test_each_filter_fires_and_a_good_contract_passes_it(
    reason: ContractReason, changes: dict[str, Any]
) -> None:
    assert refusal(RULES, QUOTE_S, quote(), MOMENT) is None
    assert refusal(RULES, QUOTE_S, quote(**changes), MOMENT) is reason


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (ContractReason.NON_STANDARD, {"symbol": "NVDA1260218C00100000"}),
        (ContractReason.NO_QUOTE, {"ask": None}),
        (ContractReason.NO_QUOTE, {"bid": D(0)}),
        (ContractReason.NO_QUOTE, {"bid": D("2.02")}),
        (ContractReason.QUOTE_STALE, {"quote_time": None}),
        (ContractReason.QUOTE_STALE, {"quote_time": ELEVEN + 1}),
        (ContractReason.LOW_VOLUME, {"volume": None}),
        (ContractReason.LOW_OPEN_INTEREST, {"open_interest": None}),
    ],
)
def test_what_is_unknown_or_impossible_is_refused(reason: ContractReason, changes: dict[str, Any]) -> None:
    assert refusal(RULES, QUOTE_S, quote(**changes), MOMENT) is reason


def test_unknown_open_interest_passes_only_where_it_is_allowed() -> None:
    allowing = Contract(allow_unknown_oi=True)
    assert refusal(allowing, QUOTE_S, quote(open_interest=None), MOMENT) is None
    assert refusal(allowing, QUOTE_S, quote(open_interest=99), MOMENT) is ContractReason.LOW_OPEN_INTEREST


def test_a_contract_that_expires_today_is_refused_from_an_hour_before_the_close() -> None:
    today = quote(expiry=TODAY, quote_time=CUTOFF - SECOND)
    before = Moment(CUTOFF - 1, TODAY, CUTOFF)
    assert refusal(RULES, QUOTE_S, today, before) is None
    assert refusal(RULES, QUOTE_S, today, before._replace(now=CUTOFF)) is ContractReason.EXPIRY_CUTOFF
    assert refusal(RULES, QUOTE_S, today, before._replace(expiry_cutoff=None)) is ContractReason.EXPIRY_CUTOFF


def test_windows_follow_strategy_and_right() -> None:
    day_call = window(RULES, "day_trade", Right.CALL, D(200), TODAY)
    assert day_call == (TODAY, TODAY + 1, D(180), D(220), D("203.000"))
    assert window(RULES, "gap_fade", Right.PUT, D(200), TODAY).target == D(197)
    swing = window(RULES, "swing_trade", Right.PUT, D(200), TODAY)
    assert swing == (TODAY + 7, TODAY + 30, D(180), D(220), D(200))


def test_a_strategy_of_a_users_own_has_the_days_window_unless_its_name_says_swing() -> None:
    assert window(RULES, "breakout", Right.CALL, D(200), TODAY) == window(
        RULES, "day_trade", Right.CALL, D(200), TODAY
    )
    assert window(RULES, "breakout_swing_trade", Right.PUT, D(200), TODAY) == window(
        RULES, "swing_trade", Right.PUT, D(200), TODAY
    )


def pick(*offers: ContractQuote) -> ContractQuote | None:
    asked = window(RULES, "day_trade", Right.CALL, D(100), TODAY)._replace(target=D(100))
    return choose(RULES, QUOTE_S, offers, right=Right.CALL, asked=asked, moment=MOMENT).contract


def test_ties_go_to_the_smaller_spread_then_strike_then_expiry_then_symbol() -> None:
    best = quote(expiry=TODAY + 1)
    assert pick(quote(delta=0.7), best) == best
    same_day = quote(expiry=TODAY)
    assert pick(best, same_day) == same_day
    other = quote(symbol="AAPL260218C00100000")
    assert pick(best, other) == other


def test_contracts_outside_the_window_are_not_candidates() -> None:
    wrong = {"right": Right.PUT}, {"expiry": TODAY + 2}, {"strike": D(111)}, {"strike": D(89)}
    assert pick(*(quote(**changes) for changes in wrong)) is None


def test_no_contract_names_the_one_reason_or_no_contract() -> None:
    asked = window(RULES, "day_trade", Right.CALL, D(100), TODAY)
    wide, thin = quote(bid=D("1.90")), quote(volume=1)

    def reason(*offers: ContractQuote) -> tuple[str | None, dict[str, int]]:
        choice = choose(RULES, QUOTE_S, offers, right=Right.CALL, asked=asked, moment=MOMENT)
        return choice.reason, choice.refused

    assert reason() == (ContractReason.NO_CONTRACT, {})
    assert reason(wide, wide) == (ContractReason.WIDE_SPREAD, {"WIDE_SPREAD": 2})
    assert reason(wide, thin) == (ContractReason.NO_CONTRACT, {"LOW_VOLUME": 1, "WIDE_SPREAD": 1})


OFFERS = [quote(strike=D(strike), delta=delta) for strike in (99, 100, 101) for delta in (0.4, 0.6)]


@given(st.permutations(OFFERS))
def test_the_choice_does_not_depend_on_the_order_of_the_chain(chain: list[ContractQuote]) -> None:
    assert pick(*chain) == quote()
