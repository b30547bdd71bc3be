"""What each exit rule lacks: told for every rule, equal to what fires, and true."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.stages.account.rules.exits import ExitCase, ExitRule, RegimeName, triggers
from tapedeck.streams.stages.account.rules.strategies import StrategyName
from tapedeck.streams.stages.account.rules.unclosed import Standing, standings

CONFIG = Config()
EDGY = from_dict(
    {
        "exit": {
            "expiry_min": 120,
            "day_close_min": 100,
            "max_hold_min": 30,
            "trail_on": "0.01",
            "theta_dte": 20,
        },
        "gap_fade": {"hold_min": 400, "stop": "0.01", "target": "0.01"},
    }
)
"""Limits in another order than the default ones."""
D = Decimal
STRATEGIES: tuple[StrategyName, ...] = ("day_trade", "swing_trade", "gap_fade")
GAINS = st.none() | st.decimals(min_value=-1, max_value=2, places=4, allow_nan=False)
MINUTES = st.floats(min_value=0, max_value=390, allow_nan=False)


@st.composite
def cases(draw: st.DrawFn) -> ExitCase:
    option = draw(st.booleans())
    left = draw(st.none() | MINUTES)
    return ExitCase(
        option=option,
        strategy=draw(st.sampled_from(STRATEGIES)),
        held_min=draw(st.floats(min_value=0, max_value=500, allow_nan=False)),
        pnl=None if left is None else draw(GAINS),
        peak=draw(st.decimals(min_value=0, max_value=2, places=4, allow_nan=False)),
        dte=draw(st.integers(-1, 30)) if option else None,
        min_to_close=left,
        min_from_open=None if left is None else 390 - left,
        session=draw(st.integers(1, 6)),
        eod_min_pnl=draw(st.sampled_from((None, D("0.1")))),
        theta_score=draw(st.none() | st.floats(0, 0.2)),
        notional_pct=draw(st.sampled_from((None, D("0.01"), D("0.09")))),
        regime=draw(st.sampled_from(RegimeName)),
        halted_flatten=draw(st.booleans()),
        manual=draw(st.booleans()),
        signal_close=draw(st.booleans()),
        earnings=draw(st.sampled_from((None, True, False))),
        over_limit=draw(st.booleans()),
    )


@given(cases())
def test_the_rules_that_fire_are_those_that_close_and_each_other_one_says_what_it_lacks(
    case: ExitCase,
) -> None:
    found = standings(case, CONFIG)
    assert [(each.priority, each.rule) for each in found if each.fires] == triggers(case, CONFIG)
    assert all(each.text() for each in found)


@given(cases(), st.sampled_from((CONFIG, EDGY)))
def test_a_position_that_nobody_wants_closed_is_judged_like_any_other(case: ExitCase, config: Config) -> None:
    calm = case._replace(halted_flatten=False, manual=False, signal_close=False, over_limit=False)
    found = [(each.priority, each.rule) for each in standings(calm, config) if each.fires]
    assert found == triggers(calm, config)


@given(cases())
def test_a_pnl_that_was_named_as_missing_makes_the_rule_fire(case: ExitCase) -> None:
    """The number that a rule names is its limit: at it, or a hair beyond, the rule fires."""
    for each in standings(case, CONFIG):
        if each.miss is not None and each.miss.name == "P&L":
            beyond = D("0.0001") if each.miss.side == "too low" else D("-0.0001")
            there = case._replace(pnl=D(str(round(each.miss.limit / 100, 6))) + beyond)
            assert each.rule in [trigger.rule for trigger in triggers(there, CONFIG)], each


@given(cases())
def test_minutes_that_were_named_as_missing_are_the_limit(case: ExitCase) -> None:
    for each in standings(case, CONFIG):
        if each.miss is not None and each.miss.name == "time to the close":
            there = case._replace(min_to_close=each.miss.limit)
            after = {other.rule: other for other in standings(there, CONFIG)}[each.rule]
            assert after.miss is None or after.miss.name != "time to the close", each


def test_every_rule_is_told_firing_and_not() -> None:
    told: dict[bool, set[ExitRule]] = {True: set(), False: set()}
    for option, strategy, left, gain, held in product(
        (True, False),
        STRATEGIES,
        (385.0, 200.0, 80.0, 50.0, 20.0, 4.0),
        (D("-0.6"), D("0.09"), D(1)),
        (5.0, 40.0, 400.0),
    ):
        for dte, alarm in ((0, True), (2, False), (10, False)):
            case = ExitCase(
                option=option, strategy=strategy, held_min=held, pnl=gain, peak=D("0.9") if alarm else D(0),
                dte=dte if option else None, min_to_close=left, min_from_open=390 - left,
                theta_score=0.1 if alarm or dte == 2 else 0.0,
                regime=RegimeName.EXTREME if alarm else RegimeName.NORMAL, halted_flatten=alarm, manual=alarm,
                signal_close=alarm, earnings=alarm, over_limit=alarm,
            )  # fmt: skip
            for each in standings(case, CONFIG):
                told[each.fires].add(each.rule)
    assert told[True] == set(ExitRule)
    always = {ExitRule.EOD_DAY_W3}
    """It fires wherever it is tested: no day trade is kept in the last window."""
    assert told[False] == set(ExitRule) - always


def one(case: ExitCase, rule: ExitRule) -> Standing:
    return {each.rule: each for each in standings(case, CONFIG)}[rule]


@pytest.mark.parametrize(
    "rule, changes, words",
    [
        (ExitRule.STOP_LOSS, {}, "P&L is -12 %, limit -40 %: 28 % too high"),
        (ExitRule.STOP_LOSS, {"held_min": 12}, "time held is 12 min, needs 30 min: 18 min too short"),
        (ExitRule.TRAILING_STOP, {"peak": D("0.3")}, "wants it closed"),
        (ExitRule.DAY_TRADE_CLOSE, {}, "time to the close is 20 min, limit 5 min: 15 min too early"),
        (ExitRule.EXPIRY_CLOSE, {}, "days to expiry: 3"),
        (ExitRule.MANUAL_CLOSE, {}, "nobody asked for it: `tape close`"),
    ],
)
def test_what_a_rule_lacks_in_words(rule: ExitRule, changes: dict[str, object], words: str) -> None:
    case = ExitCase(
        option=True, strategy="day_trade", held_min=100, pnl=D("-0.12"), peak=D("0.05"), dte=3,
        min_to_close=20.0, min_from_open=370.0,
    )  # fmt: skip
    assert one(case._replace(**changes), rule).text() == words
