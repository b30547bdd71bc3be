"""The account stage, from inbox records to orders and positions: what a day can bring."""

from decimal import Decimal

import pytest

from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.protocol import REQUESTS
from tapedeck.streams.stages.account.rules.orders import client_order_id
from tests.support.account import ELEVEN, SECOND, Inbox, failed, gates_of

D = Decimal


def states(inbox: Inbox) -> list[str]:
    return [order["state"] for order in inbox.of("orders")]


def verdicts(inbox: Inbox) -> list[tuple[str, str]]:
    return [(p["verdict"], p["primary_reason"]) for p in inbox.of("proposals")]


def test_an_option_signal_becomes_a_filled_position() -> None:
    inbox = Inbox().start()
    inbox.signal()
    proposal, order = inbox.of("proposals")[0], inbox.of("orders")[0]
    assert (proposal["verdict"], proposal["primary_reason"]) == ("APPROVED", "OK")
    assert len(proposal["gates"]) == 24
    # 1 % of 100,000 at the worst price 2.02 of the ladder 2.01, 2.01, 2.02
    assert (proposal["quantity"], proposal["limit_price"], proposal["worst_price"]) == (
        4,
        D("2.01"),
        D("2.02"),
    )
    assert order["client_order_id"] == client_order_id("large", proposal["signal_id"], order["purpose"], 0)
    assert order["intent"] == "BUY_TO_OPEN"
    (submit,) = inbox.requests("SUBMIT")
    assert (submit["client_order_id"], submit["qty"]) == (order["client_order_id"], 4)

    inbox.pass_time(1).reply(order["client_order_id"], "ACCEPTED")
    inbox.pass_time(1).fill(order)
    assert states(inbox) == ["INTENT", "ACCEPTED", "FILLED"]
    assert [o["seq"] for o in inbox.of("orders")] == [0, 1, 2]
    (execution,), (position,) = inbox.of("executions"), inbox.of("positions")
    assert (execution["owner"], execution["multiplier"]) == ("TAPEDECK", 100)
    assert (position["qty"], position["average_cost"], position["state"]) == (4, D("2.01"), "OPEN")
    assert (position["kind"], position["strategy"]) == ("CALL", "day_trade")
    assert not inbox.drops


@pytest.mark.parametrize("strategy, quantity", [("breakout", 4), ("breakout_swing_trade", 9)])
def test_a_strategy_of_a_users_own_is_sized_as_the_kind_of_trade_that_its_name_says(
    strategy: str, quantity: int
) -> None:
    inbox = Inbox(risk_day=D("0.01"), risk_swing=D("0.02")).start()
    inbox.signal(strategy=strategy)
    proposal, order = inbox.of("proposals")[0], inbox.of("orders")[0]
    assert (proposal["verdict"], proposal["strategy"], proposal["quantity"]) == (
        "APPROVED", strategy, quantity,
    )  # fmt: skip
    inbox.fill(order)
    assert inbox.of("positions")[-1]["strategy"] == strategy


def test_a_strategy_whose_name_is_no_plain_word_is_a_dead_letter() -> None:
    with pytest.raises(DeadLetter, match="the signal's strategy is not usable"):
        Inbox().start().signal(strategy="Buy the dip!")


def test_intent_is_in_the_outputs_before_the_request_to_send() -> None:
    inbox = Inbox().start()
    inbox.signal()
    kinds = [out.topic if out.topic != REQUESTS else out.body["kind"] for out in inbox.outs]
    assert kinds.index("proposals") < kinds.index("orders") < kinds.index("SUBMIT")


def test_a_stock_signal_is_sized_at_a_quarter_of_equity_and_filled() -> None:
    inbox = Inbox().start()
    inbox.signal(action="BUY_STOCK")
    proposal = inbox.of("proposals")[0]
    assert (proposal["verdict"], proposal["quantity"]) == ("APPROVED", 249)  # 25,000 / 100.01
    assert proposal["sizing_reason"] == "SIZE_CAPPED_POSITION_PCT"
    assert gates_of(proposal)["contract_quality"]["reason"] == "NOT_APPLICABLE"
    inbox.fill(inbox.of("orders")[0])
    assert (inbox.of("positions")[0]["kind"], inbox.of("positions")[0]["qty"]) == ("STOCK", 249)


def test_a_burst_of_twenty_signals_never_passes_five_positions() -> None:
    inbox = Inbox(answers=False).start()
    for request in [*inbox.requests("FETCH_ACCOUNT"), *inbox.requests("FETCH_BROKER")]:
        inbox.answer(request)
    for number in range(20):
        inbox.pass_time(0.05).signal(f"S{chr(65 + number)}", signal_id=f"sg_{number}")
    assert not inbox.of("proposals")
    requests = inbox.requests("FETCH_QUOTE") + inbox.requests("FETCH_CHAIN")
    for request in reversed(requests):  # answers come in any order, decisions in the inbox's
        inbox.answer(request)
    assert [p["signal_id"] for p in inbox.of("proposals")] == [f"sg_{number}" for number in range(20)]
    assert [v for v, _ in verdicts(inbox)] == ["APPROVED"] * 5 + ["REFUSED"] * 15
    assert {reason for verdict, reason in verdicts(inbox) if verdict == "REFUSED"} == {"MAX_POSITIONS"}
    assert len(inbox.requests("SUBMIT")) == 5


def test_a_redelivered_signal_is_one_proposal() -> None:
    inbox = Inbox().start()
    inbox.signal(signal_id="sg_1")
    inbox.pass_time(30).signal(signal_id="sg_1")
    assert len(inbox.of("proposals")) == len(inbox.requests("SUBMIT")) == 1
    assert [drop.reason for drop in inbox.drops] == ["DUPLICATE"]


def test_504_after_accept_asks_by_id_and_never_sends_again() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = inbox.of("orders")[0]
    inbox.pass_time(1).doubt(order["client_order_id"])
    assert states(inbox) == ["INTENT", "UNKNOWN"]
    (asked,) = inbox.requests("FETCH_ORDER")
    assert (asked["client_order_id"], asked["after_s"]) == (order["client_order_id"], 1)
    inbox.pass_time(1).reply(order["client_order_id"], "ACCEPTED")
    inbox.pass_time(1).fill(order)
    assert states(inbox) == ["INTENT", "UNKNOWN", "ACCEPTED", "FILLED"]
    assert len(inbox.requests("SUBMIT")) == len(inbox.of("executions")) == 1


def test_an_unknown_order_blocks_every_opening() -> None:
    inbox = Inbox().start()
    inbox.signal()
    inbox.doubt(inbox.of("orders")[0]["client_order_id"])
    inbox.signal("AMD")
    assert failed(inbox.of("proposals")[1]) == ["ORDER_STATE_UNKNOWN"]


def test_four_definite_not_founds_after_a_doubt_end_in_not_sent_and_free_the_reservation() -> None:
    inbox = Inbox().start()
    inbox.signal()
    coid = inbox.of("orders")[0]["client_order_id"]
    inbox.doubt(coid)
    for _ in range(4):
        inbox.pass_time(5).missing(coid)
    assert states(inbox) == ["INTENT", "UNKNOWN", "NOT_SENT"]
    assert inbox.of("orders")[-1]["reason"] == "NOT_FOUND_AT_BROKER"
    # at 1, 4, 10 and 30 s after the doubt
    assert [asked["after_s"] for asked in inbox.requests("FETCH_ORDER")] == [1, 3, 6, 20]
    inbox.signal("AMD")
    assert gates_of(inbox.of("proposals")[1])["max_positions"]["observed"] == "1"
    assert len(inbox.requests("SUBMIT")) == 2


def test_doubt_about_the_question_keeps_asking_without_counting() -> None:
    inbox = Inbox().start()
    inbox.signal()
    coid = inbox.of("orders")[0]["client_order_id"]
    for _ in range(6):
        inbox.doubt(coid)
    assert states(inbox) == ["INTENT", "UNKNOWN"]
    assert len(inbox.requests("FETCH_ORDER")) == 6
    asked = [
        out.event_id for out in inbox.outs if out.topic == REQUESTS and out.body["kind"] == "FETCH_ORDER"
    ]
    assert len(set(asked)) == 6


def test_a_rejected_order_leaves_no_execution_and_frees_its_reservation() -> None:
    inbox = Inbox().start()
    inbox.signal()
    inbox.reply(inbox.of("orders")[0]["client_order_id"], "REJECTED", error="insufficient buying power")
    last = inbox.of("orders")[-1]
    assert (last["state"], last["reason"], last["detail"]) == (
        "REJECTED",
        "BROKER_REJECTED",
        "insufficient buying power",
    )
    assert not inbox.of("executions") and not inbox.of("positions")
    inbox.signal("NVDA", signal_id="sg_again")
    assert inbox.of("proposals")[1]["verdict"] == "APPROVED"


def test_an_order_that_the_dispatcher_kept_back_was_not_sent() -> None:
    inbox = Inbox().start()
    inbox.signal()
    coid = inbox.of("orders")[0]["client_order_id"]
    inbox.reply(coid, "NOT_SENT", broker_order_id=None, error="the self-test has not passed: quote")
    last = inbox.of("orders")[-1]
    assert (last["state"], last["reason"]) == ("NOT_SENT", "KEPT_BACK")
    assert "self-test" in last["detail"]
    inbox.signal("AMD")
    assert gates_of(inbox.of("proposals")[1])["max_positions"]["observed"] == "1"


def test_a_terminal_order_stays_so_and_a_late_execution_is_still_folded() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = inbox.of("orders")[0]
    inbox.reply(order["client_order_id"], "CANCELED")
    inbox.reply(order["client_order_id"], "ACCEPTED")
    assert states(inbox) == ["INTENT", "CANCELED"]
    assert [drop.reason for drop in inbox.drops] == ["STALE_REPLY"]
    inbox.execute(order, "late", "1", "2.00")
    assert inbox.of("positions")[0]["qty"] == 1


def test_a_word_the_broker_invents_is_stored_raw_and_blocks_openings() -> None:
    inbox = Inbox().start()
    inbox.signal()
    inbox.reply(inbox.of("orders")[0]["client_order_id"], "UNRECOGNISED", raw_status="pondering")
    assert inbox.of("orders")[-1]["raw_status"] == "pondering"
    inbox.signal("AMD")
    assert failed(inbox.of("proposals")[1]) == ["ORDER_STATE_UNKNOWN"]


def test_partial_fills_are_each_applied_and_the_rest_of_the_reservation_remains() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = inbox.of("orders")[0]
    coid = order["client_order_id"]
    for number in (1, 2):
        inbox.reply(coid, "PARTIAL", filled_qty=D(number), filled_avg_price=D("2.01"), source="STREAM")
        inbox.execute(order, f"x{number}", "1", "2.01")
    assert states(inbox) == ["INTENT", "PARTIAL", "PARTIAL"]
    assert [p["qty"] for p in inbox.of("positions")] == [1, 2]
    inbox.signal("AMD")
    # held 2 x 2.01, pending 2 x 2.02, new 4 x 2.02, all x 100
    assert gates_of(inbox.of("proposals")[1])["max_exposure"]["observed"] == "1614.000000"
    inbox.reply(coid, "CANCELED", filled_qty=D(2))
    inbox.signal("CRM")
    assert gates_of(inbox.of("proposals")[2])["pending_capacity"]["observed"] == "2"


def test_a_filled_order_is_reserved_until_its_executions_are_folded() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = inbox.of("orders")[0]
    inbox.reply(order["client_order_id"], "FILLED", filled_qty=D(4))
    inbox.signal("AMD")
    assert gates_of(inbox.of("proposals")[1])["max_positions"]["observed"] == "2"
    inbox.execute(order, "x", "4", "2.01")
    inbox.signal("CRM")
    proposal = inbox.of("proposals")[2]
    assert gates_of(proposal)["max_positions"]["observed"] == "3"
    assert gates_of(proposal)["pending_capacity"]["observed"] == "2"


def test_an_execution_delivered_twice_counts_once() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = inbox.of("orders")[0]
    for source in ("STREAM", "REST", "REST"):
        inbox.execute(order, "x", "4", "2.01", source=source)
    assert len(inbox.of("executions")) == len(inbox.of("positions")) == 1
    assert [drop.reason for drop in inbox.drops] == ["DUPLICATE_EXECUTION"] * 2


def test_an_execution_of_a_foreign_order_is_adopted() -> None:
    inbox = Inbox().start()
    inbox.execute({"client_order_id": "by-hand", "instrument": "AMD", "side": "BUY"}, "x", "10", "100")
    (position,) = inbox.of("positions")
    assert (position["owner"], position["strategy"], position["qty"]) == ("EXTERNAL", "day_trade", 10)
    inbox.reply("by-hand", "FILLED")
    assert [drop.reason for drop in inbox.drops] == ["UNKNOWN_ORDER"]


def test_an_unexpected_short_reduces_the_account_until_a_person_says_active() -> None:
    inbox = Inbox().start()
    inbox.execute({"client_order_id": "by-hand", "instrument": "AMD", "side": "SELL"}, "x", "10", "100")
    assert (inbox.of("accounts")[-1]["alarm"], inbox.of("accounts")[-1]["kill_state"]) == (
        "UNEXPECTED_SHORT",
        "REDUCING",
    )
    inbox.signal()
    assert inbox.of("proposals")[0]["primary_reason"] == "KILL_SWITCH_REDUCING"
    inbox.control("large")
    assert inbox.of("accounts")[-1]["alarm"] is None
    inbox.signal("CRM")
    assert gates_of(inbox.of("proposals")[1])["kill_switch"]["passed"]


def test_out_of_order_executions_leave_the_position_of_their_true_order() -> None:
    inbox = Inbox().start()
    buy = {"client_order_id": "by-hand", "instrument": "AMD", "side": "BUY"}
    inbox.execute(buy, "second", "1", "102", executed_at=inbox.now)
    inbox.execute(buy, "first", "1", "100", executed_at=inbox.now - SECOND)
    vanished, now = inbox.of("positions")[-2:]
    assert (vanished["state"], vanished["qty"], vanished["seq"]) == ("CLOSED", 0, 1)
    assert (now["state"], now["qty"], now["average_cost"]) == ("OPEN", 2, 101)


@pytest.mark.parametrize("state", ["ACTIVE", "REDUCING"])
def test_a_sell_signal_sells_the_whole_long_in_any_kill_state(state: str) -> None:
    inbox = Inbox().start()
    inbox.signal(action="BUY_STOCK")
    inbox.fill(inbox.of("orders")[0])
    inbox.control("*", state)
    inbox.pass_time(60).signal(action="SELL_STOCK")
    proposal, position = inbox.of("proposals")[1], inbox.of("positions")[-1]
    assert (proposal["purpose"], proposal["verdict"], proposal["quantity"]) == ("CLOSE", "APPROVED", 249)
    assert position["state"] == "CLOSING"
    order = inbox.of("orders")[-1]
    assert (order["side"], order["intent"]) == ("SELL", "SELL_TO_CLOSE")
    assert order["client_order_id"].startswith("td1-c00-")
    inbox.fill(order)
    assert (inbox.of("positions")[-1]["state"], inbox.of("positions")[-1]["qty"]) == ("CLOSED", 0)


def test_a_long_of_less_than_one_share_is_not_sold_and_the_proposal_says_why() -> None:
    inbox = Inbox().start()
    external = {"client_order_id": "theirs", "instrument": "NVDA", "side": "BUY"}
    inbox.execute(external, "x1", "0.5", "100")
    inbox.pass_time(3600).signal(action="SELL_STOCK")
    assert verdicts(inbox) == [("NOT_SIZED", "SIZE_BELOW_ONE_UNIT")]
    assert inbox.of("proposals")[0]["quantity"] == 0 and not inbox.of("orders")


def test_a_part_that_is_filled_while_the_cancel_is_pending_is_published() -> None:
    inbox = Inbox().start()
    inbox.signal()
    order = inbox.of("orders")[0]
    inbox.reply(order["client_order_id"], "CANCEL_PENDING")
    inbox.reply(order["client_order_id"], "PARTIAL", filled_qty=D(1), filled_avg_price=D("2.01"))
    assert states(inbox)[-1] == "CANCEL_PENDING" and inbox.of("orders")[-1]["filled_qty"] == 1
    assert not inbox.drops
    inbox.reply(order["client_order_id"], "PARTIAL", filled_qty=D(1), filled_avg_price=D("2.01"))
    assert [drop.reason for drop in inbox.drops] == ["STALE_REPLY"], "nothing new is in it"


def test_a_second_sell_while_the_first_works_sells_nothing() -> None:
    inbox = Inbox().start()
    inbox.signal(action="BUY_STOCK")
    inbox.fill(inbox.of("orders")[0])
    for number in (1, 2):
        inbox.pass_time(60).signal(action="SELL_STOCK", signal_id=f"sg_sell_{number}")
    assert [v for v, _ in verdicts(inbox)] == ["APPROVED", "APPROVED", "REFUSED"]
    assert "NO_LONG_TO_SELL" in failed(inbox.of("proposals")[2])


def test_a_sell_without_a_long_is_refused() -> None:
    inbox = Inbox().start()
    inbox.signal(action="SELL_STOCK")
    assert "NO_LONG_TO_SELL" in failed(inbox.of("proposals")[0])
    assert inbox.of("proposals")[0]["verdict"] == "REFUSED"


def test_too_little_equity_for_one_contract_is_not_sized() -> None:
    inbox = Inbox(tier="tiny")
    inbox.equity = D(1000)
    inbox.start().signal()
    assert verdicts(inbox) == [("NOT_SIZED", "SIZE_BELOW_ONE_UNIT")]
    assert not inbox.of("orders")


def test_a_shadow_account_decides_and_never_sends() -> None:
    inbox = Inbox(mode="SHADOW").start()
    inbox.signal()
    assert verdicts(inbox) == [("SHADOWED", "OK")]
    assert not inbox.requests("SUBMIT")
    assert [(o["state"], o["reason"]) for o in inbox.of("orders")] == [
        ("INTENT", None),
        ("NOT_SENT", "SHADOW_NOT_SENT"),
    ]


def test_a_record_of_another_account_stops_the_stage() -> None:
    inbox = Inbox()
    with pytest.raises(Fatal, match="another account"):
        inbox.stage.step(b"tiny", None, [])


def test_a_signal_with_an_unknown_action_is_a_dead_letter() -> None:
    inbox = Inbox().start()
    with pytest.raises(DeadLetter, match="action is not usable"):
        inbox.signal(action="SELL_CALL")


def test_the_time_of_an_output_is_the_time_on_the_record() -> None:
    inbox = Inbox().start()
    inbox.pass_time(7).signal()
    assert {out.body["event_time"] for out in inbox.outs if out.topic == "proposals"} == {ELEVEN + 7 * SECOND}
