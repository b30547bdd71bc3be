"""Tempers: the same calls meet the same faults, at the rates of the profile."""

from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.paper.tempers import Profile, Temper, temper
from tests.support.hands import NUMBER, Hands, told
from tests.support.paper import MINUTE, SECOND, TEN, exchange

F = Fault


def a_day(seed: int, profile: Profile = Profile.ROUGH) -> Hands:
    """A hundred orders, and cancels, against a temper."""
    hands = Hands(exchange(faults=Faults(temper(profile, seed)), seed=seed))
    for n in range(100):
        hands.buy(f"b{n}", limit_price=D("2.07") if n % 2 else D("2.04"), qty=D(4))
        hands.move(3)
        if hands.state(f"b{n}")[0] not in ("none", "filled", "rejected"):
            hands.cancel(f"b{n}")
        told(hands.held)
        told(hands.broker.open_orders)
        hands.move(MINUTE / SECOND)
    return hands


def test_a_temper_draws_the_same_for_the_same_calls_and_other_things_for_another_seed() -> None:
    first, again, other = a_day(1), a_day(1), a_day(2)
    assert first.heard == again.heard and first.paper.faults.fired == again.paper.faults.fired
    assert list(first.paper.door.journal) == list(again.paper.door.journal)
    assert list(first.paper.door.journal) != list(other.paper.door.journal)
    assert len(first.paper.faults.fired) > 15, first.paper.faults.fired


def test_a_calm_temper_draws_nothing() -> None:
    calm = a_day(1, Profile.CALM)
    assert not calm.paper.faults.fired
    assert calm.paper.faults.temper is None


def test_a_temper_strikes_at_its_rates() -> None:
    rough = Temper(Profile.ROUGH, 3)
    drawn = [rough.seconds(F.CANCEL_PENDING, "cancel", NUMBER) for _ in range(4000)]
    struck = [seconds for seconds in drawn if seconds is not None]
    assert 320 < len(struck) < 480
    assert 1 <= min(struck) < 5 and 85 < max(struck) <= 90
    assert rough.seconds(F.CANCEL_PENDING, "submit", NUMBER) is None


def test_time_runs_the_same_however_often_a_rough_exchange_is_asked() -> None:
    def run(steps: list[int]) -> Any:
        hands = Hands(exchange(faults=Faults(temper(Profile.ROUGH, 5))))
        for n in range(12):
            hands.buy(f"b{n}", limit_price=D("2.07"), qty=D(6))
        for step in steps:
            hands.paper.advance(TEN + step)
        return hands.heard, hands.paper.activities(NUMBER)

    assert run([5 * MINUTE]) == run([SECOND * n for n in range(1, 301)])
