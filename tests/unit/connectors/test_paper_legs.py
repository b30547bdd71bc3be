"""Orders of several parts, and replaced ones, at the paper exchange."""

from typing import Any

import pytest

from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.orders import Refusal
from tapedeck.connectors.paper.saved import Saved
from tests.support.paper import CLOSE, LARGE, MINUTE, TEN, TinyMarket, exchange, order

NUMBER = LARGE.number
BRACKET = {
    "symbol": "AMD", "qty": "10", "limit_price": "100.01", "order_class": "bracket", "position_intent": None,
    "take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "95"},
}  # fmt: skip
OCO = {**BRACKET, "order_class": "oco", "side": "sell", "limit_price": None}


class Floor:
    """An exchange with its market, and what was said of each order."""

    def __init__(self) -> None:
        self.market = TinyMarket()
        self.paper = exchange(self.market)
        self.minutes = 0
        self.said: list[tuple[str, str]] = []
        self.paper.listen(self._hear)

    def _hear(self, number: str, update: dict[str, Any]) -> None:
        placed = update["data"]["order"]
        self.said.append((placed["type"], update["data"]["event"]))

    def price(self, bid: str, ask: str) -> None:
        """AMD's quote, and a minute in which it is seen."""
        self.market.price("AMD", bid, ask)
        self.minutes += 1
        self.paper.advance(TEN + self.minutes * MINUTE)

    def states(self, **how: Any) -> dict[str, str]:
        return {each["type"]: each["status"] for each in self.paper.orders(NUMBER, "all", **how)}

    def held(self) -> int:
        return sum(int(each["qty"]) for each in self.paper.positions(NUMBER))


@pytest.fixture
def floor() -> Floor:
    return Floor()


def legs(floor: Floor, name: str = "td1-a") -> list[str]:
    found = floor.paper.order_by_client_id(NUMBER, name)["legs"]
    return [each["status"] for each in found]


def test_legs_of_a_bracket_wait_for_their_parent_and_hold_nothing_until_then(floor: Floor) -> None:
    answer = floor.paper.submit(NUMBER, order(**(BRACKET | {"limit_price": "99"})))
    assert [each["status"] for each in answer["legs"]] == ["held", "held"]
    floor.price("80", "80.01")
    assert floor.held() == 10
    assert legs(floor) == ["new", "held"]
    (position,) = floor.paper.positions(NUMBER)
    assert position["qty_available"] == "0"


def test_a_held_leg_is_among_the_open_orders_only_where_they_are_nested(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order(**BRACKET))
    assert [each["type"] for each in floor.paper.orders(NUMBER)] == ["limit"]
    (parent,) = floor.paper.orders(NUMBER, nested=True)
    assert (parent["status"], [each["status"] for each in parent["legs"]]) == ("filled", ["new", "held"])
    assert floor.paper.orders(NUMBER, "closed", nested=True) == [parent]


def test_a_target_that_is_reached_cancels_the_stop_and_says_so(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order(**BRACKET))
    floor.price("111", "111.02")
    assert (floor.held(), legs(floor)) == (0, ["filled", "canceled"])
    assert floor.said[-2:] == [("limit", "fill"), ("stop", "canceled")]


def test_T14_a_bar_that_touches_both_legs_fills_the_stop_and_only_the_stop(floor: Floor) -> None:
    """Both are first looked at in the same minute, at a quote that meets either."""
    floor.paper.submit(NUMBER, order("td1-b", symbol="AMD", qty="10", limit_price="100.01"))
    floor.paper.faults.arm(Fault.NO_FILL, seconds=60)
    floor.paper.submit(NUMBER, order(**(OCO | {"take_profit": {"limit_price": "90"}})))
    floor.price("94", "94.02")
    assert floor.held() == 0
    assert floor.paper.order_by_client_id(NUMBER, "td1-a")["status"] == "canceled"
    assert legs(floor) == ["filled"]


def test_a_stop_sells_at_the_market_and_a_stop_limit_at_its_limit_or_not_at_all(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order(**BRACKET))
    floor.price("90", "90.02")
    assert legs(floor) == ["canceled", "filled"]
    fills = floor.paper.activities(NUMBER)
    assert fills[-1]["price"] == "90"
    stops = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "95", "limit_price": "94"}}
    floor.paper.submit(NUMBER, order("td1-b", **(BRACKET | stops)))
    floor.price("92", "92.02")
    assert legs(floor, "td1-b") == ["canceled", "new"]
    floor.price("94.50", "94.52")
    assert legs(floor, "td1-b") == ["canceled", "filled"]


def test_a_pair_reserves_its_quantity_once_and_ends_together(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order("td1-b", symbol="AMD", qty="10", limit_price="100.01"))
    pair = floor.paper.submit(NUMBER, order(**OCO))
    assert (pair["limit_price"], pair["legs"][0]["status"]) == ("110", "held")
    with pytest.raises(Refusal, match=r"requested: 1, available: 0"):
        floor.paper.submit(NUMBER, order("td1-s", **(OCO | {"qty": "1"})))
    floor.paper.cancel(NUMBER, pair["id"])
    assert floor.paper.orders(NUMBER, nested=True) == []
    (position,) = floor.paper.positions(NUMBER)
    assert position["qty_available"] == "10"


def test_a_part_of_one_leg_shrinks_the_other(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order(**BRACKET))
    floor.paper.faults.arm(Fault.PARTIAL_FILL, seconds=3600)
    floor.price("111", "111.02")
    target, stop = floor.paper.order_by_client_id(NUMBER, "td1-a")["legs"]
    left = int(target["qty"]) - int(target["filled_qty"])
    assert target["status"] == "partially_filled" and stop["status"] == "held"
    assert int(stop["qty"]) == left == floor.held()


def test_a_parent_that_ends_unfilled_takes_its_legs_with_it(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order(**(BRACKET | {"limit_price": "50"})))
    floor.paper.advance(CLOSE)
    assert set(floor.states().values()) <= {"expired", "canceled"}
    assert set(legs(floor)) <= {"expired", "canceled"}


def test_one_triggers_other_works_when_its_parent_is_filled(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order(**(BRACKET | {"order_class": "oto", "take_profit": None})))
    assert legs(floor) == ["new"]
    floor.price("94", "94.02")
    assert (floor.held(), legs(floor)) == (0, ["filled"])


def test_a_plain_stop_waits_for_its_price(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order("td1-b", symbol="AMD", qty="10", limit_price="100.01"))
    stop = {"side": "sell", "type": "stop", "limit_price": None, "stop_price": "95", "position_intent": None}
    floor.paper.submit(NUMBER, order(symbol="AMD", qty="10", **stop))
    floor.price("95.01", "95.03")
    assert floor.held() == 10
    floor.price("95", "95.02")
    assert floor.held() == 0


def test_a_replaced_order_names_the_new_one_which_works_in_its_place(floor: Floor) -> None:
    first = floor.paper.submit(NUMBER, order(limit_price="1.00"))
    second = floor.paper.replace(NUMBER, first["id"], {"limit_price": "2.10", "client_order_id": "td1-n"})
    assert (second["client_order_id"], second["replaces"], second["qty"]) == ("td1-n", first["id"], "2")
    first = floor.paper.order_by_client_id(NUMBER, "td1-a")
    assert (first["status"], first["replaced_by"]) == ("replaced", second["id"])
    assert first["replaced_at"] is not None
    assert floor.paper.order_by_client_id(NUMBER, "td1-n")["status"] == "filled"
    assert [event for _, event in floor.said] == ["new", "replaced", "new", "fill"]


def test_T1_a_replacement_without_a_quantity_asks_for_the_original_one(floor: Floor) -> None:
    """This is how a partly filled order sells too much: the exchange does not take off what was filled."""
    floor.paper.submit(NUMBER, order("td1-b", symbol="AMD", qty="20", limit_price="100.01"))
    floor.paper.faults.arm(Fault.PARTIAL_FILL, seconds=3600)
    sell = {"side": "sell", "limit_price": "99.99", "position_intent": None}
    first = floor.paper.submit(NUMBER, order(symbol="AMD", qty="10", **sell))
    sold = 20 - floor.held()
    assert 0 < sold < 10
    second = floor.paper.replace(NUMBER, first["id"], {"limit_price": "99.98"})
    assert second["qty"] == "10"
    assert floor.held() == 20 - sold - 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qty": "99999"}, "insufficient options buying power"),
        ({"qty": "1.5"}, "qty must be integer"),
        ({"qty": "0"}, "qty must be > 0"),
        ({"limit_price": "1.001"}, "sub-penny"),
        ({"stop_price": "1.00"}, "has no stop_price"),
        ({"client_order_id": "td1-a"}, "must be unique"),
    ],
)
def test_a_replacement_that_could_not_be_placed_is_refused(
    floor: Floor, changes: dict[str, str], words: str
) -> None:
    first = floor.paper.submit(NUMBER, order(limit_price="1.00"))
    with pytest.raises(Refusal, match=words):
        floor.paper.replace(NUMBER, first["id"], changes)
    assert floor.paper.order_by_client_id(NUMBER, "td1-a")["status"] == "new"


def test_an_ended_order_cannot_be_replaced_and_an_unknown_one_is_not_found(floor: Floor) -> None:
    first = floor.paper.submit(NUMBER, order())
    with pytest.raises(Refusal, match='"filled" state cannot be replaced'):
        floor.paper.replace(NUMBER, first["id"], {"qty": "1"})
    with pytest.raises(Refusal) as unknown:
        floor.paper.replace(NUMBER, "nothing", {"qty": "1"})
    assert unknown.value.status == 404


def test_closing_a_position_sells_it_at_the_market_and_cancel_all_asks_for_each(floor: Floor) -> None:
    floor.paper.submit(NUMBER, order())
    floor.paper.submit(NUMBER, order("td1-b", symbol="AMD", qty="1", limit_price="50"))
    assert floor.paper.close_position(NUMBER, order()["symbol"])["type"] == "market"
    assert floor.held() == 0
    assert [each["status"] for each in floor.paper.cancel_all(NUMBER)] == [200]
    assert floor.paper.cancel_all(NUMBER) == []
    with pytest.raises(Refusal, match="position not found"):
        floor.paper.close_position(NUMBER, "AMD")


def test_legs_and_pending_cancels_are_saved_and_go_on_where_they_were(floor: Floor, tmp_path: Any) -> None:
    floor.paper.submit(NUMBER, order(**BRACKET))
    floor.paper.faults.arm(Fault.CANCEL_PENDING, seconds=90)
    floor.paper.submit(NUMBER, order("td1-c", limit_price="1.00"))
    floor.paper.cancel(NUMBER, floor.paper.order_by_client_id(NUMBER, "td1-c")["id"])
    Saved(tmp_path).keep(floor.paper)
    again = exchange(floor.market)
    assert Saved(tmp_path).restore(again)
    assert again.orders(NUMBER, "all", nested=True) == floor.paper.orders(NUMBER, "all", nested=True)
    again.advance(TEN + 2 * MINUTE)
    assert again.order_by_client_id(NUMBER, "td1-c")["status"] == "canceled"
    floor.market.price("AMD", "94", "94.02")
    again.advance(TEN + 3 * MINUTE)
    assert again.positions(NUMBER) == []
