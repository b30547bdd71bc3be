"""Versions of articles become links and stories, from what the stage remembers and the order of the log."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.protocol import MINUTE_US, Row, Step
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.base import unpack_state
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.stories import state as stories_state
from tapedeck.streams.stages.stories.stage import KEY, StoriesStage
from tapedeck.streams.stages.stories.state import BOUNDS
from tests.support.items import HOUR_US, T0, article, row

CONFIG = from_dict({})
STAGE = StoriesStage(CONFIG, xnys())
BEATS = "Nvidia beats on strong data center sales"
BROKERS = 1_000_000
"""Bytes of a record that a broker takes by default, about."""


class Told(NamedTuple):
    links: dict[str, Any]
    story: dict[str, Any]

    @property
    def role(self) -> tuple[str, bool, float | None]:
        return self.story["story"], self.story["folded"], self.story["likeness"]

    @property
    def symbols(self) -> list[str]:
        return [each["symbol"] for each in self.links["links"]]


def stepped(bodies: Sequence[dict[str, Any]], state: bytes | None = None, minute: int | None = None) -> Step:
    return STAGE.step(KEY, state, [row("news", body, minute) for body in bodies])


def told(*bodies: dict[str, Any]) -> list[Told]:
    """The records of each version: one of each topic, all there, and as their schemas say."""
    step = stepped(bodies)
    assert [out.topic for out in step.outs] == ["links", "stories"] * len(bodies), step.drops
    whole = [decode(out.topic, encode(out.topic, out.body)) for out in step.outs]
    found = [Told(links, story) for links, story in zip(whole[::2], whole[1::2], strict=True)]
    for links, story in found:
        assert {name: links[name] for name in story if name not in ("event_id", "likeness")} == {
            name: story[name] for name in story if name not in ("event_id", "likeness")
        }
    return found


def reasons(step: Step) -> list[tuple[int, str]]:
    return [(drop.cause, str(drop.reason)) for drop in step.drops]


@pytest.mark.parametrize(
    "title, tags, links",
    [
        ("Loading up on $nvda and $TSLA today", None, "TSLA 0.95 CASHTAG, NVDA 0.85 CASHTAG"),
        ("NOW is the time to sell", None, ""),
        ("NOW calls printing after the beat", None, "NOW 0.55 BARE"),
        ("my cat needs CAT pet food, puts on kibble", None, ""),
        ("Nvidia and AMD lead the rally", None, "AMD 0.95 BARE, NVDA 0.90 ALIAS"),
        ("Apple cuts guidance for the quarter", None, "AAPL 0.60 ALIAS"),
        ("Eli Lilly (LLY) raises dividend", None, "LLY 0.99 ALIAS+BARE"),
        ("Chip makers rally", ["NVDA", "ZZZZ"], "NVDA 0.90 PROVIDER"),
        ("Nvidia rallies", ["NVDA"], "NVDA 0.95 ALIAS+PROVIDER"),
        ("Meta", [], ""),
    ],
)
def test_an_article_is_linked_by_its_text_and_the_sources_tags(
    title: str, tags: list[str] | None, links: str
) -> None:
    (found,) = told(article("a", title, symbols=tags))
    written = [f"{e['symbol']} {e['confidence']:.2f} {'+'.join(e['kinds'])}" for e in found.links["links"]]
    assert ", ".join(written) == links
    assert found.links["scope"] == "NEWS" and not found.links["dropped"]


def test_places_are_those_of_the_text_that_is_scored() -> None:
    (found,) = told(article("a", " AT&amp;T and Nvidia ", summary="<b>AMD</b> rallies"))
    text = found.links["text"]
    assert text == "AT&amp;T and Nvidia. <b>AMD</b> rallies"
    places = {
        each["symbol"]: [text[match["start"] : match["end"]] for match in each["matches"]]
        for each in found.links["links"]
    }
    assert places == {"AMD": ["AMD"], "NVDA": ["Nvidia"], "T": ["AT&amp;T"]}


def test_a_text_is_cut_and_eight_matches_of_a_symbol_are_stored() -> None:
    (found,) = told(article("a", "Nvidia", summary="$NVDA " * 1000, symbols=["NVDA"]))
    assert len(found.links["text"]) == 2000
    (link,) = found.links["links"]
    assert len(link["matches"]) == 8 and link["confidence"] == 0.99
    assert link["kinds"] == ["ALIAS", "CASHTAG", "PROVIDER"]


def test_a_story_of_three_sources_folds_into_the_first() -> None:
    first, second, third = told(
        article("a", BEATS, source="one"),
        article("b", f"{BEATS} - Wire", source="two", at=T0 + HOUR_US),
        article("c", f"{BEATS.upper()} again", source="three", at=T0 - HOUR_US),
    )
    uid = first.links["event_uid"]
    assert first.role == (uid, False, None)
    assert second.role == (uid, True, 1.0)
    assert third.role == (uid, True, 0.875)
    assert second.links["inputs"] == [second.links["inputs"][0], first.links["inputs"][0]]


def test_a_short_title_folds_into_an_equal_one_alone() -> None:
    found = told(article("a", "Nvidia beats"), article("b", "beats Nvidia"), article("c", "Nvidia beats!"))
    assert [each.story["folded"] for each in found] == [False, False, True]


def test_articles_of_other_symbols_or_more_than_six_hours_apart_do_not_fold() -> None:
    found = told(
        article("a", "Profit rises again this quarter", symbols=["NVDA"]),
        article("b", "Profit rises again this quarter", symbols=["AMD"]),
        article("c", "Profit rises again this quarter"),
        article("d", "Profit rises again this quarter", symbols=["NVDA"], at=T0 + 6 * HOUR_US + 1),
    )
    assert not any(each.story["folded"] for each in found)


def test_an_update_of_the_first_article_keeps_its_story_and_others_meet_its_new_title() -> None:
    first, update, other, old = told(
        article("a", BEATS),
        article("a", "Nvidia shares jump after record quarterly results", version=5),
        article("b", "Nvidia shares jump after record quarterly results", at=T0 + HOUR_US),
        article("c", BEATS, at=T0 + HOUR_US),
    )
    uid = first.links["event_uid"]
    assert update.role == (uid, False, None)
    assert other.role == (uid, True, 1.0)
    assert other.links["inputs"][1] == update.links["inputs"][0]
    assert old.role[1:] == (False, None)


def test_two_versions_of_one_article_never_fold_into_each_other() -> None:
    first, second = told(article("a", BEATS), article("a", BEATS, version=1))
    assert second.role == (first.links["event_uid"], False, None)


def test_a_folded_article_is_judged_again_by_its_next_version() -> None:
    first, folded, own, other, last = told(
        article("a", BEATS),
        article("b", BEATS, version=1),
        article("b", "Nvidia sued over patents by a rival", version=2),
        article("c", BEATS, version=3),
        article("c", "Nvidia sued over patents by a rival", version=4),
    )
    assert folded.role == (first.links["event_uid"], True, 1.0)
    assert own.role == (own.links["event_uid"], False, None)
    assert own.links["inputs"][1:] == [folded.links["inputs"][0], first.links["inputs"][0]]
    assert other.role == (first.links["event_uid"], True, 1.0)
    assert last.role == (own.links["event_uid"], True, 1.0)


def test_a_folded_article_stays_in_a_story_that_is_too_old_to_compare() -> None:
    first, folded, late = told(
        article("a", BEATS),
        article("b", BEATS, version=1),
        article("b", "Nvidia sued over patents by a rival", version=12 * 60),
    )
    assert folded.story["folded"]
    assert late.role == (first.links["event_uid"], True, None)


def test_a_late_article_misses_a_story_older_than_seven_hours() -> None:
    first = article("a", BEATS)
    in_time, late = (article("b", BEATS, at=T0 + 5 * HOUR_US, version=60 * hours) for hours in (2, 3))
    assert told(first, in_time)[1].story["folded"]
    assert not told(first, late)[1].story["folded"]


def test_a_version_drops_the_symbols_that_it_no_longer_names() -> None:
    found = told(
        article("a", "Nvidia and AMD lead the rally"),
        article("a", "AMD leads the rally", version=1),
        article("a", "AMD and Intel lead the rally", version=2),
        article("a", "no company", version=3),
        article("a", "Nvidia", version=4),
    )
    assert [each.symbols for each in found] == [["AMD", "NVDA"], ["AMD"], ["AMD", "INTC"], [], ["NVDA"]]
    assert [each.links["dropped"] for each in found] == [[], ["NVDA"], [], ["AMD", "INTC"], []]
    assert [len(each.links["inputs"]) for each in found] == [1, 2, 2, 2, 2]


def test_a_list_post_counts_for_no_symbol_and_drops_all() -> None:
    many = ["AAPL", "AMD", "BAC", "CAT", "CRM", "GE", "HD", "NVDA", "PG"]
    found = told(
        article("a", "Nvidia and AMD lead the rally"),
        article("a", "Movers of the day", symbols=many, version=1),
        article("a", "Nvidia leads the rally", version=2),
    )
    assert found[1].links["list_post"] and found[1].symbols == many
    assert [each.links["dropped"] for each in found] == [[], ["AMD", "NVDA"], []]


def test_a_repeated_or_older_version_changes_nothing() -> None:
    newest = stepped([article("a", BEATS, version=2)])
    again = stepped(
        [article("a", BEATS, version=2), article("a", "AMD", version=1)], newest.state, row_minute(2)
    )
    assert reasons(again) == [(0, "DUPLICATE"), (1, "SUPERSEDED")]
    assert (again.outs, again.state) == ([], newest.state)


def row_minute(version: int) -> int:
    return row("news", article("a", "", version=version)).log_minute


def test_a_day_old_version_is_forgotten_and_an_article_of_that_age_is_not_remembered() -> None:
    before, after = (article("a", "AMD rallies", version=minutes) for minutes in (24 * 60 + 1, 24 * 60 + 2))
    found = told(article("a", "Nvidia rallies"), before)
    assert found[1].links["dropped"] == ["NVDA"]
    state = stepped([article("a", "Nvidia rallies")]).state
    step = stepped([after], state)
    assert step.outs[0].body["dropped"] == []
    assert stepped([after], step.state).outs == step.outs, "nothing of it is remembered"


def random_news(n: int, *, long: bool) -> list[dict[str, Any]]:
    """``n`` articles of one hour, each a story of its own."""
    tags = sorted(default_assets(CONFIG.universe.symbols))[:100] if long else ["NVDA"]
    words = "word" * 240 if long else "rises on strong demand for chips"
    return [
        article(f"{number:08}" + "x" * (500 * long), f"{number} {words}", symbols=tags, at=T0 + number)
        for number in range(n)
    ]


@pytest.mark.parametrize("n, long", [(BOUNDS.entries + 50, False), (190, True)])
def test_a_full_memory_forgets_the_oldest_and_stays_below_the_record_limit(n: int, long: bool) -> None:
    step = stepped(random_news(n, long=long), minute=T0)
    forgotten = [drop for drop in step.drops if drop.reason == "MEMORY_FULL"]
    assert len(forgotten) == 50 if not long else len(forgotten) > 9
    assert len(step.outs) == 2 * n
    assert len(step.state) < BROKERS // 2
    oldest, newest = random_news(n, long=long)[0], random_news(n, long=long)[-1]
    again = stepped([newest, oldest], step.state, T0)
    assert reasons(again) == [(0, "DUPLICATE"), (1, "MEMORY_FULL")], "the oldest one is new again"


def test_a_full_day_of_news_takes_less_than_two_hundred_kilobytes() -> None:
    words = "some words of a headline of news"
    known = sorted(default_assets(CONFIG.universe.symbols))
    times = [n // 10 * 10 * 24 * HOUR_US // 1000 for n in range(1000)]
    times += [22 * HOUR_US + n // 10 * MINUTE_US for n in range(500)]
    tagged = [(known[n % len(known)], known[n * 7 % len(known)]) for n in range(len(times))]
    bodies = [
        article(
            str(42_000_000 + n), f"{n} {words} and {words}", symbols=tagged[n], at=T0 + at, source="alpaca"
        )
        for n, at in enumerate(sorted(times))
    ]
    step = stepped(bodies)
    assert not step.drops
    assert len(step.state) < 200_000


WORDS = ("nvidia", "beats", "on", "strong", "sales", "again", "AMD", "falls")
VERSIONS = st.tuples(
    st.integers(0, 7),  # which article
    st.integers(0, 5),  # which version
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=7),
    st.integers(0, 600),  # minutes until the next record of the log
    st.lists(st.sampled_from(["NVDA", "AMD"]), max_size=2, unique=True),
)


def log_of(versions: Sequence[Any]) -> list[Row]:
    rows, minute = list[Row](), T0
    known: dict[tuple[int, int], dict[str, Any]] = {}
    for name, version, words, gap, tags in versions:
        at = T0 + name * 90 * MINUTE_US
        body = article(f"n{name}", " ".join(words), at=at, version=version, symbols=tags)
        minute += gap * MINUTE_US
        rows.append(row("news", known.setdefault((name, version), body), minute))
    return rows


@settings(max_examples=40, deadline=None)
@given(st.lists(VERSIONS, max_size=25), st.lists(st.integers(0, 24), max_size=6))
def test_a_stage_that_goes_on_and_one_that_parses_each_state_write_the_same_bytes(versions, returns) -> None:
    goes_on, states = StoriesStage(CONFIG, xnys()), list[bytes | None]([None])
    rows = log_of(versions)
    for each in rows:
        ours = goes_on.step(KEY, states[-1], [each])
        assert ours == StoriesStage(CONFIG, xnys()).step(KEY, states[-1], [each])
        states.append(ours.state)
    for at in (each for each in returns if each < len(rows)):  # as after a crash, or on another partition
        again = goes_on.step(KEY, states[at], [rows[at]])
        assert again == StoriesStage(CONFIG, xnys()).step(KEY, states[at], [rows[at]])


def test_a_state_that_was_packed_last_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, parsed = StoriesStage(CONFIG, xnys()), list[bytes]()

    def noting(version: int, data: bytes) -> dict[str, Any]:
        parsed.append(data)
        return unpack_state(version, data)

    monkeypatch.setattr(stories_state, "unpack_state", noting)
    first = stage.step(KEY, None, [row("news", article("a", BEATS))])
    second = stage.step(KEY, first.state, [row("news", article("b", "Another headline of the day"))])
    assert parsed == []
    stage.step(KEY, first.state, [row("news", article("c", "One more headline of the day"))])
    assert parsed == [first.state] != [second.state]


@settings(max_examples=60, deadline=None)
@given(st.lists(VERSIONS, max_size=25), st.randoms(use_true_random=False))
def test_one_by_one_and_in_batches_articles_give_the_same_and_heads_come_first(versions, random) -> None:
    rows = log_of(versions)
    whole = STAGE.step(KEY, None, rows)
    outs, drops, state, at = [], [], None, 0
    while at < len(rows):
        size = random.randint(1, 4)
        step = STAGE.step(KEY, state, rows[at : at + size])
        outs += [out._replace(cause=out.cause + at) for out in step.outs]
        drops += [drop._replace(cause=drop.cause + at) for drop in step.drops]
        state, at = step.state, at + size
    assert (outs, drops) == (whole.outs, whole.drops)
    assert state == whole.state or not rows
    began: dict[str, int] = {}
    for place, out in enumerate(whole.outs):
        body = out.body
        if not body["folded"]:
            began.setdefault(body["story"], place)
        assert body["story"] in began, "a story is begun before it is told again"
        assert body["folded"] or out.topic == "links" or body["likeness"] is None
    pairs = zip(whole.outs[::2], whole.outs[1::2], strict=True)
    assert all((a.body["story"], a.body["folded"]) == (b.body["story"], b.body["folded"]) for a, b in pairs)
    bodies = {out.event_id: out.body for out in whole.outs}
    assert all(bodies[out.event_id] == out.body for out in whole.outs), "one event_id, two bodies"
