"""The rate budget: a minute's calls, the reserve that openings cannot use, and a refusal's reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.broker import Doubt, RateLimited
from tapedeck.connectors.dispatch.budget import RESERVED_FOR, Budget, CallKind, paced
from tapedeck.connectors.paper.faults import Fault
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tests.support.hands import Hands
from tests.support.paper import exchange


class Seconds:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spend(budget: Budget, kind: CallKind, wanted: int) -> int:
    """How many of ``wanted`` calls were allowed; those are made."""
    made = 0
    for _ in range(wanted):
        if budget.may(kind):
            budget.spent()
            made += 1
    return made


def test_openings_end_at_four_fifths_and_cancels_and_closes_use_the_rest() -> None:
    budget = Budget(Seconds())
    assert spend(budget, CallKind.OPEN, 500) == 160
    assert budget.refused[CallKind.OPEN] == 340
    assert spend(budget, CallKind.READ, 1) == 0
    assert spend(budget, CallKind.CANCEL, 30) == 30
    assert spend(budget, CallKind.CLOSE, 500) == 10
    assert not any(budget.may(kind) for kind in CallKind)


def test_the_default_reserve_is_that_of_the_configuration() -> None:
    by_config = Budget(Seconds(), reserve=Config().order.close_reserve)
    assert by_config.left(CallKind.OPEN) == Budget(Seconds()).left(CallKind.OPEN) == 160


def test_a_call_counts_for_a_minute_and_no_longer() -> None:
    clock = Seconds()
    budget = Budget(clock, per_minute=10)
    assert spend(budget, CallKind.OPEN, 9) == 8
    assert budget.wait_s(CallKind.OPEN) == 60.0
    assert budget.wait_s(CallKind.CLOSE) == 0.0
    clock.now += 59.9
    assert not budget.may(CallKind.OPEN)
    clock.now += 0.1
    assert spend(budget, CallKind.OPEN, 9) == 8


def test_a_refused_rate_stops_everything_until_its_reset() -> None:
    clock = Seconds()
    budget = Budget(clock)
    budget.limited(7.0)
    assert not budget.may(CallKind.CANCEL)
    assert budget.wait_s(CallKind.CANCEL) == 7.0
    budget.limited(2.0)
    clock.now += 6.9
    assert not budget.may(CallKind.CANCEL), "a later refusal does not shorten an earlier one"
    clock.now += 0.1
    assert budget.may(CallKind.CANCEL)


def test_a_broker_that_refuses_the_rate_closes_the_budget_until_its_reset_and_no_other_error_does() -> None:
    clock, hands = Seconds(), Hands(exchange())
    budget = Budget(clock)
    broker = paced(hands.broker, budget)
    assert broker.base_url == hands.broker.base_url
    hands.paper.faults.arm(Fault.GATEWAY_TIMEOUT_BEFORE)
    with pytest.raises(Doubt):
        broker.clock()
    assert budget.may(CallKind.READ)
    hands.paper.faults.arm(Fault.RATE_LIMIT, seconds=9)
    with pytest.raises(RateLimited):
        broker.order_by_client_id("a")
    assert not budget.may(CallKind.CANCEL)
    assert budget.wait_s(CallKind.CANCEL) == 9.0


@pytest.mark.parametrize(("told", "waits"), [(None, 1.0), (-5.0, 0.0), (1e9, 120.0)])
def test_a_reset_that_says_nothing_or_too_much_is_bounded(told: float | None, waits: float) -> None:
    budget = Budget(Seconds())
    budget.limited(told)
    assert budget.wait_s(CallKind.OPEN) == waits


def test_several_calls_are_asked_for_at_once() -> None:
    budget = Budget(Seconds(), per_minute=5, reserve=0.0)
    assert budget.may(CallKind.CANCEL, 5)
    assert not budget.may(CallKind.CANCEL, 6)
    budget.spent(3)
    assert not budget.may(CallKind.CANCEL, 3)
    assert budget.may(CallKind.CANCEL, 2)


@pytest.mark.parametrize(("per_minute", "reserve"), [(0, 0.2), (10, 1.0), (10, -0.1)])
def test_a_budget_that_allows_nothing_is_refused(per_minute: int, reserve: float) -> None:
    with pytest.raises(Fatal, match="rate budget"):
        Budget(Seconds(), per_minute=per_minute, reserve=reserve)


_steps = st.lists(st.tuples(st.sampled_from(list(CallKind)), st.floats(0, 20)), max_size=200)


@given(_steps)
def test_no_minute_ever_has_more_calls_than_allowed_and_openings_leave_the_reserve(
    steps: list[tuple[CallKind, float]],
) -> None:
    clock = Seconds()
    budget = Budget(clock, per_minute=10)
    made: list[tuple[float, CallKind]] = []
    for kind, wait in steps:
        clock.now += wait
        if budget.may(kind):
            assert budget.wait_s(kind) == 0.0
            budget.spent()
            made.append((clock.now, kind))
        else:
            assert budget.wait_s(kind) > 0
    for end, kind in made:
        window = [each for each in made if end - 60 < each[0] <= end]
        assert len(window) <= 10
        if kind not in RESERVED_FOR:
            before = [each for each in made[: made.index((end, kind))] if each[0] > end - 60]
            assert len(before) < 8
