"""The comparison with the broker: what blocks, what is adjusted, when, and how it is resolved."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.streams.protocol import REQUESTS
from tests.support.account import Inbox, at, failed, gates_of


def compare(inbox: Inbox, activity: str | None = "act-1", **held: str) -> None:
    """A comparison that finds what ``inbox.broker_positions`` says."""
    inbox.broker_positions = [{"instrument": name, "qty": D(qty)} for name, qty in held.items()]
    inbox.put(
        "InboxBroker",
        positions=inbox.broker_positions,
        open_orders=inbox.broker_orders,
        last_activity=activity,
    )


def adjusted(inbox: Inbox) -> list[dict[str, Any]]:
    return [each for each in inbox.of("executions") if each["reason"] == "RECON_ADJUST"]


def command(inbox: Inbox, **fields: Any) -> None:
    plain = {"control_event_id": "c", "scope": "large", "state": "ACTIVE", "person": "ann", "reason": "x"}
    inbox.put("InboxControl", **(plain | fields))


def theirs(instrument: str, side: str) -> dict[str, str]:
    return {"client_order_id": f"theirs-{side}", "instrument": instrument, "side": side}


@pytest.mark.parametrize(("wait", "again", "adjusts"), [(29, "3", False), (30, "3", True), (30, "4", False)])
def test_a_difference_is_adjusted_after_the_grace_if_two_readings_agree(
    wait: int, again: str, adjusts: bool
) -> None:
    inbox = Inbox().start()
    compare(inbox, AMD="3")
    inbox.pass_time(wait)
    compare(inbox, AMD=again)
    assert bool(adjusted(inbox)) is adjusts
    inbox.signal("AMD")
    assert "NEEDS_RECONCILE" in failed(inbox.of("proposals")[-1]), "either way nothing opens in it"
    inbox.signal("CRM")
    assert failed(inbox.of("proposals")[-1]) == [], "other symbols trade"


def test_the_second_reading_is_asked_for_when_the_grace_is_over() -> None:
    inbox = Inbox().start()
    compare(inbox, AMD="3")
    asked = len(inbox.requests("FETCH_BROKER"))
    inbox.pass_time(29).put("InboxTick")
    assert len(inbox.requests("FETCH_BROKER")) == asked
    inbox.pass_time(1).put("InboxTick")
    assert len(inbox.requests("FETCH_BROKER")) == asked + 1 and len(adjusted(inbox)) == 1


@pytest.mark.parametrize("error", ["429", None])
@pytest.mark.parametrize("why", ["a difference", "a halt"])
def test_a_comparison_that_settles_nothing_is_not_asked_for_again_at_once(
    why: str, error: str | None
) -> None:
    """A broker that refuses does so in no time: a question for each answer would drown the account."""
    inbox = Inbox().start()
    held: list[dict[str, Any]] = []
    if why == "a difference":
        compare(inbox, AMD="3")
        held = [{"instrument": "AMD", "qty": D("3")}, {"instrument": "CRM", "qty": D("1")}]
    inbox.answers = False
    inbox.pass_time(30)
    inbox.put("InboxTick") if held else inbox.control("large", "HALTED")
    asked = inbox.requests("FETCH_BROKER")
    request_id = asked[-1]["request_id"]
    inbox.put("InboxBroker", request_id=request_id, positions=held, open_orders=["theirs"], error=error)
    for wait in (0, 1, 8):
        inbox.pass_time(wait).put("InboxTick")
        assert len(inbox.requests("FETCH_BROKER")) == len(asked)
    assert inbox.requests("WATCH")[-1]["every_s"] > 0, "ticks come"
    assert "FLAT" not in {each["halt_step"] for each in inbox.of("accounts")}, "nobody has said so"
    inbox.pass_time(1).put("InboxTick")
    settled = held and error is None  # AMD is adjusted, and the difference of CRM has its own grace
    assert len(inbox.requests("FETCH_BROKER")) == len(asked) + (not settled)


def test_a_difference_that_goes_away_by_itself_is_forgotten() -> None:
    inbox = Inbox().start()
    compare(inbox, AMD="3")
    inbox.pass_time(20)
    compare(inbox)
    inbox.pass_time(20)
    compare(inbox, AMD="3")
    assert not adjusted(inbox), "it is another one: its grace begins now"


def test_the_same_difference_after_the_same_activity_has_the_same_id() -> None:
    ids = set()
    for activity in ("act-1", "act-1", "act-2"):
        inbox = Inbox().start()
        compare(inbox, activity, AMD="3")
        inbox.pass_time(31)
        compare(inbox, activity, AMD="3")
        ids.add(adjusted(inbox)[0]["execution_id"])
    assert len(ids) == 2


def test_an_adjustment_has_no_price_and_no_pnl_until_a_person_gives_one() -> None:
    inbox = Inbox().start()
    for _ in range(2):
        compare(inbox, AMD="3")
        inbox.pass_time(31)
    (found,) = adjusted(inbox)
    position = inbox.of("positions")[-1]
    assert (found["price"], found["qty"], found["owner"]) == (None, 3, "EXTERNAL")
    assert position["needs_review"] and inbox.of("accounts")[-1]["session_pnl"] is None
    assert inbox.of("accounts")[-1]["warnings"] == ["NEEDS_REVIEW:AMD"]
    command(inbox, command="RESOLVE", target=found["execution_id"], price=D("99.00"))
    position, account = inbox.of("positions")[-1], inbox.of("accounts")[-1]
    assert (position["average_cost"], position["needs_review"], account["warnings"]) == (99, False, [])
    assert account["session_pnl"] == 3 * (D("100.00") - D("99.00"))
    command(inbox, command="RESOLVE", target=found["execution_id"], price=D("1"))
    assert [drop.reason for drop in inbox.drops] == ["NO_SUCH_TARGET"]


def test_a_review_without_a_price_frees_the_symbol_and_leaves_the_pnl_unknown() -> None:
    inbox = Inbox().start()
    for _ in range(2):
        compare(inbox, AMD="3")
        inbox.pass_time(31)
    command(inbox, command="RESOLVE", target=adjusted(inbox)[0]["execution_id"])
    assert inbox.of("accounts")[-1]["warnings"] == []
    inbox.signal("AMD")
    assert "NEEDS_RECONCILE" not in failed(inbox.of("proposals")[-1])
    assert "DAILY_PNL_UNKNOWN" in failed(inbox.of("proposals")[-1])


def adjusted_account(*, ours: bool, **account: Any) -> Inbox:
    """An account with an adjustment without a price: of what it holds itself to nothing, or in AMD."""
    inbox = Inbox(**account).start()
    inbox.execute(theirs("NVDA", "BUY"), "x1", "10", "100")
    held = {} if ours else {"NVDA": "10", "AMD": "3"}
    for _ in range(2):
        compare(inbox, **held)
        inbox.pass_time(31)
    assert len(adjusted(inbox)) == 1 and inbox.of("accounts")[-1]["session_pnl"] is None
    return inbox


@pytest.mark.parametrize(("ours", "symbol"), [(True, "NVDA"), (False, "AMD")])
def test_openings_wait_in_the_symbol_of_an_adjustment_and_in_no_other(ours: bool, symbol: str) -> None:
    inbox = adjusted_account(ours=ours)
    command(inbox, command="RESOLVE", target=adjusted(inbox)[0]["execution_id"])
    inbox.pass_time(15 * 60)
    for name in (symbol, "CRM"):
        inbox.signal(name, "BUY_PUT")
        found = failed(inbox.of("proposals")[-1])
        assert ("DAILY_PNL_UNKNOWN" in found) is (name == symbol), found
        assert "EXPOSURE_UNKNOWN" not in found and (found == []) is (name == "CRM")


def test_a_position_without_a_cost_counts_at_its_mark_and_without_a_mark_blocks_all() -> None:
    inbox = adjusted_account(ours=False, max_exposure=D(20_000))
    inbox.signal("CRM", "BUY_STOCK")
    gate = gates_of(inbox.of("proposals")[-1])["max_exposure"]
    new = inbox.of("proposals")[-1]["quantity"] * inbox.of("proposals")[-1]["worst_price"]
    assert D(gate["observed"]) == 10 * 100 + 3 * 100 + new, "13 shares at 100 are held"
    inbox.answers = False
    inbox.pass_time(61).signal("IBM", "BUY_STOCK")
    for request in inbox.requests("FETCH_QUOTE")[-3:]:
        inbox.quote(request, **({"bid": None} if request["instrument"] == "AMD" else {}))
    inbox.snapshot(inbox.requests("FETCH_ACCOUNT")[-1]["request_id"])
    assert "EXPOSURE_UNKNOWN" in failed(inbox.of("proposals")[-1])


@pytest.mark.parametrize(("price", "reducing"), [("50.00", True), ("51.00", False)])
def test_a_known_loss_counts_beside_an_unknown_result(price: str, reducing: bool) -> None:
    inbox = adjusted_account(ours=False)
    inbox.stock = (D(price), D(price))
    inbox.pass_time(10).put("InboxTick")
    assert (inbox.of("accounts")[-1]["kill_state"] == "REDUCING") is reducing, "-500 of what has a cost"


def test_the_sale_of_what_came_without_a_price_is_unknown_on_the_next_day_too() -> None:
    inbox = adjusted_account(ours=False)
    command(inbox, command="RESOLVE", target=adjusted(inbox)[0]["execution_id"])
    inbox.now = at("2026-02-18T11:00:00-05:00")
    inbox.put("InboxStream", healthy=True, detail="")
    inbox.signal("AMD", "BUY_PUT")
    assert "DAILY_PNL_UNKNOWN" not in failed(inbox.of("proposals")[-1]), "it is measured from last night"
    inbox.execute(theirs("AMD", "SELL"), "x2", "3", "90")
    inbox.pass_time(16 * 60)
    for name in ("AMD", "CRM"):
        inbox.signal(name, "BUY_PUT", signal_id=f"sg_after_{name}")
        assert ("DAILY_PNL_UNKNOWN" in failed(inbox.of("proposals")[-1])) is (name == "AMD")


@pytest.mark.parametrize("working", [True, False])
def test_nothing_is_adjusted_while_an_order_of_ours_works_in_it(working: bool) -> None:
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    order = inbox.of("orders")[-1]
    inbox.reply(order["client_order_id"], "ACCEPTED" if working else "REJECTED")
    inbox.broker_orders = [order["client_order_id"]] if working else []
    for _ in range(2):
        compare(inbox, AMD="3")
        inbox.pass_time(31)
    assert bool(adjusted(inbox)) is not working


def test_what_an_order_of_ours_has_filled_is_no_difference_until_its_execution_is_here() -> None:
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    order = inbox.of("orders")[-1]
    inbox.reply(order["client_order_id"], "FILLED", filled_qty=order["qty"])
    for _ in range(3):
        compare(inbox, AMD="249")
        inbox.pass_time(31)
    assert not adjusted(inbox), "it would be booked twice"
    inbox.execute(order, "x", "249", "100")
    assert inbox.of("positions")[-1]["qty"] == 249


def filled_and_never_listed() -> tuple[Inbox, dict[str, Any]]:
    """The broker says that our order is filled, each time it is asked, and lists no execution of it."""
    inbox = Inbox().start()
    inbox.signal("AMD", "BUY_STOCK")
    order = inbox.of("orders")[-1]
    inbox.reply(order["client_order_id"], "FILLED", filled_qty=order["qty"])
    return inbox, order


def waits(inbox: Inbox, order: dict[str, Any], seconds: int) -> None:
    """So much time passes, and what is asked about the order is answered."""
    for _ in range(seconds // 5):
        asked = inbox.pass_time(5).put("InboxTick")
        if any(out.topic == REQUESTS and out.body["kind"] == "FETCH_ORDER" for out in asked):
            inbox.reply(order["client_order_id"], "FILLED", filled_qty=order["qty"])


def test_executions_that_came_as_somebody_elses_are_not_waited_for_and_the_position_can_be_closed() -> None:
    inbox, order = filled_and_never_listed()
    inbox.execute(order | {"client_order_id": "theirs"}, "x", str(order["qty"]), "100")
    inbox.broker_positions = [{"instrument": "AMD", "qty": order["qty"]}]
    waits(inbox, order, 30)
    assert len(inbox.requests("FETCH_ORDER")) >= 5 and inbox.of("orders")[-1]["reason"] == "SENT"
    waits(inbox, order, 15)
    last, asked = inbox.of("orders")[-1], len(inbox.requests("FETCH_ORDER"))
    assert (last["state"], last["reason"]) == ("FILLED", "EXECUTIONS_NOT_LISTED")
    assert last["detail"] == "249 of 249 filled, and no execution of it is listed"
    position = inbox.of("positions")[-1]
    assert (position["qty"], position["owner"]) == (249, "EXTERNAL") and not adjusted(inbox)
    command(inbox, command="CLOSE_POSITION", target=position["position_id"])
    waits(inbox, order, 10)
    closing = inbox.requests("SUBMIT")[-1]
    assert (closing["side"], closing["qty"]) == ("SELL", 249), "nothing is bought once more"
    assert len(inbox.requests("SUBMIT")) == 2 and len(inbox.requests("FETCH_ORDER")) == asked


def test_while_a_closes_fill_and_the_brokers_quantity_are_late_nothing_is_sold_once_more() -> None:
    inbox, order = filled_and_never_listed()
    inbox.execute(order, "x", str(order["qty"]), "100")
    inbox.broker_positions = [{"instrument": "AMD", "qty": order["qty"]}]
    command(inbox, command="CLOSE_POSITION", target=inbox.of("positions")[-1]["position_id"])
    close = inbox.of("orders")[-1]
    assert close["purpose"] == "CLOSE" and len(inbox.requests("SUBMIT")) == 2
    inbox.reply(close["client_order_id"], "FILLED", filled_qty=close["qty"])
    waits(inbox, close, 300)
    assert len(inbox.requests("SUBMIT")) == 2, "the broker's list may be old"
    inbox.execute(close, "y", str(close["qty"]), "101")
    inbox.broker_positions = []
    waits(inbox, close, 30)
    assert inbox.of("positions")[-1]["state"] == "CLOSED" and len(inbox.requests("SUBMIT")) == 2
    assert "EXECUTIONS_NOT_LISTED" not in {each["reason"] for each in inbox.of("orders")}


def test_executions_that_are_never_listed_become_an_adjustment_after_a_full_period() -> None:
    inbox, order = filled_and_never_listed()
    inbox.broker_positions = [{"instrument": "AMD", "qty": order["qty"]}]
    compare(inbox, AMD="249")
    waits(inbox, order, 295)
    assert not adjusted(inbox), "the broker may list it late"
    waits(inbox, order, 45)
    assert [each["qty"] for each in adjusted(inbox)] == [249]
    assert inbox.of("positions")[-1]["needs_review"] and len(inbox.requests("SUBMIT")) == 1
    assert [each["reason"] for each in inbox.of("orders")].count("EXECUTIONS_NOT_LISTED") == 1


@pytest.mark.parametrize(("side", "reason"), [("SELL", "BROKER_LIQUIDATION"), ("BUY", None)])
def test_an_execution_of_nobodys_order_that_reduces_is_the_brokers(side: str, reason: str | None) -> None:
    inbox = Inbox().start()
    inbox.execute(theirs("AMD", "BUY"), "x1", "10", "100")
    inbox.execute(theirs("AMD", side), "x2", "4", "100")
    assert [each["reason"] for each in inbox.of("executions")] == [None, reason]
    assert inbox.of("positions")[-1]["qty"] == (6 if side == "SELL" else 14)


@pytest.mark.parametrize(
    ("qty", "changes", "short"),
    [("10", {}, False), ("11", {}, True), ("11", {"allow_shorting": True}, False)],
)
def test_a_short_that_is_not_allowed_is_an_alarm(qty: str, changes: dict[str, Any], short: bool) -> None:
    inbox = Inbox(**changes).start()
    inbox.execute(theirs("AMD", "BUY"), "x1", "10", "100")
    inbox.execute(theirs("AMD", "SELL"), "x2", qty, "100")
    account = inbox.of("accounts")[-1]
    assert (account["alarm"] == "UNEXPECTED_SHORT") is (account["kill_state"] == "REDUCING") is short


def test_a_known_position_at_zero_is_a_signal_and_an_unknown_one_is_noise() -> None:
    inbox = Inbox().start()
    inbox.execute(theirs("AMD", "BUY"), "x1", "10", "100")
    for _ in range(2):
        compare(inbox, IBM="0")
        inbox.pass_time(31)
    assert [each["instrument"] for each in adjusted(inbox)] == ["AMD"]
    assert inbox.of("positions")[-1]["state"] == "CLOSED"
