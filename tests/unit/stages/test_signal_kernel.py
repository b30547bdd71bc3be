"""The compiled decision rule against the plain one, to the bit, over inputs that crowd round its borders."""

from collections import Counter
from dataclasses import replace
from math import copysign, inf, nan, nextafter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import GapFade, Signal
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.signals.rule import Case, Decision, GapCase, decide
from tests.support import signal_oracle

FADE = Config(gap_fade=GapFade(enabled=True))
OTHER = Config(
    signal=Signal(
        at_band=0.0, stretch=0.05, breakout=0.0, day_min=0.3, day_slope=1.0, day_cap=0.9, swing_min=0.2,
        stock_min=0.1, max_vol_ratio=1.0, day_min_volume=0.1, cooldown_min=1, max_bar_age_s=1, full_count=3,
        volume_steps=(-1.0, 0.1), volume_factors=(0.1, 1.7),
    ),
    gap_fade=GapFade(enabled=True, min_gap=0.0, min_prev=0.0, confidence=0.1234565, from_min=1, to_min=2),
)  # fmt: skip
BARE = Config(signal=Signal(volume_steps=(), volume_factors=()), gap_fade=GapFade(enabled=True))
CONFIGS = st.sampled_from([Config(), FADE, OTHER])


def near(*borders: float) -> st.SearchStrategy[float]:
    """The borders, either side of them, and the floats next to them."""
    each = [sign * border for border in borders for sign in (1, -1)]
    return st.sampled_from([y for x in each for y in (x, nextafter(x, inf), nextafter(x, -inf))])


ANY = st.none() | st.floats(allow_nan=False)
WHOLE = st.none() | st.integers()
GAPS = st.builds(
    GapCase,
    minutes_in=st.floats(0, 400) | near(1, 2, 5, 60) | st.integers(0, 100),
    gap_pct=ANY | near(0, 0.008),
    prev_move=ANY | near(0, 0.005),
    done=st.booleans(),
)
LOOSE = {
    "in_session": st.none() | st.booleans(),
    "on_watchlist": st.none() | st.booleans(),
    "ready": st.none() | st.booleans(),
    "prices": st.lists(ANY, max_size=3).map(tuple),
    "bar_age": WHOLE | st.sampled_from([s * SECOND_US + d for s in (1, 60) for d in (-1, 0, 1)]),
    "feed_selected": st.booleans(),
    "suspect_split": st.booleans(),
}
PASSED = {
    "in_session": st.just(True),
    "on_watchlist": st.just(True),
    "ready": st.just(True),
    "prices": st.just((100.0, 99.7, 99.0)),
    "bar_age": st.just(0),
}
FIGURES: dict[str, Any] = {
    "distance": ANY | st.floats(-0.03, 0.03) | near(0, 0.005, 0.008, 0.01, 0.02, 0.05),
    "trend": st.none() | st.sampled_from([-1, 0, 1]) | st.integers(),
    "vol_ratio": ANY | st.floats(0, 3) | near(0.8, 1, 1.2, 1.24, 1.3, 1.6),
    "volume_ratio": ANY | st.floats(0, 7) | near(0.1, 0.5, 1, 1.5, 2, 2.5, 3, 5),
    "since_signal": WHOLE | st.sampled_from([m * MINUTE_US + d for m in (1, 15) for d in (-1, 0, 1)]),
    # a float holds a count exactly up to 2**53; more than full_count counts as full, however many
    "sentiment_n": st.integers(0, 10) | st.integers(-(2**53), 10**30),
    "sentiment_avg": st.floats(-1, 1) | near(0, 1),
    "gap": st.none() | GAPS,
}
ANY_CASE = st.builds(Case, **LOOSE, **FIGURES)
ENTERED_CASE = st.builds(Case, **PASSED, **FIGURES)
GOOD = Case(
    in_session=True, on_watchlist=True, ready=True, prices=(100.0, 99.7, 99.0), distance=0.003, trend=1,
    vol_ratio=1.0, volume_ratio=2.0, bar_age=0, since_signal=None,
)  # fmt: skip


def bits(decision: Decision) -> tuple[Any, ...]:
    """The decision with the sign of each zero told apart."""
    floats = (decision.confidence, *decision.factors)
    return (*decision, *(None if x is None else copysign(1, x) for x in floats))


def same(case: Case, config: Config, untested: frozenset[SignalReason] = frozenset()) -> Decision:
    found = decide(case, config, untested)
    assert bits(found) == bits(signal_oracle.decide(case, config, untested))
    return found


@settings(max_examples=200, deadline=None)
@given(ANY_CASE | ENTERED_CASE, CONFIGS, st.sets(st.sampled_from(list(SignalReason))).map(frozenset))
def test_compiled_rule_decides_as_the_plain_one(
    case: Case, config: Config, untested: frozenset[SignalReason]
) -> None:
    same(case, config)
    same(case, config, untested)


def test_compiled_rule_decides_as_the_plain_one_for_every_reason() -> None:
    """Seeded cases of the market's size: all reasons but the stage's own come up, each many times."""
    random = Random(9)
    pick = random.choice
    met: Counter[SignalReason] = Counter()
    for _ in range(12_000):
        gap = GapCase(
            minutes_in=pick([1, 4.99, 5, 30, 60]), gap_pct=pick([None, 0.008, -0.02, 0.001]),
            prev_move=pick([None, 0.0051, -0.01]), done=random.random() < 0.2,
        )  # fmt: skip
        case = replace(
            GOOD,
            distance=pick([round(random.uniform(-0.022, 0.022), pick([3, 4, 9])), None]),
            trend=pick([-1, 0, 1]),
            vol_ratio=round(random.uniform(0.6, 1.6), pick([1, 2, 9])),
            volume_ratio=pick([None, *[round(random.uniform(0.3, 6), pick([1, 9])) for _ in range(9)]]),
            sentiment_n=pick([0, 1, 5, 8]),
            sentiment_avg=random.uniform(-1, 1),
            since_signal=pick([None, 14 * MINUTE_US, 15 * MINUTE_US]),
            gap=pick([None, gap]),
            **({} if random.random() < 0.8 else pick(FAILING)),
        )
        met[same(case, pick([Config(), FADE, OTHER])).reason] += 1
    assert set(met) == set(SignalReason) - {SignalReason.RULE_ERROR}
    assert min(met.values()) >= 10


FAILING: list[dict[str, Any]] = [
    {"feed_selected": False},
    {"in_session": False},
    {"on_watchlist": False},
    {"ready": False},
    {"suspect_split": True},
    {"prices": (None,)},
    {"bar_age": 60 * SECOND_US + 1},
]


@pytest.mark.parametrize("field", ["distance", "vol_ratio", "prices", "volume_ratio"])
def test_not_a_number_is_unknown(field: str) -> None:
    value: Any = (100.0, nan, 99.0) if field == "prices" else nan
    unknown: Any = (100.0, None, 99.0) if field == "prices" else None
    found = decide(replace(GOOD, **{field: value}), FADE)
    assert found == decide(replace(GOOD, **{field: unknown}), FADE)
    assert found.action is Action.HOLD


def test_rule_without_volume_steps_finds_every_volume_too_low() -> None:
    gap = GapCase(minutes_in=5, gap_pct=0.02, prev_move=0.02, done=False)
    assert decide(replace(GOOD, gap=gap), BARE).reason is SignalReason.VOLUME_TOO_LOW


def test_limits_beyond_the_kernels_integers_never_bind_or_always_do() -> None:
    config = Config(signal=Signal(max_bar_age_s=10**30, cooldown_min=10**30))
    assert same(replace(GOOD, bar_age=10**17), config).action is Action.BUY_CALL
    assert same(replace(GOOD, since_signal=10**17), config).reason is SignalReason.COOLDOWN
