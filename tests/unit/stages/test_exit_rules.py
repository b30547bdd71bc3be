"""The exit rules: the domain's vectors, each rule firing and not, the overnight limit, time 0."""

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.accounts import TIERS, Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.exits import (
    ExitCase,
    ExitRule,
    Overnight,
    RegimeName,
    failures,
    over_limit,
    triggers,
    window,
)
from tapedeck.streams.stages.account.rules.money import money
from tapedeck.streams.stages.account.rules.orders import Purpose, Side
from tapedeck.streams.stages.account.rules.pricing import ladder
from tapedeck.tape.step.exits import run
from tests.support.account import make_account

D = Decimal
CONFIG = Config()


def vector(
    kind: str,
    strategy: str,
    held: float,
    pnl: str | None,
    peak: str,
    dte: int | None,
    left: float,
    **other: Any,
) -> dict[str, Any]:
    """A line of ``tape step exits``, in the order of the domain's table."""
    line = {
        "kind": kind, "strategy": strategy, "held_min": held, "pnl": None if pnl is None else float(pnl),
        "peak": float(peak), "min_to_close": left,
    }  # fmt: skip
    return line | ({} if dte is None else {"dte": dte}) | other


DAY, SWING = "day_trade", "swing_trade"
VECTORS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "X1": (vector("OPT", DAY, 0, "-0.02", "0", 0, 121), []),
    "X2": (vector("OPT", DAY, 29.9, "-0.45", "0", 1, 200), []),
    "X3": (vector("OPT", DAY, 29.9, "-0.5", "0", 1, 200), ["HARD_STOP"]),
    "X4": (vector("OPT", DAY, 30, "-0.4", "0", 1, 200), ["STOP_LOSS"]),
    "X5": (vector("OPT", DAY, 30, "-0.3999", "0", 1, 200), []),
    "X6": (vector("OPT", SWING, 10, "0.8", "0.8", 14, 300), ["PROFIT_TARGET"]),
    "X7": (vector("OPT", SWING, 40, "0.15", "0.2", 14, 300), ["TRAILING_STOP"]),
    "X8": (vector("OPT", SWING, 40, "0.1501", "0.2", 14, 300), []),
    "X9": (vector("OPT", SWING, 40, "0.1", "0.1999", 14, 300), []),
    "X10": (vector("OPT", SWING, 20, "0.1", "0.4", 14, 300), []),
    "X11": (vector("OPT", SWING, 31, "-0.01", "0.0", 2, 300), ["THETA_DECAY"]),
    "X12": (vector("OPT", DAY, 31, "-0.01", "0.0", 1, 300), []),
    "X13": (vector("OPT", DAY, 100, "0.05", "0.05", 0, 60), ["EXPIRY_CLOSE"]),
    "X14": (vector("OPT", DAY, 100, "0.05", "0.05", 0, 60.5), []),
    "X15": (vector("OPT", DAY, 100, "-0.05", "0", 1, 5), ["DAY_TRADE_CLOSE", "EOD_DAY_W3"]),
    "X16": (vector("OPT", DAY, 100, "-0.21", "0", 1, 90), ["EOD_DAY_W0"]),
    "X17": (vector("OPT", DAY, 100, "-0.05", "0", 1, 60), []),
    "X18": (vector("OPT", DAY, 100, "-0.05", "0", 1, 30), ["EOD_DAY_W2"]),
    "X19": (vector("OPT", DAY, 360, "0.02", "0.05", 1, 150), ["MAX_HOLD"]),
    "X20": (vector("STK", DAY, 5, "-0.02", "0", None, 200), ["STOCK_STOP"]),
    "X21": (vector("STK", DAY, 5, "0.03", "0.03", None, 200), ["STOCK_TARGET"]),
    "X22": (vector("STK", DAY, 200, "0.01", "0.01", None, 5), ["DAY_TRADE_CLOSE"]),
    "X23": (vector("OPT", SWING, 1000, "0.05", "0.1", 10, 60), []),
    "X24": (vector("OPT", SWING, 1000, "0.05", "0.1", 2, 60), ["EOD_SWING_W1"]),
    "X25": (vector("OPT", SWING, 1000, "0.05", "0.1", 10, 30), ["EOD_SWING_W2"]),
    "X26": (vector("OPT", SWING, 1000, "0.12", "0.13", 10, 30), []),
    "X27": (vector("OPT", DAY, 100, None, "0.0", 0, 200), []),
    "X28": (vector("OPT", SWING, 1000, "0.12", "0.13", 10, 30, regime="ELEVATED"), ["EOD_SWING_W2"]),
    "X29": (vector("OPT", SWING, 1000, "0.15", "0.16", 10, 30, theta_score=0.06), ["EOD_SWING_W2"]),
    "X30": (vector("OPT", SWING, 1000, "0.3", "0.31", 2, 90, theta_score=0.06), ["EOD_THETA"]),
    "X31": (vector("OPT", SWING, 1000, "0.12", "0.13", 10, 30, notional_pct=0.051), ["EOD_SWING_W2"]),
    "X32": (vector("OPT", SWING, 1000, "0.12", "0.13", 10, 60, session=5), ["MAX_HOLD"]),
    "X33": (vector("OPT", SWING, 1000, "0.12", "0.13", 10, 60, earnings=True), ["EOD_EARNINGS"]),
    "X34": (
        vector("OPT", DAY, 40, "-0.6", "0.3", 0, 5, halted_flatten=True),
        [
            *("KILL_SWITCH_FLATTEN", "DAY_TRADE_CLOSE", "EXPIRY_CLOSE", "STOP_LOSS", "TRAILING_STOP"),
            "EOD_DAY_W3",
        ],
    ),
    "X35": (vector("OPT", SWING, 0, "-0.02", "0", 7, 60.02), []),
    "X36": (vector("STK", DAY, 0, "-0.0025", "0", None, 120.02), []),
}  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), VECTORS.values(), ids=VECTORS)
def test_exit_vector(line: dict[str, Any], expected: list[str]) -> None:
    assert list(run([line], CONFIG)) == [{"triggers": expected}]


def case(**changes: Any) -> ExitCase:
    """A swing option in the middle of its second session that no rule wants closed."""
    calm: dict[str, Any] = {
        "option": True, "strategy": SWING, "held_min": 500.0, "pnl": D("0.12"), "peak": D("0.13"), "dte": 10,
        "min_to_close": 200.0, "min_from_open": 190.0, "session": 2,
    }  # fmt: skip
    return ExitCase(**(calm | changes))


FADE = {"strategy": "gap_fade", "dte": 1, "held_min": 40.0, "min_from_open": 60.0}
FIRES: dict[ExitRule, tuple[dict[str, Any], dict[str, Any]]] = {
    ExitRule.KILL_SWITCH_FLATTEN: ({"halted_flatten": True}, {}),
    ExitRule.MANUAL_CLOSE: ({"manual": True}, {}),
    ExitRule.EXPIRY_CLOSE: ({"dte": 0, "min_to_close": 60.0}, {"dte": 0, "min_to_close": 60.1}),
    ExitRule.DAY_TRADE_CLOSE: (
        {"strategy": DAY, "min_to_close": 5.0},
        {"strategy": DAY, "min_to_close": 5.1},
    ),
    ExitRule.GAP_FADE_TIME_EXIT: (FADE | {"min_from_open": 90.0}, FADE | {"min_from_open": 89.9}),
    ExitRule.HARD_STOP: ({"held_min": 29.0, "pnl": D("-0.5")}, {"held_min": 29.0, "pnl": D("-0.499999")}),
    ExitRule.STOP_LOSS: (FADE | {"pnl": D("-0.30")}, FADE | {"pnl": D("-0.299999")}),
    ExitRule.PROFIT_TARGET: (FADE | {"pnl": D("0.40")}, FADE | {"pnl": D("0.399999")}),
    ExitRule.STOCK_STOP: (
        {"option": False, "dte": None, "pnl": D("-0.02")},
        {"option": False, "dte": None, "pnl": D("-0.019999")},
    ),
    ExitRule.STOCK_TARGET: (
        {"option": False, "dte": None, "pnl": D("0.03")},
        {"option": False, "dte": None, "pnl": D("0.029999")},
    ),
    ExitRule.SIGNAL_CLOSE: ({"option": False, "dte": None, "pnl": D(0), "signal_close": True}, {}),
    ExitRule.TRAILING_STOP: ({"peak": D("0.2"), "pnl": D("0.15")}, {"peak": D("0.2"), "pnl": D("0.150001")}),
    ExitRule.THETA_DECAY: ({"dte": 2, "pnl": D("-0.000001")}, {"dte": 2, "pnl": D(0)}),
    ExitRule.EOD_EXTREME_REGIME: (
        {"regime": RegimeName.EXTREME, "min_to_close": 90.0},
        {"regime": RegimeName.EXTREME, "min_to_close": 90.1},
    ),
    ExitRule.EOD_EARNINGS: (
        {"earnings": True, "min_to_close": 60.0},
        {"earnings": None, "min_to_close": 60.0},
    ),
    ExitRule.EOD_THETA: (
        {"dte": 2, "theta_score": 0.051, "min_to_close": 90.0},
        {"dte": 2, "theta_score": None, "min_to_close": 90.0},
    ),
    ExitRule.EOD_DAY_W0: (
        {"strategy": DAY, "pnl": D("-0.200001"), "min_to_close": 90.0},
        {"strategy": DAY, "pnl": D("-0.2"), "min_to_close": 90.0},
    ),
    ExitRule.EOD_DAY_W1: (
        {"strategy": DAY, "pnl": D("-0.100001"), "min_to_close": 60.0},
        {"strategy": DAY, "pnl": D("-0.1"), "min_to_close": 60.0},
    ),
    ExitRule.EOD_DAY_W2: (
        {"strategy": DAY, "pnl": D("-0.000001"), "min_to_close": 30.0},
        {"strategy": DAY, "pnl": D(0), "min_to_close": 30.0},
    ),
    ExitRule.EOD_DAY_W3: (
        {"strategy": DAY, "pnl": None, "min_to_close": 5.0},
        {"strategy": DAY, "pnl": None, "min_to_close": 5.1},
    ),
    ExitRule.EOD_SWING_W1: (
        {"pnl": None, "notional_pct": None, "min_to_close": 60.0},
        {"pnl": None, "min_to_close": 60.0},
    ),
    ExitRule.EOD_SWING_W2: ({"pnl": None, "min_to_close": 30.0}, {"min_to_close": 30.0}),
    ExitRule.EOD_SWING_W3: ({"dte": None, "min_to_close": 5.0}, {"min_to_close": 5.0}),
    ExitRule.EOD_AGGREGATE_LIMIT: ({"over_limit": True, "min_to_close": 30.0}, {"min_to_close": 30.0}),
    ExitRule.MAX_HOLD: ({"session": 6}, {"session": 5, "min_to_close": 60.1}),
}


def test_every_rule_has_a_case() -> None:
    assert set(FIRES) == set(ExitRule)


@pytest.mark.parametrize("rule", ExitRule)
def test_each_rule_fires_and_does_not(rule: ExitRule) -> None:
    fires, does_not = FIRES[rule]
    assert rule in [each.rule for each in triggers(case(**fires), CONFIG)]
    assert rule not in [each.rule for each in triggers(case(**does_not), CONFIG)]


def test_gap_fade_keeps_the_hard_stop_and_its_own_hold() -> None:
    early = case(**(FADE | {"held_min": 10.0, "pnl": D("-0.5")}))
    assert [each.rule for each in triggers(early, CONFIG)] == [ExitRule.HARD_STOP]
    held = case(**(FADE | {"held_min": 90.0}))
    assert [each.rule for each in triggers(held, CONFIG)] == [ExitRule.MAX_HOLD]


@pytest.mark.parametrize(
    ("regime", "needed"),
    [
        (RegimeName.COMPLACENT, "0.10"),
        (RegimeName.NORMAL, "0.10"),
        (RegimeName.ELEVATED, "0.15"),
        (RegimeName.UNKNOWN, "0.15"),
        (RegimeName.HIGH, "0.20"),
        (RegimeName.EXTREME, "0.20"),
    ],
)
def test_a_regime_raises_what_a_swing_must_earn(regime: RegimeName, needed: str) -> None:
    at_it = case(regime=regime, pnl=D(needed))
    assert failures(at_it, CONFIG) == 0
    assert failures(at_it._replace(pnl=D(needed) - D("0.000001")), CONFIG) == 1
    assert failures(at_it._replace(theta_score=None), CONFIG) == 1, "an unknown theta raises it"


def test_a_high_regime_halves_what_may_stay() -> None:
    high = case(regime=RegimeName.HIGH, pnl=D("0.5"), notional_pct=D("0.025"))
    assert failures(high, CONFIG) == 0
    assert failures(high._replace(notional_pct=D("0.025001")), CONFIG) == 1


def test_windows_begin_where_the_table_says() -> None:
    found = {left: window(case(min_to_close=left), CONFIG) for left in (90.1, 90.0, 60.0, 30.0, 5.0, 0.1)}
    assert found == {90.1: None, 90.0: 0, 60.0: 1, 30.0: 2, 5.0: 3, 0.1: 3}
    assert window(case(min_to_close=None), CONFIG) is None


def test_the_aggregate_vector() -> None:
    kept = [
        Overnight("A", D(2500), D("0.30")),
        Overnight("B", D(2000), D("0.12")),
        Overnight("C", D(1500), D("0.18")),
    ]
    assert over_limit(kept, D(5000)) == {"B"}
    assert over_limit(kept, D(6000)) == set()


@given(
    kept=st.lists(
        st.builds(
            Overnight,
            st.text("ABCDEFGH", min_size=3, max_size=3),
            st.decimals("1", "9999", places=2),
            st.none() | st.decimals("-1", "2", places=3),
        ),
        unique_by=lambda each: each.symbol,
        max_size=8,
    ),
    limit=st.decimals("0", "20000", places=2),
)
def test_what_stays_is_within_the_limit_and_the_worst_go_first(kept: list[Overnight], limit: D) -> None:
    gone = over_limit(kept, limit)
    left = [each for each in kept if each.symbol not in gone]
    assert sum((each.notional for each in left), D(0)) <= limit
    worst = [D(-9) if each.pnl is None else each.pnl for each in kept if each.symbol in gone]
    assert all((D(-9) if each.pnl is None else each.pnl) >= max(worst) for each in left) if worst else True


# the time-0 property --------------------------------------------------------------------------------------

SPREADS = (D("0.00"), D("0.01"), D("0.05"))
"""Spread / mid of the entry's quote; 0.05 is the most that gate 22 allows an option, 0.005 a stock."""
STOCK_SPREADS = (D("0.000"), D("0.002"), D("0.005"))
THETAS, WORTHS = (0.0, 0.06, None), (D("0.01"), D("0.06"), None)
EARLIEST, FULL_DAY = 5, 390


def entries(account: Account) -> Iterator[ExitCase]:
    """Every entry on the grid that the gates allow, at the worst price of its quote and marked at its mid."""
    days = {DAY: account.last_entry_day_min, SWING: account.last_entry_swing_min, "gap_fade": FULL_DAY - 60}
    for strategy, last in days.items():
        swing = strategy == SWING
        first, latest = CONFIG.contract.swing_dte if swing else CONFIG.contract.day_dte
        until = min(FULL_DAY - last, 60) if strategy == "gap_fade" else FULL_DAY - last
        minutes = [*range(EARLIEST, until, 3), until - 0.01]
        dtes = sorted({first, first + 1, latest}) if swing else [first, latest]
        for option, at in product((True, False), minutes):
            spreads = SPREADS if option else STOCK_SPREADS
            for relative, dte, theta, worth, earnings in product(
                spreads, dtes if option else [None], THETAS, WORTHS, (False, True, None)
            ):
                if dte == 0 and FULL_DAY - at <= CONFIG.gate.expiry_cutoff_min:
                    continue
                yield ExitCase(
                    option=option,
                    strategy=strategy,
                    held_min=0.0,
                    pnl=at_entry(relative, option=option),
                    peak=D(0),
                    dte=dte,
                    min_to_close=FULL_DAY - at,
                    min_from_open=at,
                    eod_min_pnl=account.overnight_pnl,
                    theta_score=theta,
                    notional_pct=worth,
                    earnings=earnings,
                )


@cache
def at_entry(relative: D, *, option: bool) -> D:
    """The P&L of a fill at the worst ladder price, marked at the mid of the same quote."""
    middle = D("2.00") if option else D("100.00")
    bid, ask = middle * (1 - relative / 2), middle * (1 + relative / 2)
    paid = ladder(bid, ask, Side.BUY, Purpose.OPEN, CONFIG.order, stock=not option)[-1]
    return money(middle / paid - 1)


@pytest.mark.parametrize("tier", TIERS)
def test_no_entry_that_the_gates_allow_is_closed_at_once(tier: str) -> None:
    account, seen = make_account(tier), 0
    for each in entries(account):
        assert triggers(each, CONFIG) == [], each
        seen += 1
    assert seen > 50_000
