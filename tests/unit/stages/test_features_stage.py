"""The features stage around its kernel: reasons, identity, sessions, records."""

import math
from datetime import date
from typing import Any

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.identity import RULES_VERSION, event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, day_number, xnys
from tapedeck.streams.stages.features.reasons import FeatureReason
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.support.feature_oracle import Bar

CONFIG = from_dict({})
STAGE = FeaturesStage(CONFIG, xnys())
SESSION = xnys().session_on(day_number(date(2026, 11, 27)))  # a half day: 14:30 to 18:00 UTC
GOOD = Bar(SESSION.open, 100.0, 101.0, 99.0, 100.5, 1000.0)


def step(*bars: Bar, state: bytes | None = None, stage: FeaturesStage = STAGE) -> Any:
    return stage.step(b"iex|SPY", state, [bar.row() for bar in bars])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"t": SESSION.open + 1}, "is not on a whole minute"),
        ({"t": SESSION.open + MINUTE_US // 2}, "is not on a whole minute"),
        ({"open": 0.0}, "open = 0.0 is not a price"),
        ({"low": -1.0}, "low = -1.0 is not a price"),
        ({"low": 1e-7}, "low = 1e-07 is not a price"),
        ({"close": math.nan}, "close = nan is not a price"),
        ({"high": math.inf}, "high = inf is not a price"),
        ({"high": 1e10}, "high = 10000000000.0 is not a price"),
        ({"low": 100.2}, "open = 100.0 is not between low = 100.2 and high = 101.0"),
        ({"high": 100.4}, "close = 100.5 is not between low = 99.0 and high = 100.4"),
        ({"volume": -1.0}, "volume = -1.0 is not between"),
        ({"volume": math.nan}, "volume = nan is not between"),
        ({"volume": 1e16}, "volume = 1e+16 is not between"),
        ({"revision": -1}, "revision = -1 is negative"),
    ],
    ids=str,
)
def test_a_bad_bar_is_dropped_for_the_dead_letters_and_leaves_no_trace(
    change: dict[str, Any], told: str
) -> None:
    first = step(GOOD)
    bad = GOOD._replace(**({"t": GOOD.t + MINUTE_US} | change))
    result = step(bad, state=first.state)
    assert [(drop.cause, drop.reason) for drop in result.drops] == [(0, "BAD_BAR")]
    assert told in result.drops[0].detail
    assert result.outs == []
    assert result.state == first.state
    assert STAGE.dead_letter_reasons == {"BAD_BAR"}


@pytest.mark.parametrize(("price", "volume"), [(1e9, 1e15), (1e9, 0.0), (1e-6, 1e15)], ids=str)
def test_the_largest_and_smallest_bars_give_features_that_can_be_written(price: float, volume: float) -> None:
    swing = [price, 1e-6 if price > 1 else price * 2]
    bars = [
        Bar(SESSION.open + n * MINUTE_US, swing[n % 2], max(swing), min(swing), swing[(n + 1) % 2], volume)
        for n in range(150)
    ]
    outs = step(*bars).outs
    assert len(outs) == 150
    for out in outs:
        encode("features", out.body)


def test_only_bars_of_the_regular_session_are_folded() -> None:
    times = [
        SESSION.open - MINUTE_US,
        SESSION.close,
        SESSION.close + MINUTE_US,
        SESSION.open - 86_400_000_000,
    ]
    result = step(*(GOOD._replace(t=t) for t in times))
    assert [drop.reason for drop in result.drops] == ["OUTSIDE_SESSION"] * 4
    assert result.state == b""
    last = step(GOOD._replace(t=SESSION.close - MINUTE_US))
    assert last.outs[0].body["as_of"] == SESSION.close


@pytest.mark.parametrize("t", [0, 4102444800_000000, 2**62 - 2**62 % MINUTE_US])
def test_a_bar_beyond_the_calendar_is_dropped_as_calendar_unknown(t: int) -> None:
    assert [drop.reason for drop in step(GOOD._replace(t=t)).drops] == ["CALENDAR_UNKNOWN"]


def test_extended_hours_feed_features_where_configured_but_not_the_gap_nor_the_opening_range() -> None:
    stage = FeaturesStage(from_dict({"feature": {"extended_hours": True}}), xnys())
    day_before = xnys().previous(SESSION.date)
    assert day_before is not None
    bars = [
        GOOD._replace(t=day_before.close - MINUTE_US, close=100.0),
        GOOD._replace(t=day_before.close, close=99.5),
        GOOD._replace(t=SESSION.open - 30 * MINUTE_US, open=100.9, high=110.0),
        GOOD._replace(t=SESSION.open, open=100.2),
        GOOD._replace(t=SESSION.open + 30 * MINUTE_US),
        GOOD._replace(t=SESSION.close),
        GOOD._replace(t=SESSION.open - 6 * 60 * MINUTE_US),  # before 04:00 in New York
    ]
    result = step(*bars, stage=stage)
    bodies = [out.body for out in result.outs]
    assert [body["bars"] for body in bodies] == [1, 2, 3, 4, 5, 6]
    assert [drop.reason for drop in result.drops] == ["OUTSIDE_SESSION"]
    assert [body["gap_pct"] for body in bodies[2:5]] == [None, 0.002, 0.002]
    assert bodies[4]["or_high"] == 101.0


def test_the_event_names_its_cause_and_its_identity_covers_revision_and_config() -> None:
    later = GOOD._replace(t=GOOD.t + MINUTE_US)
    revised = GOOD._replace(close=100.7, revision=1)
    outs = step(GOOD, later, revised).outs
    assert [(out.cause, out.body["t"], out.body["revision"]) for out in outs] == [
        (0, GOOD.t, 0),
        (1, later.t, 0),
        (2, later.t, 1),
    ]
    body = outs[-1].body
    cause = revised.row().body["event_id"]
    assert body["inputs"] == [cause]
    assert (
        body["event_id"]
        == outs[-1].event_id
        == event_id(
            "features", ("iex", "SPY", later.t), revision=1, config_digest=CONFIG.digest, inputs=[cause]
        )
    )
    assert (body["rules_version"], body["config_digest"]) == (RULES_VERSION, CONFIG.digest)
    assert body["bar_revision"] == 0
    assert body["event_time"] == body["as_of"] == later.t + MINUTE_US
    assert outs[-1].record_key == b"SPY"


def test_a_minute_first_seen_with_a_revision_makes_its_earlier_revision_a_repeat() -> None:
    result = step(GOOD._replace(revision=2), GOOD, GOOD._replace(revision=2))
    assert (result.outs[0].body["revision"], result.outs[0].body["bar_revision"]) == (0, 2)
    assert [drop.reason for drop in result.drops] == [FeatureReason.DUPLICATE_BAR] * 2


def test_feeds_and_symbols_have_states_of_their_own() -> None:
    assert STAGE.key(GOOD.row("SPY", "iex")) == b"iex|SPY"
    assert len({STAGE.key(GOOD.row(s, f)) for s in ("SPY", "IBM") for f in ("iex", "sip")}) == 4


def test_events_survive_the_codec() -> None:
    bars = [GOOD._replace(t=GOOD.t + k * MINUTE_US) for k in range(60)]
    for out in step(*bars).outs:
        assert decode("features", encode("features", out.body)) == out.body


def test_FLD_D13_a_whole_day_missing_in_history_leaves_a_symbol_cold_until_today_has_enough_bars() -> None:
    before, _, today = (
        xnys().session_on(day_number(date(2026, 11, day))) for day in (24, 25, 27)
    )  # the 26th is a holiday
    assert before is not None and today is not None
    flat = [Bar(before.open + n * MINUTE_US, 100.0, 101.0, 99.0, 100.0, 1e3) for n in range(390)]
    old = step(*flat)
    assert old.outs[-1].body["ready"] is True
    fresh = [bar._replace(t=today.open + n * MINUTE_US) for n, bar in enumerate(flat[:60])]
    bodies = [out.body for out in step(*fresh, state=old.state).outs]
    assert [body["ready"] for body in bodies] == [False] * 49 + [True] * 11
    assert {body["gap_pct"] for body in bodies} == {None}, "the session before is not there"
    assert all(body["sma50"] is None for body in bodies[:49])


def test_a_calendar_without_sessions_before_gives_a_first_session() -> None:
    calendar = Calendar([SESSION], (SESSION.date, SESSION.date))
    body = step(GOOD, stage=FeaturesStage(CONFIG, calendar)).outs[0].body
    assert (body["session_date"], body["bars"], body["gap_pct"]) == (SESSION.date, 1, None)
