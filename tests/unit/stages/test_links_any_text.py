"""Ticker linking on any text: no exception, no place used twice, bounds, and linear time."""

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.streams.config.text_groups import Link
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.links.clean import cleaned
from tapedeck.streams.stages.links.rule import Linked, link

ASSETS = default_assets(())
_WORDS = """
Nvidia NVDA $NVDA $nvda Eli Lilly LLY Meta Platforms Apple CAT my cat NOW BRK.B $brk.b AT&T GE Aerospace calls
buy shares 12% 150c IS THE MOON <b> </b> ( ) , . - it's AAPL's [AMD](x) AMD/TSLA Bank of America 3M J.P.
Morgan McDonald\u2019s \u00e9t\u00e9 \u6f22\u5b57 \U0001f680
"""
WORDS = _WORDS.split()
GONE = ("https://example.com/NVDA", "www.example.com/$AMD", "a.AMD@example.com", "@NVDA", "<img alt='AMD'>")

texts = st.one_of(
    st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join), st.lists(st.sampled_from(WORDS)).map("".join)
)
tags = st.none() | st.lists(st.sampled_from(["NVDA", "nvda", "ZZZZ", "LLY", ""]) | st.text(max_size=3))


def linked(text: str, provider: list[str] | None = None, assets: frozenset[str] = ASSETS) -> Linked:
    return link(text, provider=provider, assets=assets, config=Link())


def without_places(found: Linked) -> list:
    every = (*found.links, *found.below)
    return [
        (e.symbol, e.confidence, e.kinds, [(m.rule, m.effects, m.confidence) for m in e.matches])
        for e in every
    ]


@given(texts, tags)
@settings(max_examples=60)
def test_any_text_gives_links_in_bounds_and_in_order(text: str, provider: list[str] | None) -> None:
    found = linked(text, provider)
    every = (*found.links, *found.below)
    for each in every:
        assert each.symbol in ASSETS and each.kinds == tuple(sorted({m.kind for m in each.matches}))
        for confidence in (each.confidence, *(m.confidence for m in each.matches)):
            assert 0 <= confidence <= 0.99 and round(confidence, 2) == confidence
    order = [(-each.confidence, each.symbol) for each in every]
    assert order == sorted(order) and len({symbol for _, symbol in order}) == len(order)
    assert all(each.confidence >= 0.5 for each in found.links) and all(
        e.confidence < 0.5 for e in found.below
    )
    assert found.list_post == (len(found.links) > 8)


@given(texts)
def test_no_place_is_used_twice(text: str) -> None:
    found = linked(text)
    places = sorted((m.start, m.end) for e in (*found.links, *found.below) for m in e.matches)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))


@given(st.lists(st.sampled_from(WORDS)), st.integers(0, 30), st.sampled_from(GONE))
def test_an_address_put_between_words_changes_nothing(words: list[str], at: int, address: str) -> None:
    at = min(at, len(words))
    with_address = [*words[:at], address, *words[at:]]
    assert without_places(linked(" ".join(with_address))) == without_places(linked(" ".join(words)))


@given(texts, st.randoms(use_true_random=False))
def test_the_order_of_assets_and_tags_does_not_matter(text: str, random) -> None:
    mixed, provider = sorted(ASSETS), ["NVDA", "LLY", "AMD"]
    random.shuffle(mixed)
    again = linked(text, provider[::-1], frozenset([*mixed, "ZZ.Z"]) - {"ZZ.Z"})
    assert again == linked(text, provider)


@given(texts)
def test_a_cleaned_text_is_as_long_as_the_text(text: str) -> None:
    assert len(cleaned(text)) == len(text)


HOSTILE = [
    "a", "A", "$", "<", "<a", "<!--", "[", "[a](", '[a](b "', "](", "(", "@", "a@", "a@a.", "a.", "a-",
    "http://", "www.", "-", "'", "$A", "$A.", "AAPL.", "AAPL-", "1,", "1:", "12%", "1.", "%", "Eli ",
    "Eli\t\t\t", "NVDA ", "$NVDA ", "Meta calls ", "my ", "J.P. ", "\u00e9", "\u0301", "\ud800", "\x00",
    "\u2019", "<a b='", "&", "&amp;", "&#", "&#1", "&a", "&lt;", "&lt;a ",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE, ids=ascii)
def test_a_long_text_of_one_part_takes_linear_time(part: str) -> None:
    size = 60_000
    began = process_time()
    linked((part * size)[:size] + " AMD")
    # Linear work takes under a second, quadratic work half a minute or more.
    assert process_time() - began < 8


def test_a_megabyte_of_every_part_is_read_to_its_end() -> None:
    text = "".join((part + " ") * 3 for part in HOSTILE)
    long = (text * (1_000_000 // len(text)))[:1_000_000]
    found = linked(long + " > ) and $QCOM")
    assert "QCOM" in {each.symbol for each in found.links}
