"""The self-test before a market's first quote: that is early, and no failure yet."""

from typing import NoReturn

import pytest

from tapedeck.connectors.broker import NotFound
from tapedeck.connectors.dispatch.selftest import self_test
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import Calendar, xnys
from tests.support.desk import Desk
from tests.support.paper import DAY, LARGE, TEN, exchange


def test_market_without_a_quote_yet_is_early_and_an_unknown_account_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object) -> NoReturn:
        raise NotFound("the broker does not know it")

    account = example_account("large", "large")
    broker = InProcessBroker(exchange(), LARGE.number, account.base_url)
    monkeypatch.setattr(broker, "quote", unknown)
    monkeypatch.setattr(broker, "account", unknown)
    checks = self_test(broker, account, xnys(), "NVDA", TEN)
    assert {check.name: check.early for check in checks if not check.passed} == {
        "account": False,
        "quote": True,
        "chain": True,
    }


def test_a_calendar_that_ends_soon_is_compared_as_far_as_it_goes_and_one_that_has_ended_fails() -> None:
    account = example_account("large", "large")
    broker = InProcessBroker(exchange(), LARGE.number, account.base_url)

    def calendar_check(last: int) -> tuple[bool, str]:
        sessions = (
            found for day in range(DAY - 9, last + 1) if (found := xnys().session_on(day)) is not None
        )
        checks = self_test(broker, account, Calendar(sessions, (DAY - 9, last)), "NVDA", TEN)
        return next((check.passed, check.detail) for check in checks if check.name == "calendar")

    assert calendar_check(DAY) == (True, "1 sessions agree")
    passed, detail = calendar_check(DAY - 1)
    assert not passed and "the calendar covers" in detail and "a newer release" in detail


def test_nothing_is_asked_any_more_once_the_broker_has_refused_the_rate() -> None:
    desk = Desk()
    desk.paper.faults.arm(Fault.RATE_LIMIT, operation="account", seconds=2)
    failed = {check.name: check.detail for check in desk.desk.self_test() if not check.passed}
    assert set(failed) == {"account", "calendar", "quote", "chain"}
    assert all(failed[name].startswith("not asked: ") for name in ("calendar", "quote", "chain"))
    assert not desk.paper.door.early
    desk.move(2)
    assert all(check.passed for check in desk.desk.self_test())
