"""T30 to T34: the end of a contract, and the end of the day."""

from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.expiry import Listed
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.orders import SELL_TO_OPEN, Order
from tapedeck.connectors.tapes.market import StockQuote
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.occ import Occ, Right, build
from tapedeck.streams.stages.account.rules.orders import Side
from tests.support.account import Inbox, at, day
from tests.support.floor import NUMBER, Floor, FloorMarket
from tests.support.paper import CLOSE, MINUTE, TODAY_CALL, order
from tests.support.reports.registry import case

TWO = D(2)
NEXT_OPEN = CLOSE + 17 * 60 * MINUTE + 30 * MINUTE
COMPARED = 6 * MINUTE
"""Within this a comparison with the broker has come."""


def hand(client: str, instrument: str, side: str) -> dict[str, str]:
    return {"client_order_id": client, "instrument": instrument, "side": side}


def held_to_expiry(listed: Listed, bid: str, ask: str) -> Floor:
    """Two calls of strike 150 that nobody buys before the close, at which NVDA is at ``bid, ask``."""

    def before(paper: PaperExchange) -> None:
        paper.submit(NUMBER, order("theirs", symbol=TODAY_CALL, limit_price="1.10"))
        paper.faults.arm(Fault.NO_FILL, operation="submit", account=NUMBER, count=99, seconds=7200)
        paper.advance(CLOSE - 2 * MINUTE)

    floor = Floor(now=CLOSE - 40 * MINUTE, listed=listed, before=before)
    floor.minute()
    floor.market.price("NVDA", bid, ask)
    floor.minute()
    assert floor.faults.fired[Fault.NO_FILL] > 3 and floor.held() == {TODAY_CALL: TWO}
    return floor


SHORT_LEG, LONG_LEG = "NVDA260217C00145000", TODAY_CALL


def spread_of_today() -> Floor:
    """A person's spread that expires today: one call sold, one bought. Nothing of ours is filled yet."""

    def before(paper: PaperExchange) -> None:
        paper.submit(NUMBER, order("theirs", symbol=LONG_LEG, qty="1", limit_price="1.10"))
        listing = paper.board.listing(SHORT_LEG, paper.now)
        assert listing is not None
        paper.place(
            NUMBER,
            Order(
                id="theirs-2", client_order_id="theirs-2", listing=listing, side=Side.SELL,
                intent=SELL_TO_OPEN, qty=D(1), type="limit", limit_price=D(5), time_in_force="day",
                created_at=paper.now, expires_at=paper.day_ends(listing),
            ),
        )  # fmt: skip
        paper.faults.arm(Fault.NO_FILL, operation="submit", account=NUMBER, count=999, seconds=7200)

    market = FloorMarket()
    market.price(SHORT_LEG, "5.00", "5.10")
    return Floor(now=CLOSE - 65 * MINUTE, market=market, before=before)


@case(30, "on expiry day the broker closes one leg of a spread")
def orphan() -> None:
    floor = spread_of_today()
    assert floor.held() == floor.at_broker() == {LONG_LEG: D(1), SHORT_LEG: D(-1)}
    assert floor.account()["alarm"] == "UNEXPECTED_SHORT", "nothing here opens one"
    floor.until(CLOSE - 31 * MINUTE)
    wanted = {each["instrument"]: each["chosen"] for each in floor.of("exits")}
    assert wanted == {LONG_LEG: "EXPIRY_CLOSE", SHORT_LEG: "EXPIRY_CLOSE"}, "each leg has an exit of its own"
    floor.arm(Fault.LIQUIDATION, "expiry")
    floor.until(CLOSE - 30 * MINUTE).move(5)
    assert floor.faults.fired[Fault.LIQUIDATION] == 1 and SHORT_LEG not in floor.at_broker()
    assert floor.at_broker() == {LONG_LEG: D(1)}
    floor.faults.disarm()
    bought_back = [each for each in floor.executions() if each["instrument"] == SHORT_LEG][-1]
    assert (bought_back["owner"], bought_back["reason"]) == ("EXTERNAL", "BROKER_LIQUIDATION")
    floor.until(CLOSE - 25 * MINUTE)
    assert floor.held() == floor.at_broker() == {}, "the other is sold, and this one not bought again"
    assert floor.position(LONG_LEG)["exit_reason"] == "EXPIRY_CLOSE"
    assert not any(each["side"] == "BUY" and each["filled_qty"] for each in floor.closes())

    inbox = Inbox(now=at("2026-02-17T14:59:50-05:00")).start()
    inbox.execute(hand("theirs-1", LONG_LEG, "BUY"), "x1", "1", "2.00")
    inbox.execute(hand("theirs-2", SHORT_LEG, "SELL"), "x2", "1", "2.00")
    inbox.pass_time(11)
    assert not inbox.of("exits"), "nothing was heard since"
    told = inbox.execute(hand("broker", SHORT_LEG, "BUY"), "x3", "1", "2.00")
    judged = [out.body for out in told if out.topic == "exits"]
    assert [(each["instrument"], each["chosen"]) for each in judged] == [(LONG_LEG, "EXPIRY_CLOSE")], (
        "the execution itself has the rest of the group judged, and no tick is waited for"
    )
    assert inbox.requests("SUBMIT")[-1]["instrument"] == LONG_LEG


@case(31, "an expired option stays in the book")
def expired() -> None:
    for listed in Listed:
        floor = held_to_expiry(listed, "149.00", "149.02")
        floor.until(CLOSE + 2 * COMPARED)
        assert floor.at_broker() == {}
        if listed is Listed.NEXT_SESSION:
            assert floor.position(TODAY_CALL)["state"] == "CLOSING", "its activity is due, and no adjustment"
            floor.jump(NEXT_OPEN).until(NEXT_OPEN + COMPARED)
        ended = floor.executions()[-1]
        assert (ended["source"], ended["price"], ended["reason"]) == ("ACTIVITY", D(0), None)
        assert floor.position(TODAY_CALL)["state"] == "CLOSED"
        assert floor.position(TODAY_CALL)["realised"] == D("-1.10") * 200
        floor.check()
    inbox = Inbox().start()
    inbox.put("InboxBroker", positions=[{"instrument": TODAY_CALL, "qty": D(0)}], open_orders=[])
    assert not inbox.of("positions") and not inbox.of("executions"), "0 of what was never held says nothing"


@case(32, "one leg of an assignment is settled, at a wrong price, and the other one is not")
def exercised() -> None:
    floor = held_to_expiry(Listed.AT_ONCE, "150.99", "151.01")
    floor.arm(Fault.GATEWAY_TIMEOUT_BEFORE, "option_activities", count=2)
    floor.until(CLOSE + COMPARED)
    assert floor.position(TODAY_CALL)["state"] == "CLOSING" and "NVDA" not in floor.held()
    floor.until(CLOSE + 4 * COMPARED)
    assert floor.faults.fired[Fault.GATEWAY_TIMEOUT_BEFORE] == 2, "it is asked again"
    legs = [each for each in floor.executions() if each["source"] == "ACTIVITY"]
    assert {each["instrument"]: (each["side"], each["qty"], each["price"]) for each in legs} == {
        TODAY_CALL: ("SELL", TWO, D(0)),
        "NVDA": ("BUY", D(200), D(150)),
    }, "both legs, the shares at the strike"
    assert len({each["event_time"] for each in legs}) == 1, "of one reading"
    assert floor.held() == {"NVDA": D(200)} == floor.at_broker()
    floor.check()


LATE_CALL = "SPY260217C00150000"


class LateMarket(FloorMarket):
    """SPY beside the others: its options trade 15 minutes longer."""

    def __init__(self) -> None:
        super().__init__()
        self.price("SPY", "149.00", "149.02")
        self.price(LATE_CALL, "1.00", "1.10")

    def symbols(self) -> list[str]:
        return [*super().symbols(), "SPY"]

    def stock_quote(self, symbol: str, now: int) -> StockQuote | None:
        """After the close SPY is far above the strike, which decides nothing."""
        if symbol == "SPY" and now > CLOSE:
            self.price("SPY", "155.00", "155.02")
        return super().stock_quote(symbol, now)


def held_past_the_close() -> Floor:
    """One call of each kind that nobody bought before the close; both are out of the money."""

    def before(paper: PaperExchange) -> None:
        for number, name in enumerate((TODAY_CALL, LATE_CALL)):
            paper.submit(NUMBER, order(f"theirs-{number}", symbol=name, qty="1", limit_price="1.10"))
        paper.faults.arm(Fault.NO_FILL, operation="submit", account=NUMBER, count=999, seconds=7200)

    floor = Floor(now=CLOSE - 40 * MINUTE, market=LateMarket(), before=before)
    floor.market.price("NVDA", "149.00", "149.02")
    floor.until(CLOSE)
    chosen = {each["instrument"]: each["chosen"] for each in floor.of("exits")}
    assert chosen == {TODAY_CALL: "EXPIRY_CLOSE", LATE_CALL: "EXPIRY_CLOSE"}, "an hour before the close"
    floor.until(CLOSE + 12 * MINUTE)
    assert floor.at_broker() == {LATE_CALL: D(1)} == floor.held(), "one has ended, the other still trades"
    assert floor.position(LATE_CALL)["state"] == "CLOSING"
    return floor


def options_that_close_late() -> None:
    """A person sells one at 16:12; the other one is left, and ends at 16:20, worthless at 16:00's price."""
    sold = held_past_the_close()
    sold.faults.disarm()
    sell = {"side": "sell", "position_intent": "sell_to_close", "qty": "1", "limit_price": "1.00"}
    for each in sold.paper.books[NUMBER].working():
        sold.paper.cancel(NUMBER, each.id)
    sold.by_hand("late", symbol=LATE_CALL, **sell)
    sold.until(CLOSE + 30 * MINUTE)
    assert sold.held() == sold.at_broker() == {}
    (end,) = [
        each for each in sold.executions() if each["instrument"] == LATE_CALL and each["side"] == "SELL"
    ]
    assert (end["side"], end["price"]) == ("SELL", 1) and end["source"] != "ACTIVITY", "sold after 16:00"

    left = held_past_the_close()
    left.until(CLOSE + 19 * MINUTE)
    assert left.at_broker() == {LATE_CALL: D(1)}, "not 16:05 for all"
    left.until(CLOSE + 30 * MINUTE)
    (end,) = [
        each for each in left.executions() if each["instrument"] == LATE_CALL and each["side"] == "SELL"
    ]
    assert (end["price"], end["source"]) == (0, "ACTIVITY") and left.held() == left.at_broker() == {}


@case(33, "a contract expires on a short day, or is assigned early, and 16:00 is taken for all")
def expiry_of_each() -> None:
    options_that_close_late()
    half_day = "2026-11-27"
    name = build(Occ("NVDA", day(half_day), Right.CALL, D(150)))
    later = build(Occ("NVDA", day("2026-12-24"), Right.CALL, D(150)))  # a half-day, too, but another one
    for clock, expected in (("11:59:50", []), ("12:00:00", [name])):
        inbox = Inbox(now=at(f"{half_day}T11:40:00-05:00")).start()
        for number, each in enumerate((name, later)):
            inbox.execute(hand("theirs", each, "BUY"), f"x{number}", "1", "2.00")
        inbox.now = at(f"{half_day}T{clock}-05:00")
        inbox.put("InboxTick")
        closing = [each["instrument"] for each in inbox.of("exits") if each["chosen"] == "EXPIRY_CLOSE"]
        assert closing == expected, "an hour before the close of its own last session"

    inbox = Inbox().start()
    sold = hand("theirs", "NVDA260320C00150000", "SELL")
    inbox.execute(sold, "x", "1", "2.00")
    early: dict[str, Any] = {"activity_id": "a", "date": day("2026-02-17"), "qty": D(1), "price": D(0)}
    inbox.pass_time(60).put("InboxActivity", activity_type="OPASN", instrument=sold["instrument"], **early)
    shares = early | {"qty": D(-100), "price": D(150), "contract": sold["instrument"]}
    inbox.put("InboxActivity", activity_type="OPTRD", instrument="NVDA", **shares)
    newest = {each["instrument"]: (each["state"], each["qty"]) for each in inbox.of("positions")}
    assert newest[sold["instrument"]] == ("CLOSED", 0) and newest["NVDA"][1] == -100
    assert inbox.of("accounts")[-1]["alarm"] == "UNEXPECTED_SHORT"


DAYS = {
    "2026-03-06": "16:00:00-05:00", "2026-03-09": "16:00:00-04:00", "2026-10-30": "16:00:00-04:00",
    "2026-11-02": "16:00:00-05:00", "2026-11-27": "13:00:00-05:00", "2026-12-24": "13:00:00-05:00",
}  # fmt: skip
"""Sessions around changes of the clock, and half-days, with their closes."""


@case(34, "the end of the day is a fixed hour of UTC: wrong in winter and on half-days")
def end_of_day() -> None:
    for date, clock in DAYS.items():
        close = at(f"{date}T{clock}")
        session = xnys().session_on(day(date))
        assert session is not None and session.close == close
        inbox = Inbox(now=close - 20 * MINUTE_US).start()
        inbox.execute(hand("theirs", "AMD", "BUY"), "x", "10", "100")
        inbox.now = close - 5 * MINUTE_US - SECOND_US
        inbox.put("InboxTick")
        assert not inbox.of("exits"), f"{date}: too early"
        inbox.pass_time(1).put("InboxTick")
        assert [each["chosen"] for each in inbox.of("exits")] == ["DAY_TRADE_CLOSE"], date
        assert inbox.requests("SUBMIT")[-1]["instrument"] == "AMD"

    holiday = Inbox(now=at("2027-01-15T15:00:00-05:00")).start()
    holiday.execute(hand("theirs", "NVDA270219C00150000", "BUY"), "x", "1", "2.00")
    for hour in range(0, 24, 3):
        holiday.now = at(f"2027-01-18T{hour:02}:00:00-05:00")
        holiday.put("InboxTick")
    holiday.signal("AMD")
    assert holiday.of("proposals")[-1]["primary_reason"] == "SESSION_CLOSED"
    assert not [each for each in holiday.of("exits") if each["event_time"] >= at("2027-01-18T00:00:00-05:00")]
    assert not [each for each in holiday.requests("SUBMIT") if each["instrument"] == "NVDA"]
