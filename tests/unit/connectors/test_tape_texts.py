"""The synthetic day's texts: seeded, with every kind of trouble, and news before planned moves."""

from collections import Counter, defaultdict
from datetime import date
from functools import cache

import numpy as np

from tapedeck.connectors.sentiment.light import Light
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.plants import Plant, plan
from tapedeck.connectors.tapes.profiles import PROFILES
from tapedeck.connectors.tapes.tape import Body, Tape
from tapedeck.connectors.tapes.texts.day import Text, texts
from tapedeck.connectors.tapes.texts.drafts import Day, tone_of
from tapedeck.connectors.tapes.texts.templates import Tone
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.links.rule import link
from tapedeck.streams.stages.stories.rule import Item, normalized, story_of

CONFIG = from_dict({})
ORIGIN = f"synthetic/seed-{DEFAULT_SEED}"


@cache
def tape(seed: int = DEFAULT_SEED) -> Tape:
    return generate(seed)


def plants() -> tuple[Plant, ...]:
    return plan(np.random.default_rng([DEFAULT_SEED, 1]))


@cache
def made(seed: int = DEFAULT_SEED) -> list[Text]:
    session = xnys().session_on(tape().session)
    assert session is not None
    planned = {plant.symbol: plant for plant in plants()}
    return texts(seed, Day(session, tape().first_live, tuple(PROFILES), planned, ORIGIN))


def of(topic: str) -> list[Body]:
    return [body for minute in tape() for body in getattr(minute, topic)]


def arrivals(topic: str) -> list[tuple[int, Body]]:
    return [(minute.label, body) for minute in tape() for body in getattr(minute, topic)]


def versions(topic: str) -> list[list[Body]]:
    """The versions of each item that has several."""
    found = defaultdict(list)
    for body in of(topic):
        found[body["source"], body["native_id"]].append(body)
    return [each for each in found.values() if len(each) > 1]


def test_the_day_has_about_120_articles_and_200_posts_of_the_seeds_origin() -> None:
    assert 110 <= len(of("news")) <= 130
    assert 190 <= len(of("posts")) <= 205
    assert {body["origin"] for body in (*of("news"), *of("posts"))} == {ORIGIN}
    assert len({body["event_id"] for body in of("news")}) == len(of("news"))
    assert len({body["event_id"] for body in of("posts")}) == len(of("posts"))


def test_an_equal_seed_gives_equal_texts_and_another_seed_others() -> None:
    assert [each.body for each in made()] == [each.body for each in made.__wrapped__()]
    assert [each.body for each in made()] != [each.body for each in made(8)]
    whole = {text.body["event_id"]: text.body for text in made()}
    assert all(whole[body["event_id"]] == body for body in (*of("news"), *of("posts")))


def test_a_smaller_market_has_the_texts_about_its_symbols_and_about_none() -> None:
    small = generate(DEFAULT_SEED, symbols=("AMD", "BAC"))
    ids = [body["event_id"] for minute in small for body in (*minute.news, *minute.posts)]
    wanted = {text.body["event_id"] for text in made() if text.symbol in ("AMD", "BAC", None)}
    assert set(ids) <= wanted
    assert len(ids) > 20


def test_each_day_of_a_market_has_texts_of_its_own() -> None:
    next_day = generate(DEFAULT_SEED, session=date(2026, 2, 18), since=date(2026, 2, 17))
    ids = {(b["source"], b["native_id"]) for minute in next_day for b in (*minute.news, *minute.posts)}
    assert len(ids) > 250
    assert ids.isdisjoint((b["source"], b["native_id"]) for b in (*of("news"), *of("posts")))


def test_a_text_arrives_in_the_minute_of_its_version_and_in_order() -> None:
    for topic in ("news", "posts"):
        stamps = [body["updated_at"] for body in of(topic)]
        assert stamps == sorted(stamps)
        for label, body in arrivals(topic):
            assert label <= body["updated_at"] < label + MINUTE_US
            assert body["event_time"] <= body["updated_at"]
    assert sum(body["event_time"] < tape().first_live for body in of("news")) == 3


def test_no_record_says_which_tone_was_meant() -> None:
    assert {text.tone for text in made()} == set(Tone)
    names = {name for text in made() for name in text.body}
    assert names.isdisjoint({"tone", "label", "sentiment"})


def test_the_light_engine_agrees_with_nearly_all_tones_of_articles() -> None:
    told = [text for text in made() if text.topic == "news" and text.symbol is not None]
    scores = Light().score([f"{text.body['title']}\n{text.body['summary']}" for text in told])
    wrong = [
        (text.tone, score.label, text.body["title"])
        for text, score in zip(told, scores, strict=True)
        if score.label.value != text.tone.value
    ]
    assert len(wrong) <= 0.05 * len(told), wrong


def test_one_planned_move_goes_against_its_news_and_the_others_with_it() -> None:
    assert {plant.symbol: tone_of(plant) for plant in plants()} == {
        "AMD": Tone.POSITIVE,
        "WMT": Tone.NEGATIVE,
        "ORCL": Tone.NEGATIVE,
    }


def test_before_each_planned_move_five_articles_say_the_same_and_count_for_signals() -> None:
    session = xnys().session_on(tape().session)
    assert session is not None
    for plant in plants():
        end = session.open + (plant.start + 5) * MINUTE_US
        near = [
            text
            for text in made()
            if text.topic == "news" and text.symbol == plant.symbol and text.body["event_time"] <= end
            and end - text.body["event_time"] < 30 * MINUTE_US
        ]  # fmt: skip
        tone = tone_of(plant)
        assert len(near) >= 5
        assert {text.tone for text in near} == {tone}
        scores = Light().score([f"{text.body['title']}\n{text.body['summary']}" for text in near])
        counted = [each for each in scores if each.confidence > CONFIG.signal.min_item_confidence]
        assert len(counted) >= 5
        assert all(each.label.value == tone.value for each in counted)


def test_the_day_has_stories_told_by_three_publishers_which_fold() -> None:
    assets = frozenset(PROFILES)
    stories: list[Item] = []
    folded = Counter[str]()
    for body in of("news"):
        linked = link(body["title"], provider=body["symbols"], assets=assets, config=CONFIG.link)
        symbols = frozenset(each.symbol for each in linked.links)
        item = Item(body["event_uid"], body["event_time"], normalized(body["title"]), symbols)
        story = story_of(item, stories, CONFIG.ingest)
        if story is None:
            stories.append(item)
        else:
            folded[story.uid] += 1
    assert sum(count >= 2 for count in folded.values()) >= 6


def test_updates_add_a_word_change_the_tone_or_drop_a_symbol() -> None:
    news = versions("news")
    changed = {(str(each[0]["title"]), str(each[-1]["title"])) for each in news}
    assert len(news) >= 10
    assert any(after == f"{before}, company says" for before, after in changed)
    assert any(after.startswith("Correction: ") for _, after in changed)
    dropped = [each for each in news if set(each[0]["symbols"] or ()) > set(each[-1]["symbols"] or ())]
    assert len(dropped) == 3


def test_capital_words_and_lists_are_there_and_markup_is_gone() -> None:
    titles = [body["title"] for body in of("news")]
    assert not [title for title in titles if "<" in title or "&amp;" in title or "track(" in title]
    assert sum("—" in title for title in titles) == 1
    assets = frozenset(PROFILES)
    traps = [body for body in of("news") if "ALL" in body["title"].split() or "CAT" in body["title"].split()]
    assert len(traps) == 3
    assert not any(
        link(b["title"], provider=b["symbols"], assets=assets, config=CONFIG.link).links for b in traps
    )
    lists = [body for body in (*of("news"), *of("posts")) if body["title"].count("$") > 5]
    assert len(lists) >= 2
    for body in lists:
        assert link(body["title"], provider=None, assets=assets, config=CONFIG.link).list_post


def test_posts_have_hashed_authors_votes_that_change_and_one_removal() -> None:
    posts = of("posts")
    assert {len(body["author_hash"]) for body in posts if not body["removed"]} == {32}
    assert len({body["author_hash"] for body in posts}) > 40
    gone = [body for body in posts if body["removed"]]
    assert [(body["title"], body["text"], body["author_hash"]) for body in gone] == [("", "", None)]
    assert len(versions("posts")) == 7
    assert {body["kind"] for body in posts} == {"POST", "COMMENT"}
