"""The watchlist's rule: sequences W13..W20, the borders of every step, and what always holds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.groups import Watchlist
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.watchlist.reasons import WatchlistReason as R
from tapedeck.streams.stages.watchlist.rule import BACKFILL, SCORED, Evaluation, Member, Scored, evaluate

OUT, IN = False, True
NO_BACKFILL = Watchlist(backfill_enabled=False)
SEQUENCES = [
    ("W13", "0.62 0.5 0.29 0.29 0.29 0.29 0.29 0.29 0.29", {0: R.ENTER_SCORE, 30: R.SCORE_BELOW_EXIT}, OUT),
    ("W14", "0.6 0.29 0.29 0.29 0.31 0.29 0.29 0.29 0.29", {0: R.ENTER_SCORE, 40: R.SCORE_BELOW_EXIT}, OUT),
    ("W15", "0.599999 0.6 0.6", {5: R.ENTER_SCORE}, IN),
    ("W16", "0.7 0.7 0.7 0.7 0.7 0.7 0.7 0.2 0.2 0.2 0.2", {0: R.ENTER_SCORE, 50: R.SCORE_BELOW_EXIT}, OUT),
    ("W17", "0.7 0.7 X 0.9", {0: R.ENTER_SCORE, 10: R.UNIVERSE_REMOVED, 15: R.ENTER_SCORE}, IN),
    ("W18", "0.7 0.29 0.29 0.29 0.29 0.29 0.29", {0: R.ENTER_SCORE, 30: R.SCORE_BELOW_EXIT}, OUT),
    ("W19", "0.7 0.7 F 0.65", {0: R.ENTER_SCORE, 10: R.STALE, 15: R.ENTER_SCORE}, IN),
    ("W20", "0.7 0.3 0.3 0.3 0.3 0.3 0.3 0.3", {0: R.ENTER_SCORE}, IN),
]


def at(minute: int) -> int:
    return minute * MINUTE_US


def fresh(**scores: float | None) -> dict[str, Scored]:
    return {symbol: Scored(score, 0.0) for symbol, score in scores.items()}


def listed(result: Evaluation) -> list[str]:
    return [place.symbol for place in result.places]


@pytest.mark.parametrize(
    ("readings", "events", "end"), [v[1:] for v in SEQUENCES], ids=[v[0] for v in SEQUENCES]
)
def test_sequence(readings: str, events: dict[int, R], end: bool) -> None:
    members: dict[str, Member] = {}
    seen: dict[int, R] = {}
    for step, reading in enumerate(readings.split()):
        score = 0.7 if reading in "XF" else float(reading)
        universe = [] if reading == "X" else ["A"]
        scored = {"A": Scored(score, 301.0 if reading == "F" else 0.0)}
        result = evaluate(NO_BACKFILL, at(5 * step), universe, scored, members)
        members = result.members
        for _, reason in result.events:
            seen[5 * step] = reason
    assert seen == events
    assert ("A" in members) is end


def test_bar_of_exactly_the_fresh_limit_is_fresh() -> None:
    result = evaluate(NO_BACKFILL, at(0), ["A", "B"], {"A": Scored(0.9, 300.0), "B": Scored(0.9, 300.1)}, {})
    assert listed(result) == ["A"]
    assert result.standing == {"A": R.ENTER_SCORE, "B": R.NO_FRESH_BAR}


def test_member_without_any_score_is_stale_even_in_retention() -> None:
    result = evaluate(NO_BACKFILL, at(5), ["A"], {}, {"A": Member(SCORED, at(0), None)})
    assert result.events == [("A", R.STALE)]
    assert result.members == {}


def test_null_score_counts_as_below_and_ranks_last() -> None:
    before = {"A": Member(SCORED, at(0), None), "B": Member(SCORED, at(0), None)}
    result = evaluate(NO_BACKFILL, at(5), ["A", "B"], fresh(A=None, B=0.1), before)
    assert listed(result) == ["B", "A"]
    assert result.members["A"].below_since == at(5)


def test_cap_keeps_members_in_retention_then_the_best() -> None:
    config = Watchlist(cap=2, backfill_enabled=False)
    before = {"OLD": Member(SCORED, at(0), None), "NEW": Member(SCORED, at(35), None)}
    scores = fresh(OLD=0.65, NEW=0.31, CAND=0.8, WEAK=0.61)
    result = evaluate(config, at(40), list(scores), scores, before)
    assert listed(result) == ["CAND", "NEW"]
    assert result.events == [("CAND", R.ENTER_SCORE), ("OLD", R.CAPPED), ("WEAK", R.NOT_SELECTED_CAP)]


def test_cap_breaks_ties_by_symbol() -> None:
    scores = fresh(C=0.7, A=0.7, B=0.7)
    result = evaluate(Watchlist(cap=2, backfill_enabled=False), at(0), list(scores), scores, {})
    assert listed(result) == ["A", "B"]
    assert result.standing["C"] is R.NOT_SELECTED_CAP


def test_backfill_fills_up_to_its_size_with_the_best_above_its_minimum() -> None:
    config = Watchlist(backfill_to=3)
    scores = fresh(A=0.65, B=0.5, C=0.55, D=0.4, E=0.29, F=None)
    result = evaluate(config, at(0), [*scores, "G"], scores, {})
    assert [(p.symbol, p.rank, p.flag) for p in result.places] == [
        ("A", 1, SCORED),
        ("C", 2, BACKFILL),
        ("B", 3, BACKFILL),
    ]
    assert result.places[1].entered_at is None
    assert {s: result.standing[s] for s in "DEFG"} == {
        "D": R.SCORE_BELOW_ENTRY,
        "E": R.SCORE_BELOW_ENTRY,
        "F": R.NOT_SCORED,
        "G": R.NO_FRESH_BAR,
    }


def test_backfill_at_exactly_its_minimum_is_taken() -> None:
    assert listed(evaluate(Watchlist(), at(0), ["A", "B"], fresh(A=0.3, B=0.299999), {})) == ["A"]


def test_backfill_is_redone_and_ends_without_retention() -> None:
    before = {"A": Member(BACKFILL, None, None), "B": Member(BACKFILL, None, None)}
    result = evaluate(Watchlist(backfill_to=1), at(5), ["A", "B"], fresh(A=0.4, B=0.5), before)
    assert listed(result) == ["B"]
    assert result.events == [("A", R.BACKFILL_ENDED)]


def test_backfill_becomes_a_scored_member_at_the_entry_score() -> None:
    result = evaluate(Watchlist(), at(5), ["A"], fresh(A=0.6), {"A": Member(BACKFILL, None, None)})
    assert result.events == [("A", R.ENTER_SCORE)]
    assert result.members == {"A": Member(SCORED, at(5), None)}


def test_symbol_that_left_now_is_not_backfilled() -> None:
    config = Watchlist(backfill_min=0.1)
    before = {"A": Member(SCORED, at(0), at(10))}
    result = evaluate(config, at(30), ["A"], fresh(A=0.2), before)
    assert result.events == [("A", R.SCORE_BELOW_EXIT)]
    assert result.places == []


def test_symbol_outside_the_universe_never_enters() -> None:
    result = evaluate(Watchlist(), at(0), ["B"], fresh(A=0.9, B=0.4), {})
    assert listed(result) == ["B"]
    assert result.standing["A"] is R.NOT_IN_UNIVERSE


SYMBOLS = [f"S{i:02}" for i in range(12)]
SCORES = st.none() | st.sampled_from([0.0, 0.29, 0.3, 0.31, 0.599999, 0.6, 0.9]) | st.floats(0, 1)
READINGS = st.dictionaries(st.sampled_from(SYMBOLS), st.tuples(SCORES, st.sampled_from([0.0, 300.0, 301.0])))
STEPS = st.lists(st.tuples(st.sets(st.sampled_from(SYMBOLS)), READINGS), min_size=1, max_size=8)


@given(STEPS, st.integers(1, 8), st.booleans(), st.randoms(use_true_random=False))
def test_list_is_ranked_capped_inside_the_universe_and_blind_to_input_order(
    steps: list[tuple[set[str], dict[str, tuple[float | None, float]]]],
    cap: int,
    backfill: bool,
    shuffler: random.Random,
) -> None:
    config = Watchlist(cap=cap, backfill_enabled=backfill, backfill_to=5)
    members: dict[str, Member] = {}
    for minute, (universe, readings) in enumerate(steps):
        scored = {symbol: Scored(*reading) for symbol, reading in readings.items()}
        result = evaluate(config, at(5 * minute), universe, scored, members)
        assert [place.rank for place in result.places] == list(range(1, len(result.places) + 1))
        assert set(listed(result)) <= universe & set(scored)
        assert len(result.places) <= cap
        assert set(result.standing) == universe | set(scored) | set(members)
        flags = [place.flag for place in result.places]
        assert flags == sorted(flags, reverse=True)  # SCORED before BACKFILL
        gone = {symbol for symbol in members if symbol not in result.members}
        assert gone <= {symbol for symbol, _ in result.events}
        mixed = [list(d.items()) for d in (scored, members)]
        for pairs in mixed:
            shuffler.shuffle(pairs)
        again = evaluate(
            config, at(5 * minute), sorted(universe, reverse=True), dict(mixed[0]), dict(mixed[1])
        )  # type: ignore[arg-type]
        assert (again.places, again.events) == (result.places, result.events)
        assert list(again.standing.items()) == list(result.standing.items())
        members = result.members
