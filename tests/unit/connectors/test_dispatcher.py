"""The dispatcher's core: what it writes into the inbox, and what it does and does not send."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.broker import ChainQuery, ChainReply
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.connectors.dispatch.lease import LeaseShort
from tapedeck.connectors.paper.faults import Fault
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side
from tapedeck.streams.stages.account.rules.requests import (
    FetchAccount,
    FetchBroker,
    FetchChain,
    FetchOrder,
    FetchQuote,
    body,
)
from tests.support.desk import ACCOUNT, URL, Desk, payload, submit
from tests.support.paper import CALL, DAY, LARGE, MINUTE, SECOND, TEN, TINY, at, order


@pytest.fixture
def desk() -> Desk:
    return Desk()


def signal(symbol: str, confidence: float, event_id: str = "e") -> dict[str, Any]:
    return {
        "event_id": f"{event_id}-{symbol}", "signal_id": f"sg_{symbol}", "symbol": symbol,
        "action": "BUY_CALL",
        "strategy": "day_trade", "reason": "OPTION_DAY_TRADE", "direction": "BULL", "confidence": confidence,
        "bar_t": TEN - MINUTE, "as_of": TEN, "close": 150.0, "universe_version": 3,
    }  # fmt: skip


def test_signals_of_a_minute_go_by_confidence_then_symbol(desk: Desk) -> None:
    signals = [signal("NVDA", 0.7), signal("AMD", 0.7), signal("XOM", 0.9), signal("PG", 0.5)]
    records = desk.desk.collect(signals, {"NVDA": Newest(TEN - MINUTE, TEN - 2 * MINUTE)})
    contents = [payload(record, "InboxSignal") for record in records]
    assert [content["symbol"] for content in contents] == ["XOM", "AMD", "NVDA", "PG"]
    assert (contents[2]["newest_bar_t"], contents[2]["newest_feature_t"]) == (TEN - MINUTE, TEN - 2 * MINUTE)
    assert contents[0]["newest_bar_t"] is None
    assert contents[0]["signal_event_id"] == "e-XOM"


def test_event_id_leaves_the_time_out_and_nothing_else(desk: Desk) -> None:
    (first,) = desk.desk.collect([signal("NVDA", 0.7)], {})
    desk.move(1)
    (again,) = desk.desk.collect([signal("NVDA", 0.7)], {})
    (other,) = desk.desk.collect([signal("NVDA", 0.8)], {})
    assert first["event_id"] == again["event_id"] != other["event_id"]
    assert (first["event_time"], again["event_time"]) == (TEN, TEN + SECOND)
    assert len(first["event_id"]) == 32


def test_each_second_has_one_tick(desk: Desk) -> None:
    assert desk.desk.ticks() == [], "nothing is held, and no order works"
    desk.desk.perform({"kind": "WATCH", "symbols": (), "every_s": 1})
    (first,), end = desk.desk.ticks(), TEN // SECOND * SECOND + SECOND
    desk.clock.set(end - 1)
    assert desk.desk.ticks() == [], "the same event with another time"
    desk.clock.set(end)
    (second,) = desk.desk.ticks()
    assert second["event_id"] != first["event_id"]
    assert payload(first, "InboxTick") == {}


def test_start_control_and_stream_are_written_as_they_are(desk: Desk) -> None:
    assert payload(desk.desk.started(4), "InboxStarted") == {"lease_epoch": 4}
    control = {"event_id": "c1", "scope": "*", "seq": 1, "state": "ACTIVE", "person": "ops", "reason": "up"}
    assert payload(desk.desk.control(control), "InboxControl") == {
        "control_event_id": "c1", "scope": "*", "state": "ACTIVE", "person": "ops", "reason": "up",
        "command": None, "target": None, "price": None,
    }  # fmt: skip
    assert payload(desk.desk.stream(True, "connection 1"), "InboxStream")["healthy"] is True


def test_FLD_D14_halts_and_resumptions_of_the_feed_reach_the_inbox_and_nothing_else(
    desk: Desk,
) -> None:
    event = {"event_id": "m1", "symbol": "NVDA", "feed": Config().bars.feed, "event_time": TEN - SECOND}
    (halt,) = desk.desk.market_event(event | {"kind": "HALTED"})
    assert payload(halt, "InboxHalt") == {
        "market_event_id": "m1", "symbol": "NVDA", "halted": True, "since": TEN - SECOND,
    }  # fmt: skip
    (resumed,) = desk.desk.market_event(event | {"kind": "RESUMED"})
    assert payload(resumed, "InboxHalt")["halted"] is False
    assert resumed["event_id"] != halt["event_id"]
    for other in ({"kind": "NO_TRADE"}, {"kind": "COVERAGE"}, {"kind": "HALTED", "feed": "another"}):
        assert desk.desk.market_event(event | other) == []


def test_account_is_answered_with_its_address(desk: Desk) -> None:
    (record,) = desk.perform(FetchAccount(request_id="r1"))
    content = payload(record, "InboxAccount")
    assert (content["request_id"], content["broker_account_id"], content["base_url"]) == (
        "r1",
        LARGE.number,
        URL,
    )
    assert (content["equity"], content["error"]) == (D(100_000), None)


@pytest.mark.parametrize(
    ("operation", "request_body", "kind"),
    [
        ("account", FetchAccount(request_id="r1"), "InboxAccount"),
        ("positions", FetchBroker(request_id="r1"), "InboxBroker"),
        ("quote", FetchQuote(request_id="r1", instrument="NVDA", underlying="NVDA"), "InboxQuote"),
        (
            "chain",
            FetchChain(
                request_id="r1", underlying="NVDA", right=Right.CALL, expiry_from=DAY, expiry_to=DAY + 9,
                strike_from=D(1), strike_to=D(999),
            ),
            "InboxChain",
        ),
    ],
)  # fmt: skip
def test_read_that_fails_is_answered_with_its_error(
    desk: Desk, operation: str, request_body: Any, kind: str
) -> None:
    desk.paper.faults.arm(Fault.GATEWAY_TIMEOUT_BEFORE, operation=operation)
    (record,) = desk.perform(request_body)
    content = payload(record, kind)
    assert content["request_id"] == "r1"
    assert "no answer" in content["error"]
    assert desk.paper.faults.fired[Fault.GATEWAY_TIMEOUT_BEFORE] == 1
    (record,) = desk.perform(request_body)
    assert payload(record, kind)["error"] is None


def test_quote_and_chain_carry_feed_origin_and_times(desk: Desk) -> None:
    (record,) = desk.perform(FetchQuote(request_id="q", instrument=CALL, underlying="NVDA"))
    quote = payload(record, "InboxQuote")
    assert (quote["bid"], quote["ask"], quote["feed"]) == (D("2.00"), D("2.10"), "indicative")
    assert (quote["origin"], quote["quote_time"]) == ("synthetic/test", at("14:59:59"))  # restated each 10 s
    (record,) = desk.perform(
        FetchChain(
            request_id="c", underlying="NVDA", right=Right.CALL, expiry_from=DAY + 1, expiry_to=DAY + 9,
            strike_from=D(1), strike_to=D(999),
        )
    )  # fmt: skip
    (call,) = payload(record, "InboxChain")["contracts"]
    assert (call["symbol"], call["right"], call["strike"], call["open_interest"]) == (CALL, "CALL", 150, 400)


def test_order_is_sent_once_and_its_fill_comes_before_its_end(desk: Desk) -> None:
    (answer,) = desk.perform(submit())
    sent = payload(answer, "InboxOrder")
    assert (sent["found"], sent["state"], sent["doubt"], sent["source"]) == (True, "SUBMITTED", False, "REST")
    new, execution, end = desk.heard
    assert payload(new, "InboxOrder")["state"] == "ACCEPTED"
    filled = payload(execution, "InboxExecution")
    assert (filled["qty"], filled["price"], filled["fee"]) == (2, D("2.10"), D("0.10"))
    assert (filled["client_order_id"], filled["source"]) == ("td1-a", "STREAM")
    assert payload(end, "InboxOrder")["state"] == "FILLED"


def test_working_order_asks_for_ticks_until_it_ends(desk: Desk) -> None:
    assert not desk.desk.working
    desk.perform(submit(limit_price=D("2.07")))
    assert desk.desk.working
    desk.move(600)
    assert not desk.desk.working


def test_answer_that_comes_after_the_end_does_not_wake_the_order(desk: Desk) -> None:
    desk.perform(submit())  # filled at once: the stream tells the end before the call answers
    assert not desk.desk.working


def test_refusal_is_rejected_in_the_brokers_words(desk: Desk) -> None:
    (answer,) = desk.perform(submit(qty=D(1000)))
    content = payload(answer, "InboxOrder")
    assert (content["found"], content["state"], content["doubt"]) == (True, "REJECTED", False)
    assert content["error"] == "insufficient options buying power"
    assert not desk.desk.working


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_AFTER, Fault.DROP_BEFORE])
def test_doubt_is_unknown_and_nothing_is_sent_again(desk: Desk, fault: Fault) -> None:
    desk.paper.faults.arm(fault, operation="submit")
    (answer,) = desk.perform(submit())
    content = payload(answer, "InboxOrder")
    assert (content["state"], content["doubt"]) == ("UNKNOWN", True)
    assert desk.paper.faults.fired[fault] == 1
    assert len(desk.paper.orders(LARGE.number, "all")) == (fault is not Fault.DROP_BEFORE)
    assert desk.desk.working == (fault is Fault.DROP_BEFORE)  # else the stream has told the end already


def test_asking_by_client_id_finds_the_order_and_brings_the_executions_that_were_lost(desk: Desk) -> None:
    desk.paper.faults.arm(Fault.GATEWAY_TIMEOUT_AFTER, operation="submit")
    desk.paper.faults.arm(Fault.UPDATE_LOST, count=2)
    desk.perform(submit())
    assert desk.heard == []
    execution, found = desk.perform(FetchOrder(client_order_id="td1-a", after_s=1))
    assert payload(execution, "InboxExecution")["source"] == "REST"
    assert payload(execution, "InboxExecution")["client_order_id"] == "td1-a"
    assert (payload(found, "InboxOrder")["state"], payload(found, "InboxOrder")["filled_qty"]) == (
        "FILLED",
        2,
    )
    (again,) = desk.perform(FetchOrder(client_order_id="td1-a", after_s=4))  # the execution is in the log
    assert payload(again, "InboxOrder")["found"]


def test_every_question_about_an_absent_order_is_an_event_of_its_own(desk: Desk) -> None:
    answers = [desk.perform(FetchOrder(client_order_id="td1-a", after_s=n))[0] for n in (1, 3, 6, 20)]
    assert len({answer["event_id"] for answer in answers}) == 4
    for answer in answers:
        content = payload(answer, "InboxOrder")
        assert (content["found"], content["state"], content["doubt"]) == (False, None, False)


def test_must_be_unique_means_it_exists(desk: Desk) -> None:
    desk.perform(submit())
    execution_or_order = desk.perform(submit())
    assert payload(execution_or_order[-1], "InboxOrder")["state"] == "FILLED"
    assert len(desk.paper.orders(LARGE.number, "all")) == 1


def test_too_many_requests_leaves_the_order_unsent(desk: Desk) -> None:
    desk.paper.faults.arm(Fault.RATE_LIMIT, operation="submit")
    (answer,) = desk.perform(submit())
    assert payload(answer, "InboxOrder")["state"] == "NOT_SENT"
    assert desk.paper.orders(LARGE.number, "all") == []


def test_cancel_reports_how_the_order_ended(desk: Desk) -> None:
    desk.perform(submit(limit_price=D("1.00")))
    cancel = {"kind": "CANCEL", "client_order_id": "td1-a", "broker_order_id": None}
    (answer,) = desk.perform(cancel)
    assert payload(answer, "InboxOrder")["state"] == "CANCELED"
    (again,) = desk.perform(cancel)
    assert payload(again, "InboxOrder")["state"] == "CANCELED"
    (absent,) = desk.perform(cancel | {"client_order_id": "td1-z"})
    assert payload(absent, "InboxOrder")["found"] is False


def test_wrong_account_gets_no_order_of_any_purpose() -> None:
    desk = Desk(number=TINY.number)
    for request in (submit(), submit(side=Side.SELL, intent=PositionIntent.SELL_TO_CLOSE)):
        (answer,) = desk.perform(request)
        content = payload(answer, "InboxOrder")
        assert content["state"] == "NOT_SENT"
        assert "not the configured one" in content["error"]
    cancel = {"kind": "CANCEL", "client_order_id": "td1-a", "broker_order_id": None}
    assert payload(desk.perform(cancel)[0], "InboxOrder")["doubt"]
    assert desk.paper.orders(TINY.number, "all") == []


def test_account_number_that_turns_wrong_stops_the_next_order(desk: Desk) -> None:
    desk.perform(submit("td1-a"))
    desk.paper.faults.arm(Fault.WRONG_ACCOUNT, count=2)
    (record,) = desk.perform(FetchAccount(request_id="r1"))
    assert payload(record, "InboxAccount")["broker_account_id"] == "WRONG-PAPER-LARGE"
    assert payload(desk.perform(submit("td1-b"))[0], "InboxOrder")["state"] == "NOT_SENT"
    assert desk.paper.faults.fired[Fault.WRONG_ACCOUNT] == 2
    assert payload(desk.perform(submit("td1-c"))[0], "InboxOrder")["state"] == "SUBMITTED"


def test_self_test_looks_at_everything_and_names_what_failed(desk: Desk) -> None:
    assert [(check.name, check.passed) for check in desk.desk.self_test()] == [
        ("account", True), ("calendar", True), ("quote", True), ("chain", True),
    ]  # fmt: skip
    elsewhere = Desk(base_url="http://127.0.0.1:1")
    failed = {check.name: check.detail for check in elsewhere.desk.self_test() if not check.passed}
    assert list(failed) == ["account"]
    assert "configured is http://127.0.0.1:8765" in failed["account"]


@pytest.mark.parametrize(
    ("operation", "named"), [("calendar", "calendar"), ("quote", "quote"), ("chain", "chain")]
)
def test_opening_waits_for_the_self_test_and_closing_does_not(desk: Desk, operation: str, named: str) -> None:
    desk.paper.submit(LARGE.number, order("td1-before"))
    desk.paper.faults.arm(Fault.DROP_BEFORE, operation=operation, count=2)
    (answer,) = desk.perform(submit("td1-o"))
    content = payload(answer, "InboxOrder")
    assert content["state"] == "NOT_SENT"
    assert f"the self-test has not passed: {named}" in content["error"]
    close = submit("td1-c", side=Side.SELL, intent=PositionIntent.SELL_TO_CLOSE, limit_price=D("2.00"))
    assert payload(desk.perform(close)[0], "InboxOrder")["state"] == "SUBMITTED"
    desk.paper.faults.disarm()
    assert payload(desk.perform(submit("td1-p"))[0], "InboxOrder")["state"] == "SUBMITTED"


def test_calendar_that_differs_fails_the_self_test(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.broker, "calendar", lambda first, last: [])
    failed = [check for check in desk.desk.self_test() if not check.passed]
    assert [check.name for check in failed] == ["calendar"]


def test_empty_chain_fails_the_self_test(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(query: ChainQuery) -> ChainReply:
        return ChainReply(underlying=query.underlying, feed="indicative", origin="x", contracts=())

    monkeypatch.setattr(desk.broker, "chain", nothing)
    assert [check.name for check in desk.desk.self_test() if not check.passed] == ["chain"]


@pytest.mark.parametrize(
    "call",
    [
        lambda desk: desk.perform(submit()),
        lambda desk: desk.perform(FetchAccount(request_id="r")),
        lambda desk: desk.desk.snapshot(),
    ],
)
def test_no_broker_call_near_the_end_of_the_lease(desk: Desk, call: Callable[[Desk], Any]) -> None:
    desk.uptime.seconds += 7.5
    with pytest.raises(LeaseShort):
        call(desk)
    assert desk.paper.orders(LARGE.number, "all") == []
    desk.lease.renew()
    assert call(desk)


def test_snapshot_brings_missed_executions_positions_and_the_account(desk: Desk) -> None:
    desk.paper.submit(LARGE.number, order("td1-elsewhere"))
    desk.heard.clear()
    fresh = Desk()
    fresh.paper.submit(LARGE.number, order("td1-earlier"))
    restarted = Dispatcher(Config(), ACCOUNT, fresh.broker, fresh.clock, lease=fresh.lease, calendar=xnys())
    execution, broker, account = restarted.snapshot()
    assert payload(execution, "InboxExecution")["client_order_id"] == "td1-earlier"
    held = {"instrument": CALL, "qty": D(2), "qty_available": D(2)}
    assert payload(broker, "InboxBroker")["positions"] == [held]
    assert payload(account, "InboxAccount")["request_id"] == ""
    assert [record["payload"][0] for record in restarted.snapshot()] == [
        "tapedeck.InboxBroker", "tapedeck.InboxAccount",
    ]  # fmt: skip


@pytest.mark.parametrize("allowed", [False, True])
def test_a_short_is_sent_for_an_account_that_may_have_one_and_for_no_other(allowed: bool) -> None:
    desk = Desk(shorts=allowed)
    short = {"instrument": "NVDA", "underlying": "NVDA", "side": Side.SELL, "intent": PositionIntent.SELL}
    answer = desk.perform(submit(**short, limit_price=D("149.98")))[-1]
    content = payload(answer, "InboxOrder")
    assert desk.paper.books[LARGE.number].ledger.qty("NVDA") == (-2 if allowed else 0)
    assert (content["state"] == "NOT_SENT") is not allowed
    assert allowed or "allow_shorting is false" in content["error"]


def test_repeated_and_disordered_updates_are_written_as_heard(desk: Desk) -> None:
    desk.paper.faults.arm(Fault.UPDATE_TWICE)
    desk.perform(submit())
    first, second, *_ = desk.heard
    assert first["event_id"] == second["event_id"]
    assert desk.paper.faults.fired[Fault.UPDATE_TWICE] == 1


def test_unknown_request_stops_the_process(desk: Desk) -> None:
    with pytest.raises(Fatal, match="no such request"):
        desk.perform({"kind": "SELL_EVERYTHING"})


def test_waits_are_told_not_slept(desk: Desk) -> None:
    assert desk.desk.delay_s(body(FetchOrder(client_order_id="x", after_s=10))) == 10
    assert desk.desk.delay_s(body(submit())) == 0


def test_an_account_whose_calls_are_used_up_is_answered_so_and_may_still_cancel_and_close(desk: Desk) -> None:
    def asked() -> str | None:
        answer = desk.desk.perform(
            {"kind": "FETCH_QUOTE", "request_id": "q", "instrument": "NVDA", "underlying": "NVDA"}
        )
        error: str | None = answer[-1]["payload"][1]["error"]
        return error

    while asked() is None:
        pass
    assert "used up" in str(asked())
    account = desk.desk.perform({"kind": "FETCH_ACCOUNT", "request_id": ""})
    assert "used up" in account[-1]["payload"][1]["error"]
    look = desk.desk.perform({"kind": "FETCH_ORDER", "client_order_id": "td1-none", "after_s": 0})
    assert "used up" not in str(look[-1]["payload"][1]["error"]), "the reserve is for orders"
    desk.clock.set(TEN + 61 * SECOND)
    assert asked() is None
