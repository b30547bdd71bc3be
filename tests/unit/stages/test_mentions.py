"""Mentions: what counts in an hour, versions, retractions, folded stories, bounds, lean, timelines."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.mentions import items
from tapedeck.streams.stages.mentions.rule import Lean, Leaning, lean
from tapedeck.streams.stages.mentions.stage import MentionsStage
from tapedeck.streams.stages.mentions.timelines import by_author, by_item
from tests.support.market_bodies import Table, bodies
from tests.support.sentiments import HOUR_US, sentiment, sentiment_row

T0 = 492_000 * HOUR_US
COUNTS = ("mentions", "authors", "pos", "neg", "neu", "score_sum")


def mentions() -> Table:
    table = Table(MentionsStage(Config(), xnys()))
    table.mark(T0 - MINUTE_US)
    return table


def minute(table: Table, n: int, *records: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The n-th minute with its records: scope, hour and counts of what is written at its watermark."""
    table.feed([sentiment_row(body, T0 + (n - 1) * MINUTE_US) for body in records])
    found = bodies(table.mark(T0 + n * MINUTE_US), "mentions")
    assert all(body["as_of"] == body["event_time"] == T0 + (n + 1) * MINUTE_US for body in found)
    return [(b["scope"], (b["hour"] - T0) // HOUR_US, *(b[name] for name in COUNTS)) for b in found]


def test_each_hour_and_scope_that_changed_is_written_once_a_minute() -> None:
    table = mentions()
    first = sentiment(name="a", t=T0 + 5, author="ann", score=0.5)
    second = sentiment(name="b", t=T0 + 6, author="ann", score=-0.25)
    news = sentiment(name="n", t=T0 + 7, scope="NEWS", score=0.0)
    before = sentiment(name="c", t=T0 - 1, author="bob", score=0.1)
    assert minute(table, 0, first, second, news, before) == [
        ("SOCIAL", -1, 1, 1, 1, 0, 0, 0.1),
        ("NEWS", 0, 1, 0, 0, 0, 1, 0.0),
        ("SOCIAL", 0, 2, 1, 1, 1, 0, 0.25),
    ]
    assert table.outs[-1].body["inputs"] == sorted([first["event_id"], second["event_id"]])
    assert minute(table, 1) == []
    third = sentiment(name="d", t=T0 + 8, author="eve", score=0.5)
    assert minute(table, 2, third) == [("SOCIAL", 0, 3, 2, 2, 1, 0, 0.75)]
    assert table.outs[-1].body["inputs"] == [third["event_id"]], "what changed since the last record"


def test_a_newer_version_takes_the_place_of_the_older_one_in_its_own_hour() -> None:
    table = mentions()
    minute(table, 0, sentiment(t=T0, score=0.5))
    assert minute(table, 61, sentiment(t=T0 + HOUR_US, version=2, score=-0.5)) == [
        ("SOCIAL", 0, 1, 0, 0, 1, 0, -0.5)
    ]


def test_a_version_that_counts_the_same_writes_nothing() -> None:
    table = mentions()
    minute(table, 0, sentiment(t=T0))
    assert minute(table, 1, sentiment(t=T0, version=2)) == []
    assert table.reasons() == ["UNCHANGED"]
    assert minute(table, 2, sentiment(t=T0, version=1, score=-1.0), sentiment(t=T0, version=2)) == []
    assert table.reasons() == ["UNCHANGED", "SUPERSEDED", "DUPLICATE"]


def test_a_retracted_item_is_gone_and_an_older_version_does_not_bring_it_back() -> None:
    table = mentions()
    minute(table, 0, sentiment(t=T0))
    assert minute(table, 1, sentiment(t=T0, version=3, reason="RETRACTED")) == [
        ("SOCIAL", 0, 0, 0, 0, 0, 0, 0.0)
    ]
    assert minute(table, 2, sentiment(t=T0, version=2)) == []
    assert minute(table, 3, sentiment(name="z", t=T0, reason="RETRACTED")) == []
    assert table.reasons() == ["SUPERSEDED", "UNCHANGED"]


def test_a_text_without_words_is_a_mention_without_a_label() -> None:
    found = minute(mentions(), 0, sentiment(t=T0, reason="EMPTY_TEXT", author="ann"))
    assert found == [("SOCIAL", 0, 1, 1, 0, 0, 0, 0.0)]


def test_a_folded_item_does_not_count_until_it_is_no_longer_folded() -> None:
    table = mentions()
    assert minute(table, 0, sentiment(t=T0, scope="NEWS", folded=True)) == []
    assert table.reasons() == ["FOLDED"]
    assert minute(table, 1, sentiment(t=T0, scope="NEWS", version=2)) == [("NEWS", 0, 1, 0, 1, 0, 0, 0.5)]
    assert minute(table, 2, sentiment(t=T0, scope="NEWS", version=3, folded=True))[0][2] == 0


def test_an_hour_closes_after_fifty_hours_by_the_log() -> None:
    table = mentions()
    minute(table, 0, sentiment(t=T0, score=0.5))
    assert len(minute(table, 50 * 60, sentiment(t=T0, version=2, score=-0.5))) == 1
    late = 51 * 60
    assert minute(table, late, sentiment(t=T0, version=3, score=0.9), sentiment(name="b", t=T0)) == []
    assert table.reasons() == ["TOO_OLD", "TOO_OLD"]
    size = len(table.values[b"NVDA"])
    minute(table, late + 1, sentiment(name="new", t=T0 + 51 * HOUR_US))
    assert len(table.values[b"NVDA"]) == size, "the state forgets what is closed"


def test_the_first_items_after_a_night_count_and_their_repeats_in_the_next_minute_do_not() -> None:
    """Their minute is not known before its watermark: until then the log stands at the evening before."""
    table = mentions()
    morning = sentiment(t=T0 + 17 * HOUR_US)
    assert [found[1] for found in minute(table, 0, morning)] == [17]
    assert minute(table, 17 * 60, morning) == []
    assert table.reasons() == ["DUPLICATE"]


def test_a_full_symbol_lets_its_oldest_hour_go_and_refuses_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(items, "MOST_ITEMS", 3)
    table = mentions()
    minute(table, 0, *(sentiment(name=name, t=T0) for name in "abc"))
    assert minute(table, 1, sentiment(name="d", t=T0)) == []
    assert minute(table, 2, sentiment(name="e", t=T0 + HOUR_US))[0][1:3] == (1, 1)
    assert minute(table, 3, sentiment(name="a", t=T0, version=2, score=-1.0)) == []
    assert table.reasons() == ["FULL", "TOO_OLD"]


RECORDS = st.builds(
    lambda name, hour, version, score, scope, author, how: sentiment(
        name=name,
        t=T0 - hour * HOUR_US,
        version=version,
        score=score,
        scope=scope,
        author=author if scope == "SOCIAL" else None,
        folded=how == "folded",
        reason=how if how.isupper() else "SCORED",
    ),
    st.sampled_from("abcd"),
    st.just(0),
    st.integers(1, 4),
    st.sampled_from([-0.9, -0.05, 0.0, 0.3]),
    st.sampled_from(["NEWS", "SOCIAL"]),
    st.sampled_from([None, "ann", "bob"]),
    st.sampled_from(["SCORED", "SCORED", "folded", "RETRACTED", "EMPTY_TEXT"]),
)


def naive(seen: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """The counts of all that was seen, by scope and hour, from nothing."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    hours: dict[tuple[str, str], int] = {}
    for body in seen:
        name = body["source"], body["native_id"]
        hours.setdefault(name, body["event_time"] // HOUR_US)
        if name not in newest or body["updated_at"] > newest[name]["updated_at"]:
            newest[name] = body
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for name, body in newest.items():
        if body["reason"] != "RETRACTED" and not body["folded"]:
            found[body["scope"], hours[name]].append(body)
    return {
        place: (
            len(each),
            len({b["author_hash"] for b in each if b["author_hash"]}),
            *(sum(b["label"] == label for b in each) for label in ("POSITIVE", "NEGATIVE", "NEUTRAL")),
            round(sum(b["score"] or 0.0 for b in each), 6) + 0.0,
        )
        for place, each in found.items()
    }


@given(st.lists(st.lists(RECORDS, max_size=5), max_size=12), st.integers(1, 3))
def test_the_newest_record_of_each_hour_is_what_a_naive_count_gives(
    minutes: list[list[dict[str, Any]]], batch: int
) -> None:
    table, seen = mentions(), []
    known: dict[tuple[str, int], tuple[Any, ...]] = {}
    for n, records in enumerate(minutes):
        rows = [sentiment_row(body, T0 + (n - 1) * MINUTE_US) for body in records]
        for at in range(0, len(rows), batch):
            table.feed(rows[at : at + batch])
        seen += records
        written = [
            ((b["scope"], b["hour"] // HOUR_US), tuple(b[name] for name in COUNTS))
            for b in bodies(table.mark(T0 + n * MINUTE_US), "mentions")
        ]
        assert len(dict(written)) == len(written), "each hour and scope once"
        known |= dict(written)
        assert {place: counts for place, counts in known.items() if counts[0]} == naive(seen)


@given(st.lists(RECORDS, min_size=1, max_size=12))
def test_batches_do_not_change_the_state_and_a_repeat_changes_nothing(records: list[dict[str, Any]]) -> None:
    rows = [sentiment_row(body, T0 - MINUTE_US) for body in records]
    whole, one_by_one = mentions(), mentions()
    whole.feed(rows)
    for row in rows:
        one_by_one.feed([row])
    assert one_by_one.values == whole.values
    later = [row._replace(log_minute=row.log_minute + MINUTE_US) for row in rows]
    before = dict(whole.values)
    whole.feed(later)
    assert whole.values == before


@pytest.mark.parametrize(
    "counts, expected",
    [
        ((0, 0, 0), Lean(None, None, Leaning.NEUTRAL)),
        ((0, 0, 4), Lean(None, 0.0, Leaning.NEUTRAL)),
        ((3, 1, 0), Lean(0.5, 1.0, Leaning.POSITIVE)),
        ((1, 3, 0), Lean(-0.5, 1.0, Leaning.NEGATIVE)),
        ((2, 2, 0), Lean(0.0, 1.0, Leaning.NEUTRAL)),
        ((1, 0, 4), Lean(1.0, 0.2, Leaning.NEUTRAL)),
        ((2, 0, 7), Lean(1.0, 0.222222, Leaning.POSITIVE)),
        ((1, 2, 0), Lean(-0.333333, 1.0, Leaning.NEGATIVE)),
    ],
)
def test_lean(counts: tuple[int, int, int], expected: Lean) -> None:
    assert lean(*counts) == expected


def test_a_timeline_fills_hours_without_a_mention_and_takes_the_newest_record_of_an_hour() -> None:
    table = mentions()
    minute(table, 0, sentiment(name="a", t=T0, score=0.5), sentiment(name="n", t=T0, scope="NEWS", score=0.2))
    minute(table, 1, sentiment(name="b", t=T0, score=-0.5))
    rows = [out.body for out in table.outs]
    found = by_item(rows, T0 - HOUR_US, T0 + 2 * HOUR_US)
    assert [(b.start - T0, *b.counts) for b in found] == [
        (-HOUR_US, 0, 0, 0, 0, 0, 0.0),
        (0, 3, 0, 2, 1, 0, 0.2),
        (HOUR_US, 0, 0, 0, 0, 0, 0.0),
    ]
    assert found[1].lean == Lean(0.333333, 1.0, Leaning.POSITIVE)
    assert [b.counts.mentions for b in by_item(rows, T0 - 24 * HOUR_US, T0 + 24 * HOUR_US, hours=24)] == [
        0,
        3,
    ]


def test_a_timeline_by_author_counts_each_author_once_with_the_newest_score() -> None:
    records = [
        sentiment(name="a", t=T0, author="ann", score=0.5),
        sentiment(name="b", t=T0 + 1, author="ann", score=-0.5),
        sentiment(name="b", t=T0 + 1, author="ann", score=-0.25, version=2),
        sentiment(name="c", t=T0 + 2, author="bob", score=0.5),
        sentiment(name="c", t=T0 + 2, author="bob", version=2, reason="RETRACTED"),
        sentiment(name="d", t=T0 + HOUR_US, author="ann", score=0.75),
        sentiment(name="n", t=T0, scope="NEWS", score=0.9),
    ]
    found = by_author(records, T0, T0 + 2 * HOUR_US)
    assert [tuple(b.counts) for b in found] == [(1, 1, 0, 1, 0, -0.25), (1, 1, 1, 0, 0, 0.75)]
    assert by_author(records, T0, T0 + 2 * HOUR_US, hours=2)[0].counts == (1, 1, 1, 0, 0, 0.75)
