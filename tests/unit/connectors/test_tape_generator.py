"""The synthetic market: the same seed the same bytes, valid bars, and everything that a tape must contain."""

from collections import Counter
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.plants import plan
from tapedeck.connectors.tapes.profiles import PROFILES
from tapedeck.connectors.tapes.tape import Body, Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.groups import DEFAULT_SYMBOLS
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import day_number, xnys

SESSION = xnys().session_on(day_number(date(2026, 2, 17)))
MARKET_DIGEST = "683d2250fc3e9b7be060509a323ba571fa4507120e2aa9594000f1984b312b4a"
DEFAULT_DIGEST = "9694b0ff2d3f13bf7d9bc3f6d89fa3f358162129537f180121d145d1babdfc87"


@cache
def tape(seed: int = DEFAULT_SEED) -> Tape:
    return generate(seed)


def live_bars(found: Tape) -> list[tuple[int, Body]]:
    return [(minute.label, body) for minute in found for body in minute.bars]


def test_the_default_tape_never_changes_by_itself() -> None:
    assert tape().digest() == DEFAULT_DIGEST
    market = replace(tape(), minutes=tuple(each._replace(news=(), posts=()) for each in tape()))
    assert market.digest() == MARKET_DIGEST


def test_equal_seeds_give_equal_tapes_and_other_seeds_others() -> None:
    assert generate(11, symbols=("AMD", "BAC")).digest() == generate(11, symbols=("AMD", "BAC")).digest()
    assert tape(1).digest() != tape(2).digest()


def test_a_symbol_has_the_same_bars_whatever_else_is_in_the_market() -> None:
    alone = generate(3, symbols=("ORCL",))
    assert list(alone.history) == [body for body in tape(3).history if body["symbol"] == "ORCL"]


def test_the_default_symbols_are_the_configurations() -> None:
    assert tuple(PROFILES) == tuple(DEFAULT_SYMBOLS)
    assert tape().symbols == DEFAULT_SYMBOLS
    assert tape().universe["source"] == "DEFAULT"
    assert generate(1, symbols=("AMD",)).universe["source"] == "MANUAL"


def test_every_record_says_that_it_is_synthetic() -> None:
    origin = f"synthetic/seed-{DEFAULT_SEED}"
    arrived = (b for m in tape() for b in (*m.bars, *m.quotes, *m.news, *m.posts))
    bodies = [*tape().history, *arrived, tape().universe]
    assert {body["origin"] for body in bodies} == {origin}
    assert tape().market.origin == origin
    assert any(origin in note for note in tape().notes)


def test_the_warm_up_is_the_session_before_a_holiday_weekend() -> None:
    assert SESSION is not None
    dates = {xnys().session_date(body["t"]) for body in tape().history}
    assert dates == {day_number(date(2026, 2, 13))}
    assert [body["symbol"] for body in tape().history] == sorted(body["symbol"] for body in tape().history)
    assert tape().universe["created_at"] == tape().first_live - MINUTE_US < SESSION.open


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_bars_are_valid_for_any_seed(seed: int) -> None:
    found = generate(seed, symbols=("AMD", "PFE", "DE"))
    for _, body in [*live_bars(found), *((0, body) for body in found.history)]:
        assert body["t"] % MINUTE_US == 0
        assert 0 < body["low"] <= min(body["open"], body["close"])
        assert body["high"] >= max(body["open"], body["close"])
        assert body["volume"] >= 1
        assert body["event_time"] == body["t"] + MINUTE_US


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_bars_arrive_in_or_after_their_minute_and_within_roll_back(seed: int) -> None:
    found = generate(seed, symbols=("AMD", "PFE", "DE"))
    assert [minute.label for minute in found] == list(
        range(found.first_live, found.first_live + len(found.minutes) * MINUTE_US, MINUTE_US)
    )
    newest: dict[str, int] = {}
    for label, body in live_bars(found):
        assert 0 <= label - body["t"] <= 3 * MINUTE_US
        newest[body["symbol"]] = max(newest.get(body["symbol"], 0), body["t"])
        assert newest[body["symbol"]] - body["t"] <= 16 * MINUTE_US


def test_the_day_holds_late_revised_missing_and_extended_bars() -> None:
    assert SESSION is not None
    bars = live_bars(tape())
    late = [body for label, body in bars if label > body["t"] and body["revision"] == 0]
    revised = [(label, body) for label, body in bars if body["revision"] == 1]
    regular = {(b["symbol"], b["t"]) for _, b in bars if SESSION.open <= b["t"] < SESSION.close}
    assert len(late) > 10
    assert len(revised) > 10
    assert all(label == body["t"] + MINUTE_US for label, body in revised)
    assert 10 < 28 * 390 - len(regular) < 400
    assert any(body["t"] < SESSION.open for _, body in bars)
    assert any(body["t"] >= SESSION.close for _, body in bars)


def test_a_revised_bar_keeps_its_first_revision_and_differs_from_it() -> None:
    by_key: dict[tuple[str, int], list[Body]] = {}
    for _, body in live_bars(tape()):
        by_key.setdefault((body["symbol"], body["t"]), []).append(body)
    pairs = [bodies for bodies in by_key.values() if len(bodies) > 1]
    assert pairs
    for first, again in pairs:
        assert (first["revision"], again["revision"]) == (0, 1)
        assert first["event_id"] != again["event_id"]
        assert (first["close"], first["volume"]) != (again["close"], again["volume"])


def test_event_ids_are_distinct() -> None:
    ids = Counter(
        body["event_id"] for body in (*tape().history, *(b for m in tape() for b in (*m.bars, *m.quotes)))
    )
    assert max(ids.values()) == 1


def test_volume_over_the_day_has_the_shape_of_a_u() -> None:
    assert SESSION is not None
    by_minute = np.zeros(390)
    for _, body in live_bars(tape()):
        minute = (body["t"] - SESSION.open) // MINUTE_US
        if 0 <= minute < 390 and body["symbol"] not in ("AMD", "WMT", "ORCL"):
            by_minute[minute] += body["volume"]
    middle = by_minute[150:250].mean()
    assert by_minute[:10].mean() > 1.8 * middle
    assert by_minute[-10:].mean() > 1.8 * middle


def test_stocks_move_together() -> None:
    closes = {
        symbol: np.array([b["close"] for b in tape().history if b["symbol"] == symbol])
        for symbol in ("NVDA", "MSFT")
    }
    n = min(len(series) for series in closes.values())
    moves = [np.diff(np.log(series[:n:5])) for series in closes.values()]
    assert np.corrcoef(moves[0], moves[1])[0, 1] > 0.25


def test_quotes_lie_just_before_the_end_of_their_minute_and_around_the_price() -> None:
    for minute in tape():
        for body in minute.quotes:
            assert 200_000 <= minute.label + MINUTE_US - body["quote_time"] <= 3_000_000
            assert 0 < body["bid"] < body["ask"]
        assert len(minute.quotes) == 28


def test_planted_symbols_have_every_bar_on_time_around_their_move() -> None:
    assert SESSION is not None
    bars = live_bars(tape())
    for plant in plan(np.random.default_rng([DEFAULT_SEED, 1])):
        window = {SESSION.open + i * MINUTE_US for i in plant.window()}
        found = [(label, b) for label, b in bars if b["symbol"] == plant.symbol and b["t"] in window]
        assert len(found) == len(window)
        assert all(label == body["t"] and body["revision"] == 0 for label, body in found)


def test_a_half_day_has_no_plants_and_ends_early() -> None:
    half = generate(1, session=date(2026, 11, 27), symbols=("AMD",))
    session = xnys().session_on(half.session)
    assert session is not None
    assert half.minutes[-1].label == session.close + 4 * MINUTE_US


@pytest.mark.parametrize("day", [date(2026, 2, 16), date(2026, 2, 15)])
def test_a_date_without_a_session_is_refused(day: date) -> None:
    with pytest.raises(Fatal, match=str(day)):
        generate(1, session=day)


def test_an_unknown_symbol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Fatal, match=r"ZZZZ.*NVDA"):
        generate(1, symbols=("ZZZZ",))
