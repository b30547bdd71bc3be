"""The volatility index and coming earnings at an account: what they gate, size and close, and from when."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.state import unpack
from tests.support.account import TODAY, Inbox, at, failed, gates_of

ON: dict[str, Any] = {"regime": {"enabled": True}}
MARCH, JUNE = "NVDA260320C00150000", "NVDA260618C00150000"
ELEVEN, W0, W1 = (at(f"2026-02-17T{clock}:00-05:00") for clock in ("11:00", "14:30", "15:00"))
FRIDAY = TODAY + 3


def held(clock: int, *, rules: dict[str, Any] | None = None, at_price: str = "1.40") -> Inbox:
    """An account with a swing option that nothing else closes: far from expiry, a gain that may stay."""
    inbox = Inbox(now=clock, rules=rules).start()
    theirs = {"client_order_id": "theirs", "instrument": MARCH, "side": "BUY"}
    inbox.execute(theirs, "x", "2", at_price)
    inbox.pass_time(30).put("InboxTick")
    return inbox


def tick(inbox: Inbox, seconds: float = 10) -> Inbox:
    inbox.pass_time(seconds).put("InboxTick")
    return inbox


def rules_of(inbox: Inbox) -> list[str]:
    return [each["rule"] for exit_ in inbox.of("exits") for each in exit_["triggers"]]


def told_of(inbox: Inbox, kind: str) -> str:
    """The event_id of the newest inbox record of its kind."""
    found = [row.body["event_id"] for row in inbox.rows if row.body["payload"][0].endswith(kind)]
    return str(found[-1])


def warnings(inbox: Inbox) -> list[str]:
    found: list[str] = inbox.of("accounts")[-1]["warnings"]
    return found


# gates and sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "old_s", "reason"),
    [
        (18.0, 0, None), (39.9, 0, None), (40.0, 0, "REGIME_EXTREME"),
        (18.0, 900, None), (18.0, 901, "REGIME_UNKNOWN"), (None, 0, "REGIME_UNKNOWN"),
    ],
)  # fmt: skip
def test_gate_9_judges_the_value_that_the_account_was_told(
    value: float | None, old_s: int, reason: str | None
) -> None:
    inbox = Inbox(rules=ON).start()
    if value is not None:
        inbox.regime(value, at=inbox.now - old_s * SECOND_US)
    inbox.signal(confidence=0.8)
    gate = gates_of(inbox.of("proposals")[-1])["volatility_regime"]
    assert (gate["applies"], gate["passed"]) == (True, reason is None)
    assert gate["reason"] == (reason or "OK")


def test_an_elevated_regime_halves_the_size_lowers_the_confidence_and_is_an_input() -> None:
    sizes = {}
    for value in (18.0, 25.0):
        inbox = Inbox(rules=ON).start()
        inbox.regime(value)
        told = inbox.rows[-1].body["event_id"]
        inbox.signal(action="BUY_STOCK")
        found = inbox.of("proposals")[-1]
        sizes[value] = (found["quantity"], gates_of(found)["confidence"]["observed"])
        assert told in found["inputs"]
    assert (sizes[18.0][0], sizes[25.0][0]) == (249, 124)
    assert (sizes[18.0][1], sizes[25.0][1]) == ("0.800000", "0.640000")


def test_with_the_rules_off_a_value_changes_nothing() -> None:
    inbox = Inbox().start()
    inbox.regime(55.0)
    told = inbox.rows[-1].body["event_id"]
    inbox.signal()
    proposal = inbox.of("proposals")[-1]
    assert proposal["verdict"] == "APPROVED" and failed(proposal) == []
    assert gates_of(proposal)["volatility_regime"]["applies"] is False
    assert told not in proposal["inputs"]


def test_a_value_of_an_earlier_moment_that_comes_later_is_not_newer() -> None:
    inbox = Inbox(rules=ON).start()
    inbox.regime(18.0, at=inbox.now - 60 * SECOND_US)
    inbox.regime(55.0, at=inbox.now - 120 * SECOND_US, available_at=inbox.now)
    assert unpack(inbox.state).index.value == 18.0  # type: ignore[union-attr]
    inbox.regime(19.0, at=inbox.now - 60 * SECOND_US, available_at=inbox.now)
    assert unpack(inbox.state).index.value == 19.0, "a correction of the same moment is"  # type: ignore[union-attr]


def test_nothing_counts_before_it_is_available() -> None:
    inbox = Inbox(rules=ON).start()
    inbox.regime(18.0, at=inbox.now - SECOND_US, available_at=inbox.now + SECOND_US)
    inbox.earnings("NVDA", TODAY, "AFTER_CLOSE", available_at=inbox.now + SECOND_US)
    assert [drop.reason for drop in inbox.drops] == ["FROM_THE_FUTURE"] * 2
    state = unpack(inbox.state)
    assert state.index is None and state.reports == {}


# exits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "closed"), [(39.99, False), (40.0, True)])
def test_an_extreme_regime_closes_options_from_the_first_window_on(value: float, closed: bool) -> None:
    inbox = held(ELEVEN, rules=ON)
    inbox.regime(45.0)
    assert rules_of(tick(inbox)) == [], "not before the window"
    inbox.now = W0
    inbox.regime(value)
    assert rules_of(inbox) == (["EOD_EXTREME_REGIME"] if closed else [])
    if closed:
        exit_, told = inbox.of("exits")[-1], told_of(inbox, "InboxRegime")
        assert exit_["chosen"] == "EOD_EXTREME_REGIME" and told in exit_["inputs"]
        assert len(set(exit_["inputs"])) == len(exit_["inputs"])


def test_an_extreme_value_that_is_too_old_closes_nothing_and_one_is_warned_of() -> None:
    inbox = held(W0, rules=ON)
    inbox.regime(45.0, at=W0 - 901 * SECOND_US, available_at=W0)
    assert rules_of(tick(inbox)) == []
    assert warnings(inbox) == ["REGIME_UNKNOWN:regime"]
    inbox.regime(20.0)
    assert warnings(inbox) == []


def test_with_the_rules_off_an_extreme_value_closes_nothing() -> None:
    inbox = held(W0)
    inbox.regime(55.0)
    assert rules_of(tick(inbox)) == [] and warnings(inbox) == []


@pytest.mark.parametrize(
    ("report", "closed"),
    [
        ((TODAY, "AFTER_CLOSE"), True),
        ((TODAY, "BEFORE_OPEN"), False),
        ((TODAY, "IN_SESSION"), False),
        ((TODAY + 1, "BEFORE_OPEN"), True),
        ((TODAY + 1, "IN_SESSION"), False),
        ((TODAY + 1, "AFTER_CLOSE"), False),
        ((TODAY + 2, "BEFORE_OPEN"), False),
        ((None, "NONE"), False),
    ],
)
def test_options_are_closed_before_earnings_that_come_tonight(
    report: tuple[int | None, str], closed: bool
) -> None:
    inbox = held(W0)
    inbox.earnings("NVDA", *report)
    assert rules_of(tick(inbox)) == [], "not before the second window"
    assert warnings(inbox) == []
    inbox.now = W1
    assert rules_of(tick(inbox, 0)) == (["EOD_EARNINGS"] if closed else [])
    if closed:
        assert told_of(inbox, "InboxEarnings") in inbox.of("exits")[-1]["inputs"]


@pytest.mark.parametrize(
    "report",
    [
        (TODAY, "UNKNOWN"), (TODAY + 1, "UNKNOWN"), (TODAY, "UNRECOGNISED"),
        (TODAY - 1, "AFTER_CLOSE"), (None, "UNKNOWN"),
    ],
)  # fmt: skip
def test_what_is_not_known_of_earnings_closes_nothing_and_is_warned_of(
    report: tuple[int | None, str],
) -> None:
    inbox = held(W1)
    inbox.earnings("NVDA", *report)
    assert rules_of(tick(inbox)) == []
    assert warnings(inbox) == ["EARNINGS_UNKNOWN:NVDA"]
    inbox.earnings("NVDA", TODAY + 30, "AFTER_CLOSE")
    assert warnings(inbox) == []


def test_earnings_over_a_weekend_come_before_the_next_open() -> None:
    friday = at("2026-02-20T15:00:00-05:00")
    for day, closed in ((FRIDAY + 1, True), (FRIDAY + 3, False)):
        inbox = held(friday)
        inbox.earnings("NVDA", day, "IN_SESSION")
        assert rules_of(tick(inbox)) == (["EOD_EARNINGS"] if closed else [])


def test_earnings_of_another_symbol_and_shares_are_left_alone() -> None:
    inbox = held(W1)
    inbox.earnings("AMD", TODAY, "AFTER_CLOSE")
    assert rules_of(tick(inbox)) == [] and warnings(inbox) == []
    shares = Inbox(now=W1).start()
    shares.execute({"client_order_id": "t", "instrument": "NVDA", "side": "BUY"}, "x", "2", "100")
    shares.earnings("NVDA", TODAY, "AFTER_CLOSE")
    assert rules_of(tick(shares)) == []


def test_an_account_that_is_told_nothing_decides_and_remembers_as_before() -> None:
    inbox = held(W1)
    assert rules_of(tick(inbox)) == [] and warnings(inbox) == []
    assert inbox.state is not None and b"reports" not in inbox.state and b"index" not in inbox.state
    assert unpack(inbox.state).books[MARCH].executions[0].qty == D(2)


def test_with_the_session_earnings_are_kept_of_what_is_held_only() -> None:
    inbox = held(W1)
    inbox.earnings("AMD", TODAY + 9, "AFTER_CLOSE")
    inbox.earnings("NVDA", TODAY + 9, "AFTER_CLOSE")
    inbox.now = at("2026-02-18T09:30:00-05:00")
    inbox.put("InboxTick")
    assert list(unpack(inbox.state).reports) == ["NVDA"]
