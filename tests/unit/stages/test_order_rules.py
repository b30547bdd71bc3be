"""Client order ids I2 to I4, and the moves between order states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.codec import load_schema
from tapedeck.streams.stages.account.rules.orders import (
    TERMINAL,
    OrderState,
    Purpose,
    client_order_id,
    may_move,
)

SIGNAL = "sg_19973963b7c0a9311077e46f"


@pytest.mark.parametrize(
    ("account", "attempt", "expected"),
    [
        ("tiny", 0, "td1-o00-83c9efe2d19db34a8bbc962622c6116e"),
        ("large", 0, "td1-o00-7d432b2efd4e1cf0b17177798a2b0af8"),
        ("tiny", 1, "td1-o01-2204500f2c4fc66e944fc5f0d1cfbd7b"),
    ],
    ids=["I2", "I3", "I4"],
)
def test_client_order_id_vector(account: str, attempt: int, expected: str) -> None:
    assert client_order_id(account, SIGNAL, Purpose.OPEN, attempt) == expected
    assert len(expected) == 40


def test_a_close_has_an_id_of_its_own() -> None:
    closing = client_order_id("tiny", SIGNAL, Purpose.CLOSE, 0)
    assert closing.startswith("td1-c00-")
    assert closing[8:] != client_order_id("tiny", SIGNAL, Purpose.OPEN, 0)[8:]


def test_the_states_are_those_of_the_record() -> None:
    state = next(f for f in load_schema("orders")["fields"] if f["name"] == "state")
    assert set(state["type"]["symbols"]) == set(OrderState)


@given(st.lists(st.sampled_from(OrderState), max_size=30))
def test_a_terminal_state_is_never_left_and_intent_never_returns(replies: list[OrderState]) -> None:
    state = OrderState.INTENT
    for reply in replies:
        ended = state in TERMINAL
        if may_move(state, reply):
            assert not ended
            assert reply is not OrderState.INTENT
            state = reply


@pytest.mark.parametrize("state", [s for s in OrderState if s not in TERMINAL])
def test_every_state_that_is_not_terminal_can_end(state: OrderState) -> None:
    assert any(may_move(state, end) for end in TERMINAL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OrderState.PARTIAL, OrderState.ACCEPTED),
        (OrderState.CANCEL_PENDING, OrderState.PARTIAL),
        (OrderState.ACCEPTED, OrderState.SUBMITTED),
        (OrderState.FILLED, OrderState.CANCELED),
    ],
)
def test_a_reply_that_comes_late_moves_nothing(old: OrderState, new: OrderState) -> None:
    assert not may_move(old, new)


def test_doubt_can_strike_any_order_that_lives_and_resolves_to_anything_real() -> None:
    for state in set(OrderState) - TERMINAL - {OrderState.UNKNOWN}:
        assert may_move(state, OrderState.UNKNOWN)
    assert all(may_move(OrderState.UNKNOWN, found) for found in TERMINAL | {OrderState.ACCEPTED})
