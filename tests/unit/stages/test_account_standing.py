"""How an account stands: identity, kill switch, the steps of a halt, warnings; each fires and does not."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.streams.stages.account.state import unpack
from tests.support.account import URL, Inbox, at, failed

DAY_US = 86_400_000_000


def bought(inbox: Inbox, symbol: str = "NVDA", action: str = "BUY_STOCK") -> dict[str, Any]:
    inbox.signal(symbol, action)
    order = inbox.of("orders")[-1]
    inbox.fill(order)
    return order


def newest(inbox: Inbox) -> dict[str, Any]:
    return inbox.of("orders")[-1]


def warnings(inbox: Inbox) -> list[str]:
    found: list[str] = inbox.of("accounts")[-1]["warnings"]
    return found


def steps(inbox: Inbox) -> list[str | None]:
    """The steps of the halt as they were published, each once."""
    told = [each["halt_step"] for each in inbox.of("accounts")]
    return [step for n, step in enumerate(told) if n == 0 or told[n - 1] != step]


def tick(inbox: Inbox, seconds: float = 1) -> Inbox:
    inbox.pass_time(seconds).put("InboxTick")
    return inbox


@pytest.mark.parametrize(
    ("reading", "identity"),
    [
        ({}, "VERIFIED"),
        ({"broker_account_id": "PA9"}, "ACCOUNT_MISMATCH"),
        ({"status": "ACCOUNT_CLOSED"}, "ACCOUNT_MISMATCH"),
        ({"status": None}, "ACCOUNT_UNVERIFIED"),
    ],
)
def test_closes_go_out_with_the_right_account_and_with_no_other(
    reading: dict[str, Any], identity: str
) -> None:
    inbox = Inbox().start()
    bought(inbox)
    good = {"request_id": "", "broker_account_id": inbox.number, "status": "ACTIVE", "equity": D(1)}
    inbox.put("InboxAccount", base_url="http://127.0.0.1:8100", **(good | reading))
    assert inbox.of("accounts")[-1]["identity"] == identity
    inbox.answers = identity == "VERIFIED"
    inbox.control("large", "HALTED")
    tick(inbox)
    closes = [each for each in inbox.of("orders") if each["purpose"] == "CLOSE"]
    assert bool(closes) is (identity == "VERIFIED")
    assert inbox.of("positions")[-1]["state"] == "CLOSING", "it is wanted, whatever can be sent"


def test_questions_of_a_start_that_failed_are_asked_again_by_the_next_tick() -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.control("large", "HALTED")
    inbox.answers = False
    inbox.put("InboxStarted", lease_epoch=2)
    why = "the broker takes no calls of this account for now"
    ids = {kind: inbox.requests(kind)[-1]["request_id"] for kind in ("FETCH_ACCOUNT", "FETCH_BROKER")}
    inbox.put("InboxAccount", request_id=ids["FETCH_ACCOUNT"], base_url=URL, error=why)
    inbox.put("InboxBroker", request_id=ids["FETCH_BROKER"], positions=[], open_orders=[], error=why)
    asked = {kind: len(inbox.requests(kind)) for kind in ("FETCH_ACCOUNT", "FETCH_BROKER")}
    tick(inbox)
    again = {kind: len(inbox.requests(kind)) for kind in asked}
    assert again == {kind: n + 1 for kind, n in asked.items()}
    tick(inbox)
    assert {kind: len(inbox.requests(kind)) for kind in asked} == again, "the answer is waited for"
    inbox.answers = True
    for kind in asked:
        inbox.answer(inbox.requests(kind)[-1])
    tick(tick(inbox))
    assert {kind: len(inbox.requests(kind)) for kind in asked} == again, "nothing is left to ask"


def test_a_halt_cancels_then_flattens_then_verifies_and_is_flat() -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.signal("AMD")
    opening = newest(inbox)
    inbox.reply(opening["client_order_id"], "ACCEPTED")
    inbox.control("large", "HALTED")
    assert steps(inbox) == [None, "CANCELLING"]
    assert inbox.requests("CANCEL")[-1]["client_order_id"] == opening["client_order_id"]
    inbox.reply(opening["client_order_id"], "CANCELED")
    assert steps(inbox)[-1] == "FLATTENING"
    close = next(each for each in inbox.of("orders") if each["purpose"] == "CLOSE")
    assert close["exit_reason"] == "KILL_SWITCH_FLATTEN"
    inbox.answers = False
    inbox.fill(close)
    assert steps(inbox)[-1] == "VERIFYING", "the broker is asked"
    inbox.answers = True
    inbox.answer(inbox.requests("FETCH_BROKER")[-1])
    assert steps(inbox) == [None, "CANCELLING", "FLATTENING", "VERIFYING", "FLAT"]
    inbox.control("large", "ACTIVE")
    assert steps(inbox)[-1] is None and inbox.of("accounts")[-1]["kill_state"] == "ACTIVE"


def test_a_halt_is_not_flat_while_the_broker_holds_something() -> None:
    inbox = Inbox().start()
    inbox.broker_positions = [{"instrument": "ORCL", "qty": D(3)}]
    inbox.control("large", "HALTED")
    tick(inbox)
    assert "FLAT" not in steps(inbox) and steps(inbox)[-1] == "VERIFYING"


def test_with_nothing_open_a_halt_skips_what_there_is_not_to_do() -> None:
    inbox = Inbox().start()
    inbox.control("large", "HALTED")
    assert steps(inbox) == [None, "VERIFYING", "FLAT"]


def test_reducing_cancels_openings_and_closes_nothing() -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.signal("AMD")
    inbox.reply(newest(inbox)["client_order_id"], "ACCEPTED")
    inbox.control("large", "REDUCING")
    assert newest(inbox)["reason"] == "CANCELLED_BY_KILL"
    tick(inbox, 5)
    assert steps(inbox) == [None] and not inbox.of("exits")
    assert not [each for each in inbox.of("orders") if each["purpose"] == "CLOSE"]


def test_a_halt_in_the_night_closes_with_the_next_open() -> None:
    inbox = Inbox().start()
    bought(inbox, action="BUY_CALL")
    inbox.signal("AMD", "BUY_CALL", strategy="swing_trade")
    inbox.fill(newest(inbox))
    inbox.now = at("2026-02-17T20:00:00-05:00")
    inbox.control("large", "HALTED")
    tick(inbox, 60)
    assert not [each for each in inbox.of("orders") if each["purpose"] == "CLOSE"]
    inbox.now = at("2026-02-18T09:29:59-05:00")
    tick(inbox, 0)
    assert len(inbox.requests("SUBMIT")) == 2
    tick(inbox)
    closes = [each["exit_reason"] for each in inbox.of("orders") if each["purpose"] == "CLOSE"]
    assert "KILL_SWITCH_FLATTEN" in closes


@pytest.mark.parametrize(("price", "reached"), [("98.00", False), ("97.98", True)])
def test_the_daily_loss_lets_the_account_only_reduce_until_the_next_session(
    price: str, reached: bool
) -> None:
    inbox = Inbox().start()  # the loss that is too much: 500 USD, here of 249 shares at 100.00
    bought(inbox)
    inbox.stock = (D(price) - D("0.01"), D(price) + D("0.01"))
    tick(inbox, 10)
    state = inbox.of("accounts")[-1]["kill_state"]
    assert state == ("REDUCING" if reached else "ACTIVE")
    inbox.now += DAY_US
    inbox.stock = (D("99.99"), D("100.01"))
    tick(inbox)
    inbox.signal("AMD")
    assert "KILL_SWITCH_REDUCING" not in failed(inbox.of("proposals")[-1])


@pytest.mark.parametrize("attempts", [9, 10])
def test_a_close_that_was_tried_ten_times_is_stuck_and_goes_on_once_a_minute(attempts: int) -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.stock = (D("97.90"), D("97.94"))
    tick(inbox, 10)
    for _ in range(attempts - 1):
        inbox.reply(newest(inbox)["client_order_id"], "REJECTED", error="no")
        tick(inbox, 5)
    position = inbox.of("positions")[-1]["position_id"]
    sent = len(inbox.requests("SUBMIT")) - 1
    assert sent == attempts
    assert warnings(inbox) == ([f"CLOSE_STUCK:{position}"] if attempts == 10 else [])
    inbox.reply(newest(inbox)["client_order_id"], "REJECTED", error="no")
    tick(inbox, 59)
    assert (len(inbox.requests("SUBMIT")) - 1 > sent) is (attempts == 9)
    tick(inbox, 1)
    assert len(inbox.requests("SUBMIT")) - 1 > sent


def test_an_unfilled_close_stays_closing_for_two_hours() -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.stock = (D("97.90"), D("97.94"))
    tick(inbox, 10)
    for _ in range(120):
        if newest(inbox)["state"] == "INTENT":
            inbox.reply(newest(inbox)["client_order_id"], "ACCEPTED")
        tick(inbox, 60)
        if newest(inbox)["state"] == "CANCEL_PENDING":
            inbox.reply(newest(inbox)["client_order_id"], "CANCELED")
    assert {each["state"] for each in inbox.of("positions")[1:]} == {"CLOSING"}
    assert inbox.of("positions")[-1]["qty"] == 249, "no clock closes a position"
    assert warnings(inbox)[0].startswith("CLOSE_STUCK:")
    inbox.reply(newest(inbox)["client_order_id"], "ACCEPTED")
    inbox.fill(next(each for each in reversed(inbox.of("orders")) if each["state"] == "INTENT"))
    assert inbox.of("positions")[-1]["state"] == "CLOSED" and not warnings(inbox)


@pytest.mark.parametrize(("qty", "dust"), [("0.5", True), ("1.5", False)])
def test_what_is_too_small_to_be_sold_is_called_dust(qty: str, dust: bool) -> None:
    inbox = Inbox().start()
    inbox.execute({"client_order_id": "theirs", "instrument": "IBM", "side": "BUY"}, "x", qty, "100")
    assert warnings(inbox) == (["DUST:IBM"] if dust else [])


@pytest.mark.parametrize("quoted", [True, False])
def test_a_position_without_a_mark_is_warned_of_and_its_time_rules_run(quoted: bool) -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.answers = quoted
    inbox.now = at("2026-02-17T15:55:00-05:00")
    tick(inbox, 0)
    if not quoted:
        for _ in range(2):  # that of the mark, then that of the close
            inbox.quote(inbox.requests("FETCH_QUOTE")[-1], bid=None, ask=None)
    assert warnings(inbox) == ([] if quoted else ["MARK_MISSING:NVDA"])
    assert [each["chosen"] for each in inbox.of("exits")] == ["DAY_TRADE_CLOSE"]
    assert (inbox.of("exits")[0]["pnl"] is None) is not quoted


def test_a_broker_without_a_quote_is_not_asked_again_at_once() -> None:
    inbox = Inbox().start()
    bought(inbox)
    inbox.answers = False

    def asked(seconds: float) -> int:
        """How often it was asked so many seconds later; each time there is no quote."""
        before = len(inbox.requests("FETCH_QUOTE"))
        tick(inbox, seconds)
        for _ in range(3):
            if len(inbox.requests("FETCH_QUOTE")) > before:
                inbox.quote(inbox.requests("FETCH_QUOTE")[-1], quote_time=inbox.now - 600 * 1_000_000)
        return len(inbox.requests("FETCH_QUOTE")) - before

    assert asked(61) == 1
    inbox.put("InboxStream", healthy=True, detail="")  # any record: only a tick asks within ten seconds
    assert [asked(2.5), asked(2.5)] == [0, 1]
    inbox.pass_time(10).put("InboxStream", healthy=True, detail="")
    assert inbox.requests("FETCH_QUOTE")[-1]["instrument"] == "NVDA"
    inbox.quote(inbox.requests("FETCH_QUOTE")[-1])
    assert inbox.state is not None and not unpack(inbox.state).unquoted


def test_the_peak_and_the_worst_are_in_the_bytes_of_the_state() -> None:
    inbox = Inbox().start()
    bought(inbox)
    for mark in ("101.00", "99.00"):
        inbox.stock = (D(mark), D(mark))
        tick(inbox, 10)
    assert inbox.state is not None
    (watch,) = unpack(inbox.state).books["NVDA"].watches.values()
    assert (watch.peak, watch.worst) == (D("0.01"), D("-0.01"))


@pytest.mark.parametrize(("ahead", "kept"), [(60, True), (61, False)])
def test_a_record_of_a_later_time_than_now_changes_nothing(ahead: int, kept: bool) -> None:
    inbox = Inbox().start()
    bar_t = inbox.now + (ahead - 60) * 1_000_000
    inbox.put("InboxBar", bar_event_id="b", symbol="NVDA", bar_t=bar_t, revision=0, close=100.0)
    inbox.halt("AMD", since=inbox.now + ahead * 1_000_000)
    buy = {"client_order_id": "theirs", "instrument": "IBM", "side": "BUY"}
    inbox.execute(buy, "x", "1", "100", executed_at=inbox.now + (ahead - 60 + 3 * 86_400) * 1_000_000)
    assert [drop.reason for drop in inbox.drops] == ([] if kept else ["FROM_THE_FUTURE"] * 3)
    assert inbox.state is not None
    state = unpack(inbox.state)
    assert bool(state.bars) is bool(state.halts) is bool(state.books) is kept
