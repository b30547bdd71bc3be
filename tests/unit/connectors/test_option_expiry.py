"""Expired contracts at the paper exchange, in Alpaca's activities, and in the account that held them."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.alpaca import option_events
from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.expiry import Listed
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.connectors.paper.market import Listing
from tapedeck.streams.stages.account.fills import folded
from tapedeck.streams.stages.account.rules.positions import Position
from tapedeck.streams.stages.account.state import unpack
from tapedeck.streams.stages.account.turn import Turn
from tapedeck.tape.whatif.inbox import Corrected, payload_of
from tests.support.account import Inbox, at, day, failed
from tests.support.paper import (
    CLOSE,
    DAY,
    LARGE,
    LARGE_KEYS,
    MINUTE,
    TEN,
    StepClock,
    TinyMarket,
    exchange,
    order,
    serving,
)

NUMBER = LARGE.number
NEXT_OPEN = at("2026-02-18T09:30:00-05:00")
EVENING = CLOSE + 10 * MINUTE
CALL_TODAY, PUT_TODAY = "NVDA260217C00150000", "NVDA260217P00150000"
AMD_PUT = "AMD260217P00100000"


def held_at_expiry(nvda: str, *holdings: tuple[str, int], listed: Listed = Listed.AT_ONCE) -> PaperExchange:
    """An exchange on the evening of an expiry day, after NVDA closed at ``nvda``."""
    market = TinyMarket()
    market.prices |= {PUT_TODAY: (D("1.00"), D("1.10"))}
    paper = exchange(market, listed=listed)
    book = paper._books[NUMBER]
    for symbol, qty in holdings:
        expiry = DAY if len(symbol) > 6 else None
        book.ledger.move(Listing(symbol, "NVDA", 100 if expiry else 1, expiry), D(qty), D("2"))
    middle = D(nvda)
    market.price("NVDA", str(middle - D("0.01")), str(middle + D("0.01")))
    paper.advance(EVENING)
    return paper


def positions(paper: PaperExchange) -> dict[str, str]:
    return {each["symbol"]: each["qty"] for each in paper.positions(NUMBER)}


@pytest.mark.parametrize(
    ("symbol", "qty", "close", "kind", "shares", "cash"),
    [
        (CALL_TODAY, 2, "150.01", "OPEXC", "200", -30_000),
        (CALL_TODAY, 2, "150.00", "OPEXP", None, 0),
        (PUT_TODAY, 1, "149.99", "OPEXC", "-100", 15_000),
        (PUT_TODAY, 1, "150.01", "OPEXP", None, 0),
        (CALL_TODAY, -1, "151", "OPASN", "-100", 15_000),
        (PUT_TODAY, -1, "149", "OPASN", "100", -15_000),
        (CALL_TODAY, -1, "149", "OPEXP", None, 0),
    ],
)
def test_a_contract_is_exercised_assigned_or_expires_by_a_cent(
    symbol: str, qty: int, close: str, kind: str, shares: str | None, cash: int
) -> None:
    paper = held_at_expiry(close, (symbol, qty))
    assert positions(paper) == ({"NVDA": shares} if shares else {})
    assert paper._books[NUMBER].ledger.cash == LARGE.cash - qty * 200 + cash
    option, *stock = paper.option_activities(NUMBER)
    assert (option["activity_type"], option["symbol"], option["qty"]) == (kind, symbol, str(-qty))
    assert (option["net_amount"], option["date"], option["status"]) == ("0", "2026-02-17", "executed")
    assert [(each["activity_type"], each["symbol"], each["qty"], each["price"]) for each in stock] == (
        [("OPTRD", "NVDA", shares, "150")] if shares else []
    )
    assert all(each["net_amount"] == str(cash) and each["group_id"] == option["group_id"] for each in stock)
    if shares:
        (row,) = paper.positions(NUMBER)
        assert row["side"] == ("long" if int(shares) > 0 else "short") and row["avg_entry_price"] == "150"


def test_shares_of_an_exercised_put_leave_those_that_are_held_first() -> None:
    paper = held_at_expiry("149", (PUT_TODAY, 2), ("NVDA", 150))
    assert positions(paper) == {"NVDA": "-50"}


def test_nothing_expires_before_the_close_and_no_other_contract_with_it() -> None:
    paper = exchange()
    paper.submit(NUMBER, order("td1-a", symbol=CALL_TODAY, qty="1", limit_price="1.10"))
    paper.submit(NUMBER, order("td1-b"))
    paper.advance(CLOSE)
    assert len(positions(paper)) == 2
    paper.advance(EVENING)
    assert list(positions(paper)) == ["NVDA260220C00150000"]


def test_activities_may_be_listed_a_session_later_than_the_positions_changed() -> None:
    paper = held_at_expiry("151", (CALL_TODAY, 1), listed=Listed.NEXT_SESSION)
    assert positions(paper) == {"NVDA": "100"}
    paper.advance(NEXT_OPEN - 1)
    assert paper.option_activities(NUMBER) == []
    paper.advance(NEXT_OPEN)
    assert [each["date"] for each in paper.option_activities(NUMBER)] == ["2026-02-17"] * 2


def test_both_brokers_read_the_same_legs_with_the_contract_behind_the_shares() -> None:
    paper = held_at_expiry("151", (CALL_TODAY, 1), (PUT_TODAY, 1))
    found = InProcessBroker(paper, NUMBER, "http://127.0.0.1:1").option_events(TEN)
    with serving(paper, StepClock(EVENING)) as url:
        assert AlpacaBroker(url, LARGE_KEYS).option_events(TEN) == found
    assert [(leg.kind, leg.instrument, leg.qty, leg.price, leg.contract) for leg in found] == [
        ("OPEXC", CALL_TODAY, -1, 0, None),
        ("OPTRD", "NVDA", 100, 150, CALL_TODAY),
        ("OPEXP", PUT_TODAY, -1, 0, None),
    ]
    assert {leg.date for leg in found} == {DAY} and not found.unread


ALPACAS: list[dict[str, Any]] = [
    {"id": "20230721000000000::1", "activity_type": "OPEXC", "date": "2023-07-21", "net_amount": "0",
     "description": "Option Exercise", "symbol": "AAPL230721C00150000", "qty": "-2", "status": "executed"},
    {"id": "20230721000000000::1", "activity_type": "OPTRD", "date": "2023-07-21", "net_amount": "-30000",
     "description": "Option Trade", "symbol": "AAPL", "qty": "200", "price": "90", "status": "executed"},
    {"id": "20230721000000000::2", "activity_type": "OPASN", "date": "2023-07-21", "net_amount": "0",
     "description": "Option Assignment", "symbol": "AAPL230721C00140000", "qty": "2", "status": "executed"},
    {"id": "20230721000000000::3", "activity_type": "OPTRD", "date": "2023-07-21", "net_amount": "28000",
     "description": "Option Trade", "symbol": "AAPL", "qty": "-200", "price": "140", "status": "executed"},
]  # fmt: skip


def test_rows_as_alpaca_documents_them_are_read_and_paired_without_a_group() -> None:
    found = option_events.read([*ALPACAS, {"activity_type": "DIV", "id": "x"}])
    assert [(leg.kind, leg.qty, leg.price, leg.contract) for leg in found] == [
        ("OPEXC", -2, 0, None),
        ("OPTRD", 200, 150, "AAPL230721C00150000"),  # by the cash that moved: the example's price is another
        ("OPASN", 2, 0, None),
        ("OPTRD", -200, 140, "AAPL230721C00140000"),
    ]


def test_a_leg_that_is_not_understood_stands_beside_the_others() -> None:
    found = option_events.read([ALPACAS[0] | {"qty": "two"}, ALPACAS[0] | {"symbol": "AAPL"}, *ALPACAS[:2]])
    assert len(found) == 2 and [row.listed for row in found.unread] == ["activities"] * 2


# the account that held it ------------------------------------------------------------------------------


class Holder(Inbox):
    """An account that bought contracts of NVDA that expire today, at 2.03."""

    def __init__(self, action: str = "BUY_CALL") -> None:
        super().__init__()
        self.start().signal("NVDA", action)
        self.bought = self.of("orders")[0]
        self.fill(self.bought)
        self.contract, self.qty = self.bought["instrument"], self.bought["qty"]
        self.now = at("2026-02-17T16:10:00-05:00")

    def activity(self, kind: str, qty: D | int, price: str = "0", **changes: Any) -> None:
        fields = {"activity_id": "a1", "activity_type": kind, "date": day("2026-02-17"), "qty": D(qty)}
        fields |= {"instrument": self.contract, "price": D(price), "contract": None}
        self.put("InboxActivity", **(fields | changes))

    def exercised(self, shares: int, price: str) -> None:
        self.activity("OPEXC", -self.qty)
        self.activity("OPTRD", shares, price, instrument="NVDA", contract=self.contract)

    def position(self, instrument: str) -> dict[str, Any]:
        return [each for each in self.of("positions") if each["instrument"] == instrument][-1]


def test_an_expired_contract_is_closing_until_its_activity_is_seen_and_no_clock_closes_it() -> None:
    inbox = Holder()
    assert inbox.position(inbox.contract)["state"] == "OPEN"
    inbox.put("InboxTick")
    assert inbox.position(inbox.contract)["state"] == "CLOSING"
    published = len(inbox.of("positions"))
    inbox.now = NEXT_OPEN + 60 * MINUTE
    inbox.put("InboxTick")
    inbox.put("InboxBroker", positions=[], open_orders=[], request_id="")
    assert len(inbox.of("positions")) == published
    assert (inbox.position(inbox.contract)["qty"], inbox.position(inbox.contract)["state"]) == (
        inbox.qty,
        "CLOSING",
    )
    assert unpack(inbox.state).differences == ["NVDA"]
    inbox.activity("OPEXP", -inbox.qty)
    ended = inbox.position(inbox.contract)
    assert (ended["qty"], ended["state"]) == (0, "CLOSED")
    assert ended["realised"] == -inbox.bought["limit_price"] * inbox.qty * 100
    inbox.put("InboxBroker", positions=[], open_orders=[], request_id="")
    assert unpack(inbox.state).differences == []


def test_a_contract_of_yesterday_does_not_stop_other_symbols_for_want_of_a_mark() -> None:
    inbox = Holder()
    inbox.now = NEXT_OPEN + 60 * MINUTE
    inbox.signal("AMD", signal_id="sg_next_day")
    assert failed(inbox.of("proposals")[-1]) == []
    assert inbox.contract not in {asked["instrument"] for asked in inbox.requests("FETCH_QUOTE")[-3:]}


def test_an_exercised_call_becomes_our_shares_at_the_strike() -> None:
    inbox = Holder()
    inbox.exercised(int(inbox.qty) * 100, "100")
    option, shares = inbox.position(inbox.contract), inbox.position("NVDA")
    assert (option["qty"], option["realised"]) == (0, -inbox.bought["limit_price"] * inbox.qty * 100)
    assert (shares["qty"], shares["average_cost"], shares["state"]) == (inbox.qty * 100, 100, "OPEN")
    assert (shares["owner"], shares["strategy"], shares["kind"]) == ("TAPEDECK", "day_trade", "STOCK")
    told = [(each["source"], each["instrument"], each["price"]) for each in inbox.of("executions")[1:]]
    assert told == [("ACTIVITY", inbox.contract, 0), ("ACTIVITY", "NVDA", 100)]
    inbox.broker_positions = [{"instrument": "NVDA", "qty": inbox.qty * 100}]
    inbox.put("InboxBroker", positions=inbox.broker_positions, open_orders=[], request_id="")
    assert unpack(inbox.state).differences == []


def test_shares_that_come_in_a_day_late_are_counted_from_the_last_mark_of_their_stock() -> None:
    inbox = Holder()
    inbox.now = NEXT_OPEN + 60 * MINUTE
    inbox.exercised(int(inbox.qty) * 100, "100")
    assert unpack(inbox.state).books["NVDA"].prior_mark == 100
    inbox.broker_positions = [{"instrument": "NVDA", "qty": inbox.qty * 100}]
    inbox.signal("AMD", signal_id="sg_next_day")
    assert "DAILY_PNL_UNKNOWN" not in failed(inbox.of("proposals")[-1])


def test_an_exercised_put_without_shares_is_an_unexpected_short() -> None:
    inbox = Holder(action="BUY_PUT")
    inbox.exercised(-int(inbox.qty) * 100, "100")
    assert inbox.position("NVDA")["qty"] == -inbox.qty * 100
    assert (inbox.of("accounts")[-1]["alarm"], inbox.of("accounts")[-1]["kill_state"]) == (
        "UNEXPECTED_SHORT",
        "REDUCING",
    )


def test_a_persons_contract_becomes_a_persons_shares() -> None:
    inbox = Inbox().start()
    theirs = {"client_order_id": "by-hand", "instrument": "AMD260217C00100000", "side": "BUY"}
    inbox.execute(theirs, "x1", "1", "2")
    fields = {"date": day("2026-02-17"), "activity_id": "a1"}
    inbox.put(
        "InboxActivity",
        **fields,
        activity_type="OPEXC",
        instrument="AMD260217C00100000",
        qty=D(-1),
        price=D(0),
    )
    inbox.put(
        "InboxActivity", **fields, activity_type="OPTRD", instrument="AMD", qty=D(100), price=D(100),
        contract="AMD260217C00100000",
    )  # fmt: skip
    shares = inbox.of("positions")[-1]
    assert (shares["instrument"], shares["owner"], shares["strategy"]) == ("AMD", "EXTERNAL", "day_trade")


def test_a_contract_that_ended_twice_over_never_becomes_a_short() -> None:
    inbox = Holder()
    inbox.activity("OPEXP", -inbox.qty)
    inbox.activity("OPEXP", -inbox.qty)
    inbox.activity("OPEXP", inbox.qty, activity_id="a2")
    assert [drop.reason for drop in inbox.drops] == ["DUPLICATE_EXECUTION"]
    assert inbox.position(inbox.contract)["qty"] == 0
    assert unpack(inbox.state).alarm is None


def _held(inbox: Inbox) -> dict[str, list[Position]]:
    turn = Turn(inbox.stage._rules, inbox.stage._calendar, unpack(inbox.state))
    return {name: folded(turn, name).positions for name in sorted(turn.state.books)}


DELIVERIES = range(6)


def _deliver(which: list[int]) -> dict[str, list[Position]]:
    """Two partial fills of our order, a person's fill, the exercise of ours and the expiry of theirs."""
    inbox = Inbox().start()
    inbox.signal()
    ours = inbox.of("orders")[0]
    theirs = ours | {"client_order_id": "by-hand", "instrument": AMD_PUT}
    morning, evening = inbox.now, at("2026-02-17T16:10:00-05:00")
    leg = {"date": day("2026-02-17"), "activity_id": "a1", "price": D(0)}
    inbox.now = evening
    for number in which:
        match number:
            case 0 | 1:
                when = morning + number * MINUTE
                inbox.execute(ours, f"x{number}", str(number + 1), f"2.0{number}", executed_at=when)
            case 2:
                inbox.execute(theirs, "y", "4", "1.00", executed_at=morning)
            case 3:
                inbox.put(
                    "InboxActivity", **leg, activity_type="OPEXC", instrument=ours["instrument"], qty=D(-3)
                )
            case 4:
                shares = {
                    "instrument": "NVDA",
                    "qty": D(300),
                    "price": D(100),
                    "contract": ours["instrument"],
                }
                inbox.put("InboxActivity", **(leg | shares), activity_type="OPTRD")
            case 5:
                inbox.put("InboxActivity", **leg, activity_type="OPEXP", instrument=AMD_PUT, qty=D(-4))
    return _held(inbox)


EXPECTED = _deliver(list(DELIVERIES))


@settings(max_examples=30, deadline=None)
@given(st.permutations(DELIVERIES), st.lists(st.sampled_from(DELIVERIES), max_size=6))
def test_any_order_and_repetition_of_deliveries_gives_the_same_positions(
    first: list[int], again: list[int]
) -> None:
    found = _deliver([*first, *again])
    assert found == EXPECTED
    assert [position.qty for positions in found.values() for position in positions] == [0, 300, 0]


def test_what_if_shares_come_of_as_many_contracts_as_the_changed_run_bought() -> None:
    inbox = Holder()
    inbox.exercised(int(inbox.qty) * 100, "100")
    corrected = Corrected(frozenset({inbox.bought["client_order_id"]}), {})
    smaller = unpack(None)
    smaller.orders[inbox.bought["client_order_id"]] = replace(
        next(iter(unpack(inbox.state).orders.values())), qty=inbox.qty - 1, executed=D(0)
    )
    rows = [row for row in inbox.rows if payload_of(row)[0] in ("InboxExecution", "InboxActivity")]
    fill, option, shares = (corrected.row(row, smaller) for row in rows)
    assert fill is not None and payload_of(fill)[1]["qty"] == inbox.qty - 1
    assert option is not None and shares is not None
    assert payload_of(shares)[1]["qty"] == (inbox.qty - 1) * 100

    none = Corrected(frozenset({inbox.bought["client_order_id"]}), {})
    assert [none.row(row, unpack(None)) is None for row in rows] == [True, False, True]
    broker = inbox.row("InboxBroker", {"positions": [{"instrument": "NVDA", "qty": inbox.qty * 100}],
                                       "open_orders": [], "request_id": "", "error": None})  # fmt: skip
    seen = none.row(broker, unpack(None))
    assert seen is not None
    assert [at["qty"] for at in payload_of(seen)[1]["positions"] if at["qty"]] == []
