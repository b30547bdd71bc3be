"""Versions of posts become links: edits and removals drop what the version before named."""

from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.protocol import MINUTE_US, Out, Row, Step
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.post_links.stage import PostLinksStage
from tapedeck.streams.stages.post_links.state import BOUNDS, BUCKETS, bucket_of
from tests.support.items import T0, post, row

STAGE = PostLinksStage(from_dict({}), xnys())


def stepped(bodies: Sequence[dict[str, Any]], state: bytes | None = None, minute: int | None = None) -> Step:
    """A step on versions of posts of one bucket."""
    rows = [row("posts", body, minute) for body in bodies]
    (key,) = {STAGE.key(each) for each in rows}
    return STAGE.step(key, state, rows)


def linked(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    step = stepped(bodies)
    assert not step.drops
    return [decode("links", encode("links", out.body)) for out in step.outs]


def symbols(links: dict[str, Any]) -> list[str]:
    return [each["symbol"] for each in links["links"]]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Loading up on $nvda and $TSLA today", ["TSLA", "NVDA"]),
        ("GME up 12% premarket", ["GME"]),
        ("DD: why I am long PLTR", ["PLTR"]),
        ("YOLO ALL IN ON GME LETS GO TO THE MOON APES", []),
        ("apple pie recipe from grandma", []),
        ("see https://example.com/AAPL and mail me at TSLA@ex.com", []),
    ],
)
def test_a_post_is_linked_by_its_text(text: str, expected: list[str]) -> None:
    (found,) = linked(post("t1_a", text))
    assert symbols(found) == expected
    assert (found["scope"], found["text"], found["author_hash"]) == ("SOCIAL", text, "a1")
    assert (found["story"], found["folded"]) == (None, False)


def test_a_title_belongs_to_the_text_of_a_post() -> None:
    (found,) = linked(post("t3_a", "to the moon") | {"kind": "POST", "title": "$GME"})
    assert found["text"] == "$GME. to the moon" and symbols(found) == ["GME"]


def test_an_edited_post_drops_what_it_no_longer_names_and_a_removed_one_all() -> None:
    found = linked(
        post("t1_a", "$NVDA and $AMD"),
        post("t1_a", "$AMD and $GME", version=15),
        post("t1_a", "", version=30, removed=True),
    )
    assert [each["dropped"] for each in found] == [[], ["NVDA"], ["AMD", "GME"]]
    assert (found[2]["text"], found[2]["links"], found[2]["author_hash"]) == ("", [], None)
    assert [len(each["inputs"]) for each in found] == [1, 2, 2]
    assert found[2]["inputs"][1] == found[1]["inputs"][0]


def test_a_removed_post_has_no_links_whatever_its_text() -> None:
    (found,) = linked(post("t1_a", "", removed=True) | {"text": "$NVDA"})
    assert (found["text"], found["links"]) == ("", [])


def test_a_repeated_or_older_version_changes_nothing() -> None:
    first = stepped([post("t1_a", "$NVDA", version=9)])
    minute = row("posts", post("t1_a", "", version=9)).log_minute
    again = stepped([post("t1_a", "$NVDA", version=9), post("t1_a", "$AMD", version=8)], first.state, minute)
    assert [(drop.cause, str(drop.reason)) for drop in again.drops] == [(0, "DUPLICATE"), (1, "SUPERSEDED")]
    assert (again.outs, again.state) == ([], first.state)


@pytest.mark.parametrize("hours, dropped", [(49, ["NVDA"]), (50, [])])
def test_a_post_is_remembered_until_its_thread_is_visited_no_more(hours: int, dropped: list[str]) -> None:
    (_, late) = linked(post("t1_a", "$NVDA"), post("t1_a", "$AMD", version=hours * 60 + 1))
    assert late["dropped"] == dropped


def test_posts_are_spread_over_a_fixed_number_of_keys() -> None:
    keys = {STAGE.key(row("posts", post(f"t1_{n}", ""))) for n in range(10_000)}
    assert len(keys) == BUCKETS


def test_a_full_bucket_forgets_its_oldest_post_and_stays_small() -> None:
    names = (f"t1_{n}" for n in count() if bucket_of(f"reddit|t1_{n}") == b"00")
    bodies = [
        post(name, "$NVDA and $AMD", at=T0 + n) for n, name in enumerate(islice(names, BOUNDS.entries + 1))
    ]
    step = stepped(bodies, minute=T0)
    assert [str(drop.reason) for drop in step.drops] == ["MEMORY_FULL"]
    assert len(step.outs) == len(bodies) and len(step.state) < 150_000
    again = stepped([bodies[1], bodies[0]], step.state, T0)
    assert [str(drop.reason) for drop in again.drops] == ["DUPLICATE", "MEMORY_FULL"]


def by_key(rows: Sequence[Row], sizes: Sequence[int]) -> tuple[dict[bytes, bytes], list[Out]]:
    """What batches of these sizes leave, each key with its own rows, as the shell runs them."""
    states: dict[bytes, bytes] = {}
    outs, at = list[Out](), 0
    for size in sizes:
        batch = list(enumerate(rows[at : at + size], start=at))
        for key in dict.fromkeys(STAGE.key(each) for _, each in batch):
            own = [(place, each) for place, each in batch if STAGE.key(each) == key]
            step = STAGE.step(key, states.get(key), [each for _, each in own])
            states[key] = step.state
            outs += [out._replace(cause=own[out.cause][0]) for out in step.outs]
        at += size
    return states, sorted(outs, key=lambda out: out.cause)


VERSIONS = st.tuples(
    st.integers(0, 5), st.integers(0, 5), st.sampled_from(["$NVDA", "$AMD $NVDA", "", "$GME calls"]),
    st.booleans(), st.integers(0, 1500),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(VERSIONS, max_size=20))
def test_one_by_one_and_in_one_batch_posts_give_the_same(versions) -> None:
    rows, minute = list[Row](), T0
    for name, version, text, removed, gap in versions:
        minute += gap * MINUTE_US
        rows.append(row("posts", post(f"t1_{name}", text, version=version, removed=removed), minute))
    assert by_key(rows, [1] * len(rows)) == by_key(rows, [len(rows)])
