"""Sessions of the dispatchers against an exchange that misbehaves as Alpaca does, and worse."""

from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest

from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.tempers import ROUGH, Profile
from tests.support.cases import few
from tests.support.judge import judge, told
from tests.support.rough_exchange import RoughSession

SEEDS, SHORT = range(200), 4
ROUGH_KINDS = {chance.fault for chance in ROUGH} - {Fault.LIQUIDATION}
"""The contracts that these sessions trade expire a day later: nothing is left for the broker to close."""

pytestmark = pytest.mark.slow


class Outcome(NamedTuple):
    """What is kept of a session."""

    wrong: list[str]
    fired: Counter[Fault]
    signals: int
    orders: int


@cache
def outcome(seed: int) -> Outcome:
    run = RoughSession(seed)
    run.play().rest(10)
    orders = sum(len(book.orders) for book in run.exchange.books.values())
    return Outcome(judge(run), run.faults.fired, run.signals, orders)


@pytest.mark.parametrize("seed", few(SEEDS, SHORT))
def test_each_order_exists_once_and_both_sides_agree_whatever_the_exchange_does(seed: int) -> None:
    run = outcome(seed)
    assert sum(run.fired.values()) > 5, "nothing went wrong"
    assert run.signals and run.orders
    assert run.wrong == []


@pytest.mark.long
def test_every_kind_of_the_rough_temper_happened() -> None:
    """Over twenty seeds; each kind is counted where it struck, and printed."""
    fired = [outcome(seed).fired for seed in SEEDS[:20]]
    print(told(fired))
    missing = ROUGH_KINDS - {fault for counts in fired for fault in counts}
    assert not missing, f"these never happened: {sorted(missing)}"


def test_a_calm_session_has_no_fault_and_passes_the_same_judge() -> None:
    run = RoughSession(0, Profile.CALM)
    run.play().rest(10)
    assert not run.faults.fired
    assert judge(run) == []
    assert run.watch.highest["large", "max_positions"] > 0
