"""The mood of a symbol over the last minutes: which items count, and how much."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.sentiment_windows.rule import EMPTY, Counted, Item, Label, Scope, Window

T = 1_769_698_800_000_000
NEWS, SOCIAL, ALL = Scope


def window(
    items: list[Item], t: int, minutes: int, *, scope: Scope, over_confidence: float | None = None
) -> Window:
    return Counted(minutes, scope, over_confidence).at(items, t)


def item(minutes_ago: float, score: float = 0.8, confidence: float = 0.9, scope: Scope = NEWS) -> Item:
    label = Label.POSITIVE if score > 0.05 else Label.NEGATIVE if score < -0.05 else Label.NEUTRAL
    return Item(T - int(minutes_ago * MINUTE_US), score, confidence, label, scope)


def test_no_item_is_an_empty_window() -> None:
    assert window([], T, 30, scope=NEWS) == EMPTY == (0, 0.0, 0, 0, 0, None)


def test_a_window_holds_its_end_and_not_its_beginning() -> None:
    assert window([item(0), item(30)], T, 30, scope=NEWS).n == 1
    assert window([item(30 - 1e-6 / 60)], T, 30, scope=NEWS).n == 1
    assert window([item(-1e-6)], T, 30, scope=NEWS) == EMPTY, "what comes later is not known yet"


def test_neutral_items_lower_the_mean() -> None:
    found = window([item(1, 0.8), item(2, 0.04), item(3, -0.4)], T, 60, scope=NEWS)
    assert found == (3, 0.133333, 1, 1, 1, T - MINUTE_US)


def test_the_label_decides_what_is_neutral() -> None:
    odd = Item(T, 0.5, 1.0, Label.NEUTRAL, NEWS)
    assert window([odd], T, 30, scope=NEWS)[:2] == (1, 0.0)


def test_only_items_above_the_confidence_count_where_one_is_asked_for() -> None:
    items = [item(1, confidence=0.65), item(2, confidence=0.650001)]
    assert window(items, T, 30, scope=NEWS, over_confidence=0.65).n == 1
    assert window(items, T, 30, scope=NEWS).n == 2


def test_only_items_in_scope_count() -> None:
    items = [item(1, scope=NEWS), item(2, scope=SOCIAL)]
    assert [window(items, T, 30, scope=scope).n for scope in (NEWS, SOCIAL, ALL)] == [1, 1, 2]


@given(
    st.lists(st.tuples(st.floats(0, 70), st.floats(-1, 1), st.floats(0, 1)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_items_does_not_matter(rows, random) -> None:
    items = [item(*row) for row in rows]
    found = window(items, T, 60, scope=ALL)
    random.shuffle(items)
    assert window(items, T, 60, scope=ALL) == found
    assert found.n == found.pos + found.neg + found.neu
    assert -1 <= found.avg <= 1
