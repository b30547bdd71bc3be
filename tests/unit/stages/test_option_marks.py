"""What an option is worth: its quote, else its last trade, each only while it is young; and its theta."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.state import unpack
from tests.support.account import Inbox, at

HELD, SOON, LATER = "NVDA260227C00150000", "NVDA260219C00150000", "NVDA260227P00150000"
HOUR = 3_600


class Book:
    """An account that holds two of one contract, bought at 2.00, and gets the answers that a test names."""

    def __init__(self, instrument: str = HELD, when: str = "2026-02-17T11:00:00-05:00") -> None:
        self.instrument = instrument
        self.inbox = Inbox(now=at(when)).start()
        self.inbox.answers = False
        bought = {"client_order_id": "theirs", "instrument": instrument, "side": "BUY"}
        self.inbox.execute(bought, "x", "2", "2.00")

    def told(self, **answer: Any) -> "Book":
        """A tick, and the answer to what it asked; ages are in seconds."""
        fields: dict[str, Any] = {"bid": None, "ask": None, "quote_time": None}
        for name in ("quote", "trade"):
            if (age := answer.pop(f"{name}_age", None)) is not None:
                fields[f"{name}_time"] = self.inbox.now - round(age * SECOND_US)
        before = len(self.inbox.requests("FETCH_QUOTE"))
        self.inbox.put("InboxTick")
        asked = self.inbox.requests("FETCH_QUOTE")
        assert len(asked) >= before and asked[-1]["instrument"] == self.instrument
        self.inbox.quote(asked[-1], **(fields | answer))
        return self

    def later(self, seconds: float) -> "Book":
        self.inbox.pass_time(seconds)
        return self

    @property
    def exits(self) -> list[tuple[str, D | None]]:
        """The rule of each exit, and the mark that it was judged on."""
        return [(each["chosen"], each["mark"]) for each in self.inbox.of("exits")]

    @property
    def pnl(self) -> D | None:
        """The session's, as the account publishes it with a new reading of its balances."""
        self.inbox.snapshot()
        found: D | None = self.inbox.of("accounts")[-1]["session_pnl"]
        return found

    @property
    def theta(self) -> float | None:
        return unpack(self.inbox.state).marks[self.instrument].theta

    @property
    def warnings(self) -> list[str]:
        found: list[str] = self.inbox.of("accounts")[-1]["warnings"]
        return found


LOW = {"trade_price": D("1.00")}
MISSING = [f"MARK_MISSING:{HELD}"]


@pytest.mark.parametrize(
    ("answer", "mark", "warnings"),
    [
        (LOW | {"trade_age": 0}, D("1.00"), []),
        (LOW | {"trade_age": 300}, D("1.00"), []),
        (LOW | {"trade_age": 300.001}, None, MISSING),
        (LOW | {"trade_age": -59}, D("1.00"), []),
        (LOW | {"trade_age": -61}, None, MISSING),
        (LOW | {"trade_age": None}, None, MISSING),
        ({"trade_price": D(0), "trade_age": 1}, None, MISSING),
        (LOW | {"trade_age": 300, "ask": D("0.05"), "quote_age": 1}, D("1.00"), []),
        (LOW | {"trade_age": 300, "bid": D("0.9"), "ask": D("1.0"), "quote_age": 61}, D("1.00"), []),
        (LOW | {"trade_age": 1, "bid": D("0.9"), "ask": D("1.0"), "quote_age": 60}, D("0.95"), []),
        ({"bid": D("0.9"), "ask": D("1.0"), "quote_age": 61}, None, MISSING),
    ],
)
def test_a_mark_from_the_last_trade_only_without_a_fresh_quote_and_while_it_is_young(
    answer: dict[str, Any], mark: D | None, warnings: list[str]
) -> None:
    book = Book().told(**answer)
    assert book.exits == ([] if mark is None else [("HARD_STOP", mark)]), "-50 % or less, or nobody knows"
    assert book.warnings == warnings


def test_a_trade_that_gets_old_is_no_mark_any_more_and_time_rules_still_run() -> None:
    fair = {"trade_price": D("2.00")}
    book = Book().told(**fair, trade_age=0)
    assert book.later(299).told(**fair, trade_age=299).warnings == []
    assert book.later(6).told(**fair, trade_age=305).warnings == MISSING and not book.exits
    book.inbox.now = at("2026-02-17T15:00:00-05:00")
    assert book.told(**fair, trade_age=600).exits == [("EOD_SWING_W1", None)]


def test_the_days_pnl_is_known_from_a_last_trade_and_unknown_without_any() -> None:
    assert Book().told(trade_price=D("1.80"), trade_age=10).pnl == -40
    assert Book().told(trade_price=D("1.80"), trade_age=301).pnl is None


W0 = "2026-02-17T14:30:00-05:00"
QUOTED = {"bid": D("1.98"), "ask": D("2.02"), "quote_age": 1}


@pytest.mark.parametrize(
    ("instrument", "when", "theta", "fires"),
    [
        (SOON, W0, -0.101, True),
        (SOON, W0, -0.1, False),
        (SOON, W0, None, False),
        (SOON, "2026-02-17T14:29:59-05:00", -0.5, False),
        (LATER, W0, -0.5, False),
    ],
)
def test_the_theta_rule_fires_on_the_theta_of_a_quote(
    instrument: str, when: str, theta: float | None, fires: bool
) -> None:
    book = Book(instrument, when).told(**QUOTED, theta=theta)
    assert book.exits == ([("EOD_THETA", D("2.00"))] if fires else []), "above 0.05 of a mark of 2.00 a day"


def test_a_theta_is_kept_until_another_comes_and_over_no_night() -> None:
    book = Book().told(**QUOTED, theta=-0.02)
    assert book.later(10).told(**QUOTED).theta == -0.02, "a quote without greeks"
    assert book.later(10).told(trade_price=D(2), trade_age=5, theta=-0.03).theta == -0.03, "no quote"
    assert book.later(10).told(**QUOTED, theta=-0.04).theta == -0.04
    book.inbox.now = at("2026-02-18T10:00:00-05:00")
    assert book.told(**QUOTED).theta is None, "it grows every night"
    assert book.later(10).told(**QUOTED, theta=-0.09).theta == -0.09


def test_a_position_that_has_only_traded_is_measured_from_its_last_trade_on_the_next_day() -> None:
    book = Book().told(trade_price=D("2.40"), trade_age=10)
    book.inbox.now = at("2026-02-18T10:00:00-05:00")
    book.told(trade_price=D("2.10"), trade_age=10)
    assert book.pnl == (D("2.10") - D("2.40")) * 200
