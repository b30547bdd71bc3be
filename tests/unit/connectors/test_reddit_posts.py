"""A row of Reddit's API as a record of posts."""

import copy
import json
import math
import random
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.news.items import FUTURE_US, Flag
from tapedeck.connectors.reddit.posts import Authors, BadRow, PostKind, body_of, engagement, post_of
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import SECOND_US
from tests.support.reddit import AUTHORS, NOW, SALT, comment, post


def of(row, now=NOW):
    return post_of(row, now, AUTHORS)


def body(row, now=NOW):
    return body_of(replace(of(row, now), updated_at=now))


def test_a_post_becomes_a_record_that_the_schema_holds():
    row = post("1abc", "TSLA to the moon", selftext="Calls &amp; shares", score=100, num_comments=7)
    found = body(row)
    assert decode("posts", encode("posts", found)) == found
    assert found["native_id"] == found["thread_id"] == "t3_1abc" and found["kind"] == "POST"
    assert (found["title"], found["text"]) == ("TSLA to the moon", "Calls & shares")
    assert found["url"] == "https://www.reddit.com/r/wallstreetbets/comments/1abc/a_title"
    assert found["event_time"] == found["published_at"] == NOW - 3600 * SECOND_US
    assert not found["time_inferred"] and not found["removed"] and found["flags"] == []
    assert (found["upvotes"], found["comments"]) == (100, 7)
    assert found["event_uid"] == sha256(f"reddit|t3_1abc|{NOW}".encode()).hexdigest()
    assert found["content_digest"] == sha256(b"TSLA to the moon\nCalls & shares").hexdigest()
    assert found["origin"] == "reddit/wallstreetbets" and found["source"] == "reddit"


def test_a_comment_names_its_thread_and_has_no_title_and_no_comments():
    found = body(comment("c1", "1abc", "Puts", score=-5))
    assert (found["kind"], found["native_id"], found["thread_id"]) == ("COMMENT", "t1_c1", "t3_1abc")
    assert (found["title"], found["text"], found["comments"], found["upvotes"]) == ("", "Puts", None, -5)
    assert found["engagement"] == 0.0


@pytest.mark.parametrize(
    ("upvotes", "comments"), [(0, 0), (10, 3), (-4, 2), (5, -1), (None, None), (123456, 9876)]
)
def test_engagement_is_the_domains_formula_in_six_decimals(upvotes, comments):
    expected = 0.7 * math.log(1 + max(0, upvotes or 0)) + 0.3 * math.log(1 + max(0, comments or 0))
    assert engagement(upvotes, comments) == round(expected, 6)


@pytest.mark.parametrize(
    "changed",
    [
        {"selftext": "[deleted]"},
        {"selftext": "[removed]"},
        {"selftext": "[ Removed by Reddit ]"},
        {"title": "[deleted by user]", "selftext": "still here"},
        {"removed_by_category": "moderator", "selftext": "still here"},
        {"removed": True, "selftext": "still here"},
    ],
)
def test_a_removed_post_keeps_no_text_no_title_and_no_author(changed):
    found = body(post("1abc", **({"title": "Secret title"} | changed)))
    assert found["removed"]
    assert (found["title"], found["text"], found["author_hash"]) == ("", "", None)
    assert "still here" not in json.dumps(found) and "Secret" not in json.dumps(found)


def test_a_text_that_speaks_of_deleted_things_is_not_removed():
    assert not of(comment("c1", "1abc", "they [deleted] their tweet")).removed


def test_an_author_is_a_keyed_hash_and_names_know_no_case():
    one, same = of(post("1a", author="DeepValue")), of(post("1b", author="deepvalue"))
    assert one.author_hash == same.author_hash and len(one.author_hash or "") == 32
    assert "deepvalue" not in str(one).lower()
    assert Authors(SALT + "x").hash_of("DeepValue") != one.author_hash
    for gone in (None, "[deleted]"):
        assert of(post("1a", author=gone)).author_hash is None


def test_a_short_salt_is_refused_without_being_shown():
    with pytest.raises(Fatal) as refused:
        Authors("hunter2")
    assert "hunter2" not in str(refused.value) and "openssl" in str(refused.value)


def test_hidden_votes_are_unknown():
    assert of(comment("c1", "1abc", score=1, score_hidden=True)).upvotes is None


@pytest.mark.parametrize(
    ("created", "flags", "published"),
    [
        (None, [], None),
        ("yesterday", [Flag.BAD_TIME], None),
        (0, [Flag.BAD_TIME], None),
        (True, [Flag.BAD_TIME], None),
        (float("nan"), [Flag.BAD_TIME], None),
        (10**400, [Flag.BAD_TIME], None),
        ((NOW + FUTURE_US) / SECOND_US + 1, [Flag.FUTURE_TIME], NOW + FUTURE_US + SECOND_US),
    ],
)
def test_a_time_that_is_missing_or_wrong_is_the_time_of_ingest(created, flags, published):
    found = of(post("1a", created_utc=created))
    assert found.event_time == NOW and found.time_inferred
    assert list(found.flags) == flags and found.published == published


def test_text_is_plain_bounded_and_never_a_link_to_elsewhere():
    found = of(post("1a", "x" * 5000, selftext="<script>alert(1)</script>a\x00b\u202ec\ud800"))
    assert found.text == "abc\ufffd" and len(found.title) == 1000 and Flag.TEXT_CUT in found.flags
    for path in ("//evil.example/x", "https://evil.example", "/r/<b>", "javascript:alert(1)"):
        found = of(post("1a", permalink=path))
        assert found.url is None and Flag.URL_DROPPED in found.flags


BAD = [
    ("no row", 17),
    ("no data", {"kind": "t3"}),
    ("another kind", {"kind": "t5", "data": {}}),
    ("a kind that is a list", {"kind": [], "data": {}}),
    ("no id", post("1a", id=None)),
    ("an id of other letters", post("1a", id="../../x")),
    ("no subreddit", post("1a", subreddit=None)),
    ("a title that is a number", post("1a", title=3)),
    ("no text at all", post("1a", title="", selftext="")),
    ("a count that is text", post("1a", score="many")),
    ("a count that is no number", post("1a", score=float("nan"))),
    ("a count beyond everything", post("1a", num_comments=10**30)),
    ("a comment without a thread", comment("c1", "1a", link_id=None)),
    ("a comment under a comment", comment("c1", "1a", link_id="t1_c0")),
]


@pytest.mark.parametrize(("_case", "row"), BAD, ids=[case for case, _ in BAD])
def test_a_bad_row_is_refused_alone_without_its_author(_case, row):
    with pytest.raises(BadRow) as refused:
        of(row)
    assert refused.value.reason == "BAD_ITEM" and refused.value.name
    assert b"somebody" not in refused.value.raw and b"t2_abc" not in refused.value.raw


def test_what_makes_another_version_is_text_votes_comments_or_removal():
    base = of(post("1a", selftext="x"))
    for changed in ({"score": 11}, {"num_comments": 4}, {"selftext": "y"}, {"title": "z"}):
        assert of(post("1a", **({"selftext": "x"} | changed))).state != base.state
    assert of(post("1a", selftext="x", over_18=True, stickied=True)).state == base.state


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JUNK, st.integers(0, 10_000))
def test_any_field_may_hold_anything(junk, seed):
    chance = random.Random(seed)
    row = copy.deepcopy(post("1a", selftext="x") if seed % 2 else comment("c1", "1a"))
    row["data"][chance.choice(sorted(row["data"]))] = junk
    try:
        found = of(row)
    except BadRow:
        return
    assert found.kind in PostKind
    encode("posts", body_of(replace(found, updated_at=NOW)))
