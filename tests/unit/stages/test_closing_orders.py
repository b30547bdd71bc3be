"""How closes and openings get in each other's way, and when a price does not matter any more."""

from decimal import Decimal as D
from typing import Any

import pytest

from tests.support.account import Inbox, at

EXPIRING, TOMORROW = "NVDA260217C00150000", "NVDA260218C00150000"


def theirs(instrument: str) -> dict[str, str]:
    return {"client_order_id": "theirs", "instrument": instrument, "side": "BUY"}


def newest(inbox: Inbox) -> dict[str, Any]:
    return inbox.of("orders")[-1]


def closes(inbox: Inbox) -> list[dict[str, Any]]:
    return [each for each in inbox.of("orders") if each["purpose"] == "CLOSE" and each["state"] == "INTENT"]


def walk(inbox: Inbox, steps: int) -> list[D | None]:
    """The limits of so many orders, each of which works its time and is canceled."""
    limits = []
    for _ in range(steps):
        order = closes(inbox)[-1]
        limits.append(order["limit_price"])
        inbox.reply(order["client_order_id"], "ACCEPTED")
        inbox.pass_time(30).put("InboxTick")
        inbox.reply(order["client_order_id"], "CANCELED")
    return limits


def held(instrument: str, when: str) -> Inbox:
    inbox = Inbox(now=at(f"2026-02-17T{when}-05:00")).start()
    inbox.execute(theirs(instrument), "x", "2", "2.00")
    return inbox


def expiry(inbox: Inbox) -> None:
    inbox.now = at("2026-02-17T15:00:00-05:00")
    inbox.put("InboxTick")


def halt(inbox: Inbox) -> None:
    inbox.control("large", "HALTED")


def command(inbox: Inbox) -> None:
    position = inbox.of("positions")[-1]["position_id"]
    inbox.put(
        "InboxControl", control_event_id="c", scope="large", state="ACTIVE", person="ann", reason="x",
        command="CLOSE_POSITION", target=position,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("instrument", "cause", "rule", "market"),
    [
        (EXPIRING, expiry, "EXPIRY_CLOSE", True),
        (TOMORROW, halt, "KILL_SWITCH_FLATTEN", True),
        (TOMORROW, command, "MANUAL_CLOSE", False),
    ],
)
def test_only_what_must_be_gone_goes_to_market_after_its_last_step(
    instrument: str, cause: Any, rule: str, market: bool
) -> None:
    inbox = held(instrument, "14:59:00")
    cause(inbox)
    assert closes(inbox)[0]["exit_reason"] == rule
    limits = walk(inbox, 4)
    assert limits[:3] == [D("1.99"), D("1.98"), D("1.98")]
    assert limits[3] is None if market else limits[3] == D("1.98")


def test_a_more_urgent_rule_takes_a_working_close_over() -> None:
    inbox = held(EXPIRING, "14:58:00")
    command(inbox)
    walk(inbox, 2)
    expiry(inbox)
    assert {each["chosen"] for each in inbox.of("exits")} == {"MANUAL_CLOSE"}, "a person's word comes first"
    halt(inbox)
    assert inbox.of("exits")[-1]["chosen"] == "KILL_SWITCH_FLATTEN"
    assert walk(inbox, 2)[-1] is None
    assert [each["attempt"] for each in closes(inbox)] == [0, 1, 2, 3, 4], "of one close"


def test_an_opposite_order_is_canceled_and_over_before_a_close_goes_out() -> None:
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    opening = newest(inbox)
    name = opening["client_order_id"]
    inbox.reply(name, "PARTIAL", filled_qty=D(5), filled_avg_price=D(100))
    inbox.execute(opening, "x1", "5", "100")
    command(inbox)
    assert inbox.requests("CANCEL")[-1]["client_order_id"] == name
    assert newest(inbox)["reason"] == "CANCELLED_FOR_CLOSE" and not closes(inbox)
    inbox.pass_time(10).put("InboxTick")
    assert not closes(inbox), "its end is not known yet"
    inbox.reply(name, "CANCELED", filled_qty=D(6), filled_avg_price=D(100))
    assert not closes(inbox), "nor what it executed"
    inbox.execute(opening, "x2", "1", "100")
    inbox.pass_time(1).put("InboxTick")
    (close,) = closes(inbox)
    assert close["qty"] == 6, "all that came in meanwhile"


def test_a_close_cancels_no_opening_in_another_instrument() -> None:
    inbox = Inbox().start()
    inbox.execute(theirs("AMD"), "x", "5", "100")
    inbox.signal("NVDA")
    inbox.reply(newest(inbox)["client_order_id"], "ACCEPTED")
    command(inbox)
    assert not inbox.requests("CANCEL") and len(closes(inbox)) == 1


@pytest.mark.parametrize(("seconds", "state"), [(60, "waits"), (61, "ends")])
def test_no_further_opening_goes_out_while_the_stream_is_deaf(seconds: int, state: str) -> None:
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    name = newest(inbox)["client_order_id"]
    inbox.reply(name, "ACCEPTED")
    inbox.put("InboxStream", healthy=False, detail="cut")
    inbox.pass_time(5).put("InboxTick")
    inbox.reply(name, "CANCELED")
    inbox.pass_time(seconds).put("InboxTick")
    assert len(inbox.requests("SUBMIT")) == 1
    assert (newest(inbox)["reason"] == "CANCELLED_STREAM_DOWN") is (state == "ends")
    inbox.put("InboxStream", healthy=True, detail="again")
    assert len(inbox.requests("SUBMIT")) == (2 if state == "waits" else 1)


def test_a_close_goes_on_while_the_stream_is_deaf() -> None:
    inbox = Inbox().start()
    inbox.execute(theirs("AMD"), "x", "5", "100")
    inbox.put("InboxStream", healthy=False, detail="cut")
    command(inbox)
    assert walk(inbox, 3) and len(closes(inbox)) == 4


@pytest.mark.parametrize(("age", "goes_on"), [(15, True), (16, False)])
def test_an_opening_ends_where_its_new_quote_is_old(age: int, goes_on: bool) -> None:
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    name = newest(inbox)["client_order_id"]
    inbox.reply(name, "ACCEPTED")
    inbox.answers = False
    inbox.pass_time(5).put("InboxTick")
    inbox.reply(name, "CANCELED")
    inbox.quote(inbox.requests("FETCH_QUOTE")[-1], quote_time=inbox.now - age * 1_000_000)
    assert (len(inbox.requests("SUBMIT")) == 2) is goes_on
    assert (newest(inbox)["reason"] == "CANCELLED_STALE_QUOTE") is not goes_on


def test_a_close_after_the_close_waits_for_the_next_open() -> None:
    inbox = held(TOMORROW, "14:00:00")
    inbox.now = at("2026-02-17T16:30:00-05:00")
    command(inbox)
    assert inbox.of("positions")[-1]["state"] == "CLOSING" and not closes(inbox)
    inbox.now = at("2026-02-18T09:29:59-05:00")
    inbox.put("InboxTick")
    assert not closes(inbox)
    inbox.pass_time(1).put("InboxTick")
    assert len(closes(inbox)) == 1


@pytest.mark.parametrize("ours", [True, False])
def test_a_close_that_somebody_else_canceled_waits_before_it_is_sent_again(ours: bool) -> None:
    inbox = Inbox().start()
    inbox.execute(theirs("AMD"), "x", "5", "100")
    command(inbox)
    name = closes(inbox)[0]["client_order_id"]
    inbox.reply(name, "ACCEPTED")
    if ours:
        inbox.pass_time(5).put("InboxTick")
    inbox.reply(name, "CANCELED")
    assert len(closes(inbox)) == (2 if ours else 1)
    inbox.pass_time(5).put("InboxTick")
    assert len(closes(inbox)) == 2
