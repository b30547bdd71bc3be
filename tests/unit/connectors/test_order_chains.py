"""Orders that belong together: what replaced an order, legs, and everything that works in one instrument."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.alpaca import chains, replies
from tapedeck.connectors.broker import Doubt, NotFound, OrderReply, Refused
from tapedeck.streams.stages.account.rules.orders import OrderState


def row(name: str, **changes: Any) -> dict[str, Any]:
    """An order in Alpaca's form: id ``name``, client id ``c-name``."""
    fields = {
        "id": name, "client_order_id": f"c-{name}", "symbol": "AMD", "side": "sell", "qty": "4",
        "filled_qty": "0", "filled_avg_price": None, "status": "new", "created_at": "2026-02-17T15:00:00Z",
        "replaces": None, "replaced_by": None, "legs": None, "order_class": "simple",
    }  # fmt: skip
    return fields | changes


class Known:
    """The orders that the broker knows, by id."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = {each["id"]: each for each in rows}
        self.asked: list[str] = []

    def __call__(self, name: str) -> OrderReply:
        self.asked.append(name)
        if name not in self.rows:
            raise NotFound("no such order")
        return replies.order(self.rows[name])


def test_what_replaced_an_order_is_told_under_the_first_ones_id_with_all_that_was_filled() -> None:
    known = Known(
        row("a", status="replaced", replaced_by="b", filled_qty="1", filled_avg_price="10"),
        row("b", status="replaced", replaces="a", replaced_by="c"),
        row("c", replaces="b", status="filled", filled_qty="3", filled_avg_price="14"),
    )
    end = chains.followed(known("a"), known)
    assert (end.client_order_id, end.broker_order_id, end.state) == ("c-a", "c", OrderState.FILLED)
    assert (end.filled_qty, end.filled_avg_price) == (4, D("13"))
    assert chains.rooted(known("c"), known).client_order_id == "c-a"


def test_an_order_that_nothing_replaced_is_told_as_it_is_without_another_call() -> None:
    known = Known(row("a"))
    order = known("a")
    assert chains.followed(order, known) == order == chains.rooted(order, known)
    assert known.asked == ["a"]


@pytest.mark.parametrize("successor", ["gone", "a", None])
def test_a_chain_that_leads_nowhere_ends_where_it_is(successor: str | None) -> None:
    known = Known(row("a", status="replaced", replaced_by=successor))
    assert chains.followed(known("a"), known).state is OrderState.REPLACED


def test_a_doubt_about_the_successor_is_a_doubt_about_the_order() -> None:
    def silent(name: str) -> OrderReply:
        raise Doubt("no answer")

    with pytest.raises(Doubt):
        chains.followed(replies.order(row("a", status="replaced", replaced_by="b")), silent)


def test_legs_are_listed_beside_their_parent_and_the_ended_are_left_out() -> None:
    leg = row("stop", status="held")
    over = row("parent", status="filled", order_class="bracket", legs=[leg, row("target", status="canceled")])
    assert [each.broker_order_id for each in replies.open_orders([over, row("z")])] == ["stop", "z"]


@pytest.mark.parametrize("legs", [None, [], "oops", [None]])
def test_legs_that_cannot_be_read_do_not_hide_their_parent(legs: Any) -> None:
    found = replies.open_orders([row("parent", legs=legs)])
    assert [each.broker_order_id for each in found] == ["parent"]
    assert len(found.unread) == (legs == [None])


def test_cancel_of_an_instrument_asks_for_held_legs_and_for_a_spread_as_a_whole() -> None:
    spread = row("spread", symbol=None, order_class="mleg", legs=[row("near"), row("far", symbol="OTHER")])
    held = row("parent", status="filled", order_class="bracket", legs=[row("stop", status="held")])
    asked: list[str] = []
    working = replies.open_orders([spread, held, row("other", symbol="NVDA")])
    assert chains.cancel_each(working, "AMD", asked.append) == 2
    assert asked == ["spread", "stop"]


def test_a_cancel_in_doubt_is_raised_after_the_others_were_asked_and_an_ended_order_is_no_error() -> None:
    outcomes = {"a": Doubt("no answer"), "b": Refused("already filled", status=422), "c": NotFound("gone")}
    asked = []

    def cancel(name: str) -> None:
        asked.append(name)
        if name in outcomes:
            raise outcomes[name]

    working = replies.open_orders([row(name) for name in "abcd"])
    with pytest.raises(Doubt):
        chains.cancel_each(working, "AMD", cancel)
    assert asked == list("abcd")
    del outcomes["a"]
    assert chains.cancel_each(working, "AMD", cancel) == 3, "what does not exist was not asked"
