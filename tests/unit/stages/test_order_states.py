"""Every state of an order and of doubt: how it comes about, and that an ordinary order does not see it."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.streams.stages.account.rules.orders import OrderState
from tests.support.account import Inbox, failed

Script = Callable[[Inbox, dict[str, Any]], object]


def coid(order: dict[str, Any]) -> str:
    return str(order["client_order_id"])


def answer(state: str, **changes: Any) -> Script:
    return lambda inbox, order: inbox.reply(coid(order), state, **changes)


def cancel_asked(inbox: Inbox, order: dict[str, Any]) -> None:
    inbox.reply(coid(order), "ACCEPTED")
    inbox.pass_time(5).put("InboxTick")


def never_arrived(inbox: Inbox, order: dict[str, Any]) -> None:
    inbox.doubt(coid(order))
    for _ in range(4):
        inbox.missing(coid(order))


INTO: dict[str, Script] = {
    "INTENT": lambda inbox, order: None,
    "SUBMITTED": answer("SUBMITTED"),
    "ACCEPTED": answer("ACCEPTED"),
    "PARTIAL": answer("PARTIAL", filled_qty=D(1), filled_avg_price=D("2.01")),
    "CANCEL_PENDING": cancel_asked,
    "UNKNOWN": lambda inbox, order: inbox.doubt(coid(order)),
    "UNRECOGNISED": answer("UNRECOGNISED", raw_status="pondering"),
    "FILLED": lambda inbox, order: inbox.fill(order),
    "CANCELED": answer("CANCELED"),
    "EXPIRED": answer("EXPIRED"),
    "REJECTED": answer("REJECTED", error="no"),
    "DONE_FOR_DAY": answer("DONE_FOR_DAY"),
    "REPLACED": answer("REPLACED"),
    "NOT_SENT": never_arrived,
}
ORDINARY = {"INTENT", "SUBMITTED", "ACCEPTED", "FILLED"}


def states(inbox: Inbox, order: dict[str, Any]) -> list[str]:
    return [each["state"] for each in inbox.of("orders") if coid(each) == coid(order)]


def opening(**account: Any) -> tuple[Inbox, dict[str, Any]]:
    inbox = Inbox(**account).start()
    inbox.signal()
    return inbox, inbox.of("orders")[0]


def test_every_state_has_its_script() -> None:
    assert set(INTO) == {state.value for state in OrderState}


@pytest.mark.parametrize("state", INTO)
def test_an_order_gets_into_each_state(state: str) -> None:
    inbox, order = opening()
    INTO[state](inbox, order)
    assert states(inbox, order)[-1] == state


@pytest.mark.parametrize("state", sorted(INTO.keys() - ORDINARY))
def test_an_order_that_is_taken_and_filled_sees_none_of_the_others(state: str) -> None:
    inbox, order = opening()
    for each in ("SUBMITTED", "ACCEPTED", "FILLED"):
        INTO[each](inbox, order)
    assert state not in states(inbox, order) and set(states(inbox, order)) == ORDINARY


def test_doubt_is_asked_about_at_1_4_10_and_30_seconds() -> None:
    inbox, order = opening()
    inbox.doubt(coid(order))
    begun, asked = inbox.now, []
    for number in range(4):
        request = inbox.requests("FETCH_ORDER")[number]
        inbox.pass_time(request["after_s"])
        asked.append((inbox.now - begun) // 1_000_000)
        assert states(inbox, order)[-1] == "UNKNOWN"
        inbox.missing(coid(order))
    assert asked == [1, 4, 10, 30]
    assert states(inbox, order)[-1] == "NOT_SENT" and len(inbox.requests("FETCH_ORDER")) == 4


def test_three_times_not_found_and_a_last_answer_is_no_not_sent() -> None:
    inbox, order = opening()
    inbox.doubt(coid(order))
    for _ in range(3):
        inbox.missing(coid(order))
    inbox.reply(coid(order), "ACCEPTED")
    inbox.fill(order)
    assert "NOT_SENT" not in states(inbox, order) and inbox.of("positions")[-1]["qty"] == order["qty"]


@pytest.mark.parametrize(("seconds", "warned"), [(60, False), (61, True)])
def test_an_order_that_is_unknown_for_over_a_minute_is_warned_of(seconds: int, warned: bool) -> None:
    inbox, order = opening()
    inbox.doubt(coid(order))
    inbox.pass_time(seconds).put("InboxTick")
    assert (inbox.of("accounts")[-1]["warnings"] == [f"ORDER_UNKNOWN:{coid(order)}"]) is warned
    inbox.reply(coid(order), "ACCEPTED")
    assert not inbox.of("accounts")[-1]["warnings"]


def test_what_is_filled_in_doubt_does_not_put_its_alarm_off() -> None:
    inbox, order = opening()
    cancel_asked(inbox, order)
    inbox.pass_time(31).put("InboxTick")
    inbox.pass_time(40).reply(coid(order), "CANCEL_PENDING", filled_qty=D(1))
    assert states(inbox, order)[-2:] == ["UNKNOWN", "UNKNOWN"]
    inbox.pass_time(21).put("InboxTick")
    assert inbox.of("accounts")[-1]["warnings"] == [f"ORDER_UNKNOWN:{coid(order)}"]


def test_a_cancel_that_hangs_keeps_the_order_in_doubt_and_its_end_resolves_it() -> None:
    inbox, order = opening()
    cancel_asked(inbox, order)
    inbox.pass_time(31).put("InboxTick")
    assert states(inbox, order)[-1] == "UNKNOWN"
    for _ in range(3):
        asked = len(inbox.requests("FETCH_ORDER"))
        inbox.pass_time(21).reply(coid(order), "CANCEL_PENDING")
        assert states(inbox, order)[-1] == "UNKNOWN" and len(inbox.requests("FETCH_ORDER")) == asked + 1
    assert inbox.of("accounts")[-1]["warnings"] == [f"ORDER_UNKNOWN:{coid(order)}"]
    inbox.signal("AMD")
    assert failed(inbox.of("proposals")[-1]) == ["ORDER_STATE_UNKNOWN"]
    inbox.reply(coid(order), "CANCELED")
    assert states(inbox, order)[-1] == "CANCELED" and not inbox.of("accounts")[-1]["warnings"]
    assert len(inbox.requests("SUBMIT")) == 2, "the next step goes out only now"


def test_what_the_stream_calls_replaced_is_asked_about_and_is_over_only_if_nothing_followed() -> None:
    inbox, order = opening()
    inbox.reply(coid(order), "ACCEPTED")
    inbox.reply(coid(order), "REPLACED", source="STREAM")
    assert states(inbox, order)[-1] == "ACCEPTED" and len(inbox.requests("FETCH_ORDER")) == 1
    inbox.reply(coid(order), "ACCEPTED", broker_order_id="b-new")
    inbox.pass_time(5).put("InboxTick")
    assert inbox.requests("CANCEL")[-1]["broker_order_id"] == "b-new", "what replaced it is canceled"

    inbox, order = opening()
    inbox.reply(coid(order), "REPLACED")
    assert states(inbox, order)[-1] == "REPLACED" and not inbox.requests("FETCH_ORDER")


@pytest.mark.parametrize("state", ["ACTIVE", "REDUCING"])
def test_a_shadow_reserves_and_never_sends(state: str) -> None:
    inbox, _ = opening(mode="SHADOW")
    inbox.control("large", state)
    for _ in range(30):
        inbox.pass_time(10).put("InboxTick")
    for kind in ("SUBMIT", "CANCEL", "CLEAR"):
        assert not inbox.requests(kind)
    assert [each["state"] for each in inbox.of("orders")] == ["INTENT", "NOT_SENT"]
    inbox.signal("NVDA", signal_id="sg_again")
    reserved = "DUPLICATE_POSITION" in failed(inbox.of("proposals")[-1])
    assert reserved is (state == "ACTIVE"), "until the session ends, or the account only reduces"
