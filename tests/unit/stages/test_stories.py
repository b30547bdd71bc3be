"""Near-duplicate titles fold into the earliest item, by the order of the log alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.text_groups import Ingest
from tapedeck.streams.stages.stories.rule import HOUR_US, Item, jaccard, normalized, story_of

CONFIG = Ingest()
BEATS = "Nvidia beats on strong data center sales"


def item(uid: str, title: str, *, hours: float = 0.0, symbols: str = "NVDA") -> Item:
    return Item(uid, int(hours * HOUR_US), normalized(title), frozenset(symbols.split()))


@pytest.mark.parametrize(
    "title, words",
    [
        ("Nvidia BEATS - Reuters", "nvidia beats"),
        ("NVIDIA: Q3 beat, again!", "nvidia q3 beat again"),
        ("\uff2e\uff36\uff29\uff24\uff29\uff21 beats", "nvidia beats"),
        ("data-center", "data center"),
        ("A b cd", "cd"),
        (" - Reuters", "reuters"),
        ("Straße frei", "strasse frei"),
        ("", ""),
        ("!!! - ???", ""),
    ],
)
def test_a_title_is_normalized(title: str, words: str) -> None:
    assert " ".join(normalized(title).words) == words


def test_the_same_news_of_another_publisher_folds_into_the_first() -> None:
    first = item("b", BEATS)
    assert story_of(item("a", f"{BEATS.upper()} - Wire", hours=1), [first], CONFIG) is first


@pytest.mark.parametrize(
    "hours, folds", [(6.0, True), (6.0 + 1e-9 * 3600, False), (-6.0, True), (-6.1, False)]
)
def test_items_of_one_story_lie_six_hours_apart_at_most(hours: float, folds: bool) -> None:
    first = item("a", BEATS)
    assert (story_of(item("b", BEATS, hours=hours), [first], CONFIG) is first) is folds


@pytest.mark.parametrize(
    "ours, theirs, folds",
    [
        ("NVDA AMD", "AMD", True),
        ("NVDA", "AMD", False),
        ("", "", True),
        ("", "AMD", False),
        ("AMD", "", False),
    ],
)
def test_items_share_a_symbol_or_have_none_both(ours: str, theirs: str, folds: bool) -> None:
    first = item("a", BEATS, symbols=theirs)
    assert (story_of(item("b", BEATS, symbols=ours), [first], CONFIG) is first) is folds


def test_four_of_five_common_words_fold_and_three_of_four_do_not() -> None:
    first = item("a", "one2 two2 three four")
    assert story_of(item("b", "one2 two2 three four five"), [first], CONFIG) is first
    assert story_of(item("b", "one2 two2 three other"), [first], CONFIG) is None


def test_a_short_title_folds_only_into_an_equal_one() -> None:
    first = item("a", "Nvidia beats estimates")
    assert story_of(item("b", "Nvidia beats estimates!"), [first], CONFIG) is first
    assert story_of(item("b", "beats estimates Nvidia"), [first], CONFIG) is None
    assert story_of(item("b", "!!"), [item("a", "??")], CONFIG) is None, "no words are no title"


def test_the_most_alike_story_counts_then_the_earliest_then_the_smallest_uid() -> None:
    alike = item("z", BEATS, hours=2)
    close = item("a", f"{BEATS} again", hours=0)
    assert story_of(item("n", BEATS, hours=3), [close, alike], CONFIG) is alike
    later, earlier = item("a", BEATS, hours=2), item("z", BEATS, hours=1)
    assert story_of(item("n", BEATS, hours=3), [later, earlier], CONFIG) is earlier
    twins = [item("y", BEATS), item("x", BEATS)]
    assert story_of(item("n", BEATS), twins, CONFIG) is twins[1]


WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]), max_size=6)
ITEMS = st.lists(
    st.tuples(WORDS, st.integers(0, 12), st.frozensets(st.sampled_from("AB"), max_size=2)), max_size=8
)


@given(ITEMS, st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_the_stories(rows, random) -> None:
    made = [Item(f"u{n}", h * HOUR_US, normalized(" ".join(w)), s) for n, (w, h, s) in enumerate(rows)]
    if not made:
        return
    shuffled = made[1:]
    random.shuffle(shuffled)
    found = story_of(made[0], made[1:], CONFIG)
    assert story_of(made[0], shuffled, CONFIG) == found
    if found is not None:
        assert abs(found.event_time - made[0].event_time) <= 6 * HOUR_US


@given(st.frozensets(st.integers(0, 9)), st.frozensets(st.integers(0, 9)))
def test_the_jaccard_index_is_common_over_all(ours: frozenset[int], theirs: frozenset[int]) -> None:
    whole = ours | theirs
    expected = len(ours & theirs) / len(whole) if whole else 0.0
    assert jaccard(list(map(str, ours)), list(map(str, theirs))) == pytest.approx(expected)
