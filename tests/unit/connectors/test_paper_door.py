"""The exchange's door: arming, the rate of an account, and the journal of what was asked."""

from typing import Any

import pytest

from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.schemas.errors import Fatal
from tests.support.hands import NUMBER, Hands, told
from tests.support.paper import exchange

F = Fault


def test_calls_that_fit_may_be_let_through_first_and_what_is_armed_can_be_seen_and_disarmed() -> None:
    hands = Hands(exchange())
    hands.paper.faults.arm(F.REJECT, skip=1, count=2)
    hands.paper.faults.arm(F.UPDATE_LOST)
    assert hands.paper.faults.armed() == {F.REJECT: 2, F.UPDATE_LOST: 1}
    hands.paper.faults.disarm(F.UPDATE_LOST)
    for name in "abcd":
        hands.buy(name)
    assert [hands.state(name)[0] for name in "abcd"] == ["filled", "rejected", "rejected", "filled"]
    assert hands.paper.faults.armed() == {}


@pytest.mark.parametrize("options", [{"count": 0}, {"seconds": -1}, {"skip": -1}])
def test_a_fault_that_could_never_happen_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Fatal, match="cannot be armed"):
        Faults().arm(F.REJECT, **options)


def test_calls_beyond_a_minutes_number_are_refused_until_the_minute_has_passed() -> None:
    hands = Hands(exchange(calls_per_minute=3))
    assert [told(hands.broker.clock)[:5] for _ in range(4)] == ["Clock", "Clock", "Clock", "RateL"]
    hands.move(59.9)
    assert told(hands.broker.clock) == "RateLimited"
    assert hands.paper.door.early[NUMBER] == 1
    hands.move(0.1)
    assert told(hands.broker.clock)[:5] == "Clock"
    unlimited = Hands(exchange())
    assert all(told(unlimited.broker.clock)[:5] == "Clock" for _ in range(500))


def test_the_journal_keeps_what_was_asked_what_was_done_and_what_was_told() -> None:
    hands = Hands(exchange())
    for fault in (F.GATEWAY_TIMEOUT_BEFORE, F.GATEWAY_TIMEOUT_AFTER):
        hands.paper.faults.arm(fault, operation="submit")
    for _ in range(3):
        hands.buy()
    told(lambda: hands.broker.order_by_client_id("nothing"))
    journal = [(each.operation, each.subject, each.outcome, each.told) for each in hands.paper.door.journal]
    assert journal == [
        ("submit", "a", 0, F.GATEWAY_TIMEOUT_BEFORE),
        ("submit", "a", 200, F.GATEWAY_TIMEOUT_AFTER),
        ("submit", "a", 422, None),
        ("order", "nothing", 404, None),
    ]
