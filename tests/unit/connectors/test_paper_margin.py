"""Margin accounts at the paper exchange: short sales, buying power, what is refused, and in which words."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.alpaca import replies
from tapedeck.connectors.paper import wire
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.fills import NO_FEES
from tapedeck.connectors.paper.orders import Refusal
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.orders import Side
from tapedeck.streams.stages.account.rules.pricing import short_price
from tests.support.paper import CALL, LARGE, MINUTE, TEN, TINY, TinyMarket, order

NUMBER = LARGE.number


class Margin:
    """An exchange with a margin account of 100,000 USD (AMD 99.99 / 100.01) and a cash account."""

    def __init__(self, cash: str = "100000", **options: Any) -> None:
        self.market = TinyMarket()
        account = LARGE._replace(margin=True, cash=D(cash))
        fields: dict[str, Any] = {"now": TEN, "seed": 7, "fees": NO_FEES} | options
        self.paper = PaperExchange(self.market, xnys(), [account, TINY], **fields)
        self.sent = 0

    def send(self, side: str, qty: int, limit: str | None, **changes: Any) -> dict[str, Any]:
        self.sent += 1
        fields = {
            "symbol": "AMD",
            "qty": str(qty),
            "side": side,
            "limit_price": limit,
            "position_intent": None,
        }
        kind = {} if limit else {"type": "market"}
        return self.paper.submit(NUMBER, order(f"o{self.sent}", **(fields | kind | changes)))

    def refused(self, side: str, qty: int, limit: str | None, **changes: Any) -> tuple[int, int, str]:
        with pytest.raises(Refusal) as refused:
            self.send(side, qty, limit, **changes)
        return refused.value.status, refused.value.code, refused.value.message

    def account(self) -> dict[str, D]:
        told = self.paper.account(NUMBER)
        names = ("cash", "equity", "buying_power", "options_buying_power", "initial_margin",
                 "maintenance_margin", "long_market_value", "short_market_value")  # fmt: skip
        return {name: D(told[name]) for name in names}

    def held(self, symbol: str = "AMD") -> D:
        return self.paper.books[NUMBER].ledger.qty(symbol)


def test_a_short_opens_is_marked_and_is_bought_back() -> None:
    desk = Margin()
    told = desk.send("sell", 100, "99.99")
    assert told["position_intent"] == "sell_to_open" and desk.held() == -100
    (row,) = desk.paper.positions(NUMBER)
    assert (row["side"], row["qty"], row["qty_available"], row["avg_entry_price"]) == (
        "short", "-100", "-100", "99.99",
    )  # fmt: skip
    assert replies.position(row).qty == -100
    desk.market.price("AMD", "94.99", "95.01")
    (row,) = desk.paper.positions(NUMBER)
    assert (row["unrealized_pl"], row["market_value"]) == ("499", "-9500")
    assert desk.account()["equity"] == 100_000 + 499
    assert desk.send("buy", 40, "95.01")["position_intent"] == "buy_to_close"
    desk.paper.close_position(NUMBER, "AMD")
    assert desk.held() == 0 and desk.account()["cash"] == 100_000 + 100 * (D("99.99") - D("95.01"))


def test_an_account_tells_what_its_sides_bind() -> None:
    desk = Margin()
    told = desk.paper.account(NUMBER)
    assert (told["multiplier"], told["shorting_enabled"]) == ("2", True)
    assert desk.account()["buying_power"] == 200_000 and desk.account()["options_buying_power"] == 100_000
    desk.send("sell", 300, "99.99")
    desk.send("buy", 200, "150.02", symbol="NVDA")
    desk.send("buy", 2, "2.10", symbol=CALL)
    found = desk.account()
    assert (found["short_market_value"], found["long_market_value"]) == (-30_000, 30_000 + 410)
    assert found["initial_margin"] == 15_000 + 15_000 + 410
    assert found["maintenance_margin"] == 9_000 + 9_000 + 410
    free = found["equity"] - found["initial_margin"]
    assert (found["buying_power"], found["options_buying_power"]) == (2 * free, free)
    cash = desk.paper.account(TINY.number)
    assert (cash["multiplier"], cash["shorting_enabled"], cash["buying_power"]) == ("1", False, "5000")


@pytest.mark.parametrize(
    ("price", "qty", "upkeep"), [("100", -10, 300), ("10", -10, 50), ("4", -10, 40), ("2", -10, 25),
                                 ("100", 10, 300), ("2", 10, 20)],
)  # fmt: skip
def test_the_upkeep_of_a_position_is_alpacas_table(price: str, qty: int, upkeep: int) -> None:
    desk = Margin()
    desk.market.price("AMD", price, price)
    desk.send("buy" if qty > 0 else "sell", abs(qty), price)
    assert desk.account()["maintenance_margin"] == upkeep


@pytest.mark.parametrize(
    ("change", "limit", "most"),
    [
        ({}, "99.99", 1941),  # 200,000 / (1.03 x 100.01)
        ({}, None, 1941),
        ({}, "200.00", 1000),  # a limit above 103 % of the ask counts
        ({"symbol": "AMD", "side": "buy"}, "100.01", 1999),
    ],
)
def test_an_opening_may_use_up_the_buying_power_and_no_more(
    change: dict[str, Any], limit: str | None, most: int
) -> None:
    side = change.pop("side", "sell")
    refused = (403, 40310000, "insufficient buying power")
    assert Margin().refused(side, most + 1, limit, **change) == refused
    desk = Margin()
    desk.send(side, most, limit, **change)
    assert desk.refused(side, 100, limit, **change)[2] == "insufficient buying power"


def test_a_resting_short_binds_buying_power_until_it_ends() -> None:
    desk = Margin()
    resting = desk.send("sell", 1000, "120.00")
    assert desk.account()["buying_power"] == 200_000 - 120_000
    assert desk.account()["options_buying_power"] == 100_000 - 60_000
    desk.paper.cancel(NUMBER, resting["id"])
    assert desk.account()["buying_power"] == 200_000


def test_a_short_is_refused_where_it_is_not_allowed_and_in_words_for_each_cause() -> None:
    cash = Margin()
    short = order(
        "s", symbol="AMD", side="sell", qty="1", limit_price="99.99", position_intent="sell_to_open"
    )
    with pytest.raises(Refusal, match="account is not allowed to short"):
        cash.paper.submit(TINY.number, short)
    assert Margin("1999.99").refused("sell", 1, "99.99") == (403, 40310000, "account is not allowed to short")
    assert Margin("2000").send("sell", 1, "99.99")["side"] == "sell"
    scarce = Margin(hard_to_borrow=["AMD"])
    assert scarce.refused("sell", 1, "99.99") == (422, 42210000, 'asset "AMD" cannot be sold short')
    assert scarce.send("sell", 1, "149.98", symbol="NVDA")["position_intent"] == "sell_to_open"
    option = scarce.refused("sell", 1, "2.00", symbol=CALL)
    assert option == (403, 40310000, "account not eligible to trade uncovered option contracts")


def test_a_close_never_opens_the_other_side() -> None:
    desk = Margin()
    words = "position intent mismatch, inferred: sell_to_open, specified: sell_to_close"
    assert desk.refused("sell", 1, "99.99", position_intent="sell_to_close") == (422, 42210000, words)
    desk.send("sell", 10, "99.99")
    words = "position intent mismatch, inferred: buy_to_close, specified: buy_to_open"
    assert desk.refused("buy", 1, "100.01", position_intent="buy_to_open") == (422, 42210000, words)
    words = "insufficient qty available for order (requested: 11, available: 10)"
    assert desk.refused("buy", 11, "100.01") == (403, 40310000, words)
    desk.send("buy", 4, "90.00")
    (row,) = desk.paper.positions(NUMBER)
    assert row["qty_available"] == "-6", "a resting buy holds what it closes"
    assert desk.refused("buy", 7, "90.00")[2].endswith("(requested: 7, available: 6)")
    assert "wash trade" in desk.refused("sell", 1, "101.00")[2]


def test_buying_a_short_back_needs_no_buying_power() -> None:
    desk = Margin("2000")
    desk.send("sell", 19, "99.99")
    desk.market.price("AMD", "199.99", "200.01")
    assert desk.account()["buying_power"] == 0
    desk.send("buy", 19, "200.01")
    assert desk.held() == 0


def test_a_replaced_short_is_held_to_the_buying_power_too() -> None:
    desk = Margin()
    resting = desk.send("sell", 100, "120.00")
    with pytest.raises(Refusal, match="insufficient buying power"):
        desk.paper.replace(NUMBER, resting["id"], {"qty": "1667"})
    fresh = desk.paper.replace(NUMBER, resting["id"], {"qty": "1600"})
    assert (fresh["qty"], fresh["position_intent"]) == ("1600", "sell_to_open")


def test_a_bracket_around_a_short_buys_it_back() -> None:
    desk = Margin()
    legs = {"take_profit": {"limit_price": "95.00"}, "stop_loss": {"stop_price": "105.00"}}
    told = desk.send("sell", 10, "99.99", order_class="bracket", **legs)
    assert {leg["position_intent"] for leg in told["legs"]} == {"buy_to_close"} and desk.held() == -10
    desk.market.price("AMD", "105.50", "105.60")
    desk.paper.advance(TEN + 2 * MINUTE)
    assert desk.held() == 0


def test_an_asset_says_whether_it_can_be_sold_short() -> None:
    assert wire.asset("AMD")["shortable"] and wire.asset("AMD")["easy_to_borrow"]
    assert not wire.asset("AMD", borrowable=False)["shortable"]


@pytest.mark.parametrize(("limit", "price"), [(None, "103.0103"), ("99.99", "103.0103"), ("110", "110")])
def test_a_short_counts_for_its_limit_or_103_percent_of_the_ask(limit: str | None, price: str) -> None:
    assert short_price(D("100.01"), None if limit is None else D(limit)) == D(price)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]), st.integers(1, 900), st.integers(90, 110), st.integers(0, 300)
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_is_traded_money_and_quantities_add_up(steps: list[tuple[str, int, int, int]]) -> None:
    desk = Margin()
    for side, qty, price, seconds in steps:
        desk.market.price("AMD", f"{price}.00", f"{price}.02")
        desk.paper.advance(desk.paper.now + seconds * 1_000_000)
        before = desk.account()
        try:
            told = desk.send(side, qty, f"{price}.01")
        except Refusal:
            assert desk.account() == before, "a refusal changes nothing"
            continue
        if told["position_intent"].endswith("open"):
            assert qty * D(price) <= before["buying_power"] * D("1.001")
    book = desk.paper.books[NUMBER]
    signed = sum((fill.qty if fill.side is Side.BUY else -fill.qty for fill in book.executions), D(0))
    paid = sum(
        (fill.qty * fill.price * (1 if fill.side is Side.BUY else -1) for fill in book.executions), D(0)
    )
    assert desk.held() == signed and book.ledger.cash == 100_000 - paid
    for number, fill in enumerate(book.executions):
        held = sum((e.qty if e.side is Side.BUY else -e.qty for e in book.executions[:number]), D(0))
        intent = book.orders[fill.order_id].intent
        closes = held != 0 and (held > 0) == (fill.side is Side.SELL)
        assert closes is intent.endswith("close") and (not closes or fill.qty <= abs(held))
