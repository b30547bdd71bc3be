"""The paper exchange: what it refuses, how it fills, what it remembers."""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.paper.fills import Fees
from tapedeck.connectors.paper.orders import Refusal
from tests.support.paper import (
    CALL,
    CLOSE,
    LARGE,
    MINUTE,
    SECOND,
    TEN,
    TINY,
    TODAY_CALL,
    TinyMarket,
    at,
    exchange,
    order,
)

NUMBER = LARGE.number


def _statuses(paper: Any, client_order_id: str = "td1-a") -> str:
    return str(paper.order_by_client_id(NUMBER, client_order_id)["status"])


def _heard(paper: Any) -> list[dict[str, Any]]:
    updates: list[dict[str, Any]] = []
    paper.listen(lambda number, update: updates.append(update["data"]))
    return updates


def _bought(paper: Any, **changes: Any) -> None:
    """Hold something: a marketable buy fills at once."""
    paper.submit(NUMBER, order("td1-first", **changes))


@pytest.mark.parametrize(
    ("changes", "status", "code", "words"),
    [
        ({"symbol": "NOPE"}, 422, 42210000, "not found"),
        ({"symbol": "NVDA260220C00999000"}, 422, 42210000, "not found"),
        ({"qty": "1.5"}, 422, 42210000, "qty must be integer"),
        ({"symbol": "AMD", "qty": "0.5", "limit_price": "100"}, 422, 42210000, "not fractionable"),
        ({"qty": "0"}, 422, 40010001, "qty must be > 0"),
        ({"qty": "NaN"}, 422, 40010001, "qty must be > 0"),
        ({"qty": "many"}, 422, 40010001, "qty is not a number"),
        ({"qty": None}, 422, 40010001, "qty is required"),
        ({"side": "hold"}, 422, 40010001, "side must be"),
        ({"type": "trailing_stop"}, 422, 40010001, "order type trailing_stop"),
        ({"type": "stop"}, 422, 40010001, "stop orders take no limit price"),
        ({"type": "stop", "limit_price": None}, 422, 40010001, "stop orders require a stop price"),
        ({"type": "market"}, 422, 40010001, "market orders take no limit price"),
        ({"order_class": "mleg"}, 422, 40010001, "order_class mleg"),
        ({"order_class": "bracket"}, 422, 40010001, "take_profit"),
        ({"order_class": "oto"}, 422, 40010001, "either take_profit"),
        ({"take_profit": {"limit_price": "3"}}, 422, 40010001, "simple orders take no legs"),
        (
            {"order_class": "oto", "stop_loss": {"stop_price": "1"}},
            422,
            42210000,
            "complex orders not supported for options",
        ),
        ({"limit_price": None}, 422, 40010001, "limit price"),
        ({"limit_price": "2.005"}, 422, 42210000, "sub-penny"),
        ({"time_in_force": "gtc"}, 422, 42210000, "time_in_force"),
        ({"extended_hours": True}, 422, 42210000, "extended hours"),
        ({"client_order_id": "x" * 129}, 422, 40010001, "client_order_id"),
        ({"position_intent": "sell_to_close"}, 422, 40010001, "does not fit side"),
        ({"position_intent": "buy_to_close"}, 422, 42210000, "position intent mismatch"),
        ({"qty": "1000"}, 403, 40310000, "insufficient options buying power"),
        ({"symbol": "AMD", "qty": "2000", "limit_price": "100"}, 403, 40310000, "insufficient buying power"),
        ({"side": "sell", "position_intent": "sell_to_open"}, 403, 40310000, "uncovered option contracts"),
        ({"side": "sell", "position_intent": "sell_to_close"}, 403, 40310000, "uncovered option contracts"),
        (
            {"symbol": "AMD", "side": "sell", "limit_price": "100", "position_intent": None},
            403,
            40310000,
            "not allowed to short",
        ),
    ],
)
def test_bad_order_is_refused_in_alpacas_words(
    changes: dict[str, Any], status: int, code: int, words: str
) -> None:
    paper = exchange()
    with pytest.raises(Refusal) as refused:
        paper.submit(NUMBER, order(**changes))
    assert (refused.value.status, refused.value.code) == (status, code)
    assert words in refused.value.message
    assert paper.orders(NUMBER, "all") == []


def test_second_order_with_the_same_client_id_is_refused_even_after_the_first_ended() -> None:
    paper = exchange()
    paper.submit(NUMBER, order())
    with pytest.raises(Refusal, match="client_order_id must be unique") as refused:
        paper.submit(NUMBER, order())
    assert refused.value.status == 422
    paper.submit(TINY.number, order(qty="1"))  # unique per account


def test_selling_more_than_is_free_is_refused_with_what_is_free() -> None:
    paper = exchange()
    _bought(paper)
    sell = {"side": "sell", "position_intent": "sell_to_close", "limit_price": "2.50"}
    paper.submit(NUMBER, order("td1-s1", qty="1", **sell))
    with pytest.raises(Refusal, match=r"requested: 2, available: 1"):
        paper.submit(NUMBER, order("td1-s2", qty="2", **sell))


def test_order_against_a_working_one_is_a_wash_trade() -> None:
    paper = exchange()
    _bought(paper)
    paper.submit(NUMBER, order("td1-b", limit_price="1.50"))
    with pytest.raises(Refusal, match="wash trade"):
        paper.submit(NUMBER, order("td1-s", side="sell", position_intent="sell_to_close", limit_price="2.50"))


def test_option_market_order_is_refused_while_the_market_is_closed_and_limit_is_queued() -> None:
    paper = exchange(now=at("13:00:00"))
    with pytest.raises(Refusal, match="market hours"):
        paper.submit(NUMBER, order(type="market", limit_price=None))
    assert paper.submit(NUMBER, order())["status"] == "accepted"
    paper.advance(at("14:29:59"))
    assert _statuses(paper) == "new"
    paper.advance(at("14:30:00"))
    assert _statuses(paper) == "filled"


def test_contract_that_expires_today_cannot_be_opened_in_the_last_half_hour() -> None:
    paper = exchange(now=at("20:30:00"))
    with pytest.raises(Refusal, match="expire today"):
        paper.submit(NUMBER, order(symbol=TODAY_CALL, limit_price="1.10"))
    early = exchange(now=at("20:29:59"))
    assert early.submit(NUMBER, order(symbol=TODAY_CALL, limit_price="1.10"))["status"] == "pending_new"


def test_expired_contract_is_refused() -> None:
    paper = exchange(now=at("21:00:01"))
    with pytest.raises(Refusal, match="not active"):
        paper.submit(NUMBER, order(symbol=TODAY_CALL, limit_price="1.10"))


def test_marketable_limit_fills_at_once_at_the_ask_and_costs_its_fee() -> None:
    paper = exchange()
    heard = _heard(paper)
    accepted = paper.submit(NUMBER, order(limit_price="2.50"))
    assert accepted["status"] == "pending_new"  # the answer is the acceptance; the fill comes as an update
    assert [update["event"] for update in heard] == ["new", "fill"]
    filled = heard[-1]
    assert (filled["price"], filled["qty"], filled["position_qty"]) == ("2.1", "2", "2")
    assert filled["order"]["filled_avg_price"] == "2.1"
    account = paper.account(NUMBER)
    assert D(account["cash"]) == D("100000") - D("420.00") - D("0.10")
    assert D(account["equity"]) == D("100000") - D("0.10") - D("10.00")  # marked at mid 2.05


def test_market_order_takes_the_other_side_and_waits_where_there_is_none() -> None:
    market = TinyMarket()
    market.price("AMD", "99.99", None)
    paper = exchange(market)
    buy = order(symbol="AMD", qty="10", type="market", limit_price=None)
    paper.submit(NUMBER, buy)
    paper.advance(TEN + MINUTE)
    assert _statuses(paper) == "new"
    market.price("AMD", "99.99", "100.01")
    paper.advance(TEN + 2 * MINUTE)
    assert paper.order_by_client_id(NUMBER, "td1-a")["filled_avg_price"] == "100.01"


def test_limit_between_mid_and_ask_fills_later_at_exactly_its_limit() -> None:
    paper = exchange()
    paper.submit(NUMBER, order(limit_price="2.07"))
    assert _statuses(paper) == "new"
    paper.advance(TEN + 10 * MINUTE)
    filled = paper.order_by_client_id(NUMBER, "td1-a")
    assert (filled["status"], filled["filled_avg_price"]) == ("filled", "2.07")
    assert all(fill["price"] == "2.07" for fill in paper.activities(NUMBER))


def test_resting_limit_that_the_market_crosses_fills_at_its_limit_not_better() -> None:
    market = TinyMarket()
    paper = exchange(market)
    paper.submit(NUMBER, order(limit_price="1.95"))
    paper.advance(TEN + MINUTE)
    market.price(CALL, "1.80", "1.85")
    paper.advance(TEN + 2 * MINUTE)
    assert paper.order_by_client_id(NUMBER, "td1-a")["filled_avg_price"] == "1.95"


def test_limit_behind_mid_waits() -> None:
    paper = exchange()
    paper.submit(NUMBER, order(limit_price="2.04"))
    paper.advance(CLOSE - 1)
    assert _statuses(paper) == "new"


def test_most_step_0_orders_fill_within_the_minute_and_some_in_parts() -> None:
    paper = exchange()
    heard = _heard(paper)
    for n in range(40):
        paper.submit(NUMBER, order(f"td1-{n}", limit_price="2.07", qty="4"))
    paper.advance(TEN + MINUTE)
    filled = [each for each in paper.orders(NUMBER, "all") if each["status"] == "filled"]
    assert 25 <= len(filled) < 40
    assert any(update["event"] == "partial_fill" for update in heard)
    paper.advance(TEN + 5 * MINUTE)
    assert paper.orders(NUMBER, "open") == []


def test_partial_fills_add_up_and_the_last_says_fill() -> None:
    paper = exchange()
    heard = _heard(paper)
    for n in range(30):
        paper.submit(NUMBER, order(f"td1-{n}", limit_price="2.07", qty="4"))
    paper.advance(TEN + 10 * MINUTE)
    by_order: dict[str, list[dict[str, Any]]] = {}
    for update in heard:
        if "execution_id" in update:
            by_order.setdefault(update["order"]["id"], []).append(update)
    for fills in by_order.values():
        assert sum(D(fill["qty"]) for fill in fills) == 4
        assert [fill["event"] for fill in fills] == ["partial_fill"] * (len(fills) - 1) + ["fill"]
    executions = [update["execution_id"] for update in heard if "execution_id" in update]
    assert len(set(executions)) == len(executions)


def test_day_order_expires_at_the_close_and_keeps_what_it_filled() -> None:
    paper = exchange()
    heard = _heard(paper)
    paper.submit(NUMBER, order(limit_price="1.00"))
    paper.advance(CLOSE + MINUTE)
    assert _statuses(paper) == "expired"
    assert [update["event"] for update in heard] == ["new", "expired"]
    assert heard[-1]["order"]["expired_at"].startswith("2026-02-17T21:00:00")


def test_cancel_ends_a_working_order_and_a_second_cancel_is_refused() -> None:
    paper = exchange()
    order_id = paper.submit(NUMBER, order(limit_price="1.00"))["id"]
    paper.cancel(NUMBER, order_id)
    assert _statuses(paper) == "canceled"
    with pytest.raises(Refusal, match='already in "canceled"') as refused:
        paper.cancel(NUMBER, order_id)
    assert refused.value.status == 422
    with pytest.raises(Refusal) as unknown:
        paper.cancel(NUMBER, "nothing")
    assert unknown.value.status == 404


def test_working_buy_holds_its_cash_until_it_ends() -> None:
    paper = exchange()
    order_id = paper.submit(NUMBER, order(limit_price="1.00", qty="5"))["id"]
    assert D(paper.account(NUMBER)["options_buying_power"]) == D("99500")
    paper.cancel(NUMBER, order_id)
    assert D(paper.account(NUMBER)["options_buying_power"]) == D("100000")


def test_sell_brings_cash_less_fee_and_closes_the_position() -> None:
    paper = exchange()
    _bought(paper)
    paper.submit(NUMBER, order("td1-s", side="sell", position_intent="sell_to_close", limit_price="2.00"))
    assert paper.positions(NUMBER) == []
    assert D(paper.account(NUMBER)["cash"]) == D("100000") - D("20.00") - D("0.20")


def test_average_cost_stays_on_a_partial_sell() -> None:
    market = TinyMarket()
    paper = exchange(market)
    _bought(paper)
    market.price(CALL, "3.00", "3.10")
    paper.advance(TEN + MINUTE)
    paper.submit(NUMBER, order("td1-b", limit_price="3.10"))
    (held,) = paper.positions(NUMBER)
    assert (held["qty"], held["avg_entry_price"], held["cost_basis"]) == ("4", "2.6", "1040")
    paper.submit(
        NUMBER, order("td1-s", qty="1", side="sell", position_intent="sell_to_close", limit_price="3.00")
    )
    (held,) = paper.positions(NUMBER)
    assert (held["qty"], held["avg_entry_price"]) == ("3", "2.6")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_seed_same_times_same_ids_and_fills(seed: int) -> None:
    def run(a_seed: int, steps: list[int]) -> list[dict[str, Any]]:
        paper = exchange(seed=a_seed)
        heard = _heard(paper)
        for n in range(6):
            paper.submit(NUMBER, order(f"td1-{n}", limit_price="2.07", qty="3"))
        for step in steps:
            paper.advance(TEN + step)
        return heard

    jumps = run(seed, [5 * MINUTE])
    assert jumps == run(seed, [SECOND * n for n in range(1, 301)])  # how often it is asked changes nothing
    assert jumps != run(seed + 10, [5 * MINUTE])


def test_time_never_runs_backwards() -> None:
    paper = exchange()
    paper.advance(TEN - MINUTE)
    assert paper.now == TEN


def test_fees_round_up_to_the_cent() -> None:
    fees = Fees()
    assert fees.of(is_option=True, side=_side("BUY"), qty=D(3)) == D("0.15")
    assert fees.of(is_option=False, side=_side("BUY"), qty=D(40)) == 0
    assert fees.of(is_option=False, side=_side("SELL"), qty=D(40)) == D("0.01")


def _side(name: str) -> Any:
    from tapedeck.streams.stages.account.rules.orders import Side

    return Side(name)


def test_credentials_find_their_account_and_no_other() -> None:
    paper = exchange()
    assert paper.authenticate(TINY.key, TINY.secret) == TINY.number
    assert paper.authenticate(TINY.key, LARGE.secret) is None
    assert TINY.secret not in repr(TINY)


def test_clock_and_calendar_say_when_the_market_opens_next() -> None:
    paper = exchange(now=at("21:30:00"))
    clock = paper.clock()
    assert (clock["is_open"], clock["next_open"][:16]) == (False, "2026-02-18T09:30")
    from tests.support.paper import DAY

    assert paper.sessions(DAY - 1, DAY) == [{"date": "2026-02-17", "open": "09:30", "close": "16:00"}]


_trades = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 5),
        st.sampled_from(["1.90", "2.00", "2.05", "2.07", "2.10"]),
        st.integers(0, 90),
    ),
    max_size=12,
)


@given(_trades)
def test_cash_and_positions_are_the_sum_of_the_executions(trades: list[tuple[str, int, str, int]]) -> None:
    paper = exchange()
    now = TEN
    for n, (side, qty, limit, wait) in enumerate(trades):
        body = order(f"td1-{n}", qty=str(qty), side=side, limit_price=limit, position_intent=None)
        try:
            paper.submit(NUMBER, body)
        except Refusal:
            continue
        now += wait * SECOND
        paper.advance(now)
    cash, held = D(100_000), D(0)
    for fill in paper.activities(NUMBER):
        sign = 1 if fill["side"] == "buy" else -1
        held += sign * D(fill["qty"])
        cash -= sign * D(fill["qty"]) * D(fill["price"]) * 100 + D(fill["fee"])
        assert held >= 0
    assert D(paper.account(NUMBER)["cash"]) == cash
    assert sum((D(at_["qty"]) for at_ in paper.positions(NUMBER)), D(0)) == held


def test_the_open_orders_are_those_of_all_that_are_open_newest_first_whatever_has_ended() -> None:
    paper = exchange()
    for n in range(6):
        paper.submit(LARGE.number, order(f"td1-{n}", limit_price="1.50", qty="1"))
    paper.cancel(LARGE.number, paper.order_by_client_id(LARGE.number, "td1-2")["id"])
    paper.advance(paper.now + MINUTE)
    every = paper.orders(LARGE.number, "all")
    wanted = [each["client_order_id"] for each in every if each["status"] != "canceled"]
    assert wanted == ["td1-5", "td1-4", "td1-3", "td1-1", "td1-0"]
    for nested in (False, True):
        found = paper.orders(LARGE.number, "open", nested=nested)
        assert [each["client_order_id"] for each in found] == wanted
    paper.submit(LARGE.number, order("td1-6", limit_price="1.50", qty="1"))
    assert paper.orders(LARGE.number, "open")[0]["client_order_id"] == "td1-6"


def test_activities_begin_with_the_first_one_at_the_time_that_is_asked_for() -> None:
    paper = exchange()
    times = []
    for n in range(4):
        paper.submit(LARGE.number, order(f"td1-{n}", qty="1"))
        times.append(paper.now)
        paper.advance(paper.now + MINUTE)
    for n, moment in enumerate(times):
        assert len(paper.activities(LARGE.number, moment)) == 4 - n
        assert len(paper.activities(LARGE.number, moment + 1)) == 3 - n
