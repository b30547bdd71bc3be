"""A synthetic market over several sessions: each day goes on from the one that was played."""

from datetime import date
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.tapes.generator import days, generate
from tapedeck.connectors.tapes.tape import Body, Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import iso_date

SYMBOLS = ("AMD", "BAC", "DE")
TUESDAY, FRIDAY = date(2026, 2, 17), date(2026, 2, 20)


@cache
def week(seed: int = 7) -> tuple[Tape, ...]:
    return tuple(days(seed, first=TUESDAY, last=FRIDAY, symbols=SYMBOLS))


def played(tape: Tape) -> list[Body]:
    bars = [body for minute in tape for body in minute.bars]
    return sorted(bars, key=lambda body: (body["symbol"], body["t"], body["revision"]))


def test_first_day_of_several_is_the_day_that_is_made_alone() -> None:
    assert week()[0].digest() == generate(7, session=TUESDAY, symbols=SYMBOLS).digest()


def test_every_later_day_is_warmed_up_by_the_bars_that_were_played_the_day_before() -> None:
    for before, after in zip(week(), week()[1:], strict=False):
        assert list(after.history) == played(before)


def test_a_day_begins_near_where_the_day_before_closed() -> None:
    for before, after in zip(week(), week()[1:], strict=False):
        for symbol in SYMBOLS:
            close = [body["close"] for body in played(before) if body["symbol"] == symbol][-1]
            opened = next(body["open"] for body in played(after) if body["symbol"] == symbol)
            assert abs(opened / close - 1) < 0.04


def test_days_of_one_market_differ_from_each_other() -> None:
    moves = []
    for tape in week():
        closes = [body["close"] for body in played(tape) if body["symbol"] == "BAC"]
        moves.append(round(closes[200] / closes[0], 6))
    assert len(set(moves)) == len(moves)


def test_no_event_id_has_two_bodies_over_all_days() -> None:
    known: dict[str, Body] = {}
    for tape in week():
        for body in (*tape.history, *(b for minute in tape for b in (*minute.bars, *minute.quotes))):
            assert known.setdefault(body["event_id"], body) == body


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 50), st.integers(0, 3))
def test_a_day_is_the_same_whether_it_is_reached_alone_or_through_the_days_before(seed: int, at: int) -> None:
    through = list(days(seed, first=TUESDAY, last=FRIDAY, symbols=("AMD",)))[at]
    alone = generate(seed, session=iso_date(through.session), since=TUESDAY, symbols=("AMD",))
    assert alone.digest() == through.digest()


def test_closed_days_are_passed_over() -> None:
    first, last = date(2026, 2, 13), date(2026, 2, 18)
    found = [iso_date(tape.session) for tape in days(first=first, last=last, symbols=("AMD",))]
    assert found == [date(2026, 2, 13), TUESDAY, date(2026, 2, 18)]


def test_a_market_has_no_day_before_its_first() -> None:
    with pytest.raises(Fatal, match=r"starts after this session; got '2026-02-17'; name a session from"):
        generate(session=TUESDAY, since=FRIDAY)
