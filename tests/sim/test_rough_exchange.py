"""Sessions of the dispatchers against an exchange that misbehaves as Alpaca does, and worse."""

from functools import cache

import pytest

from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.tempers import ROUGH, Profile
from tests.support.cases import few
from tests.support.paths import CONFIG
from tests.support.rough_exchange import RoughSession, Watch, held_at_the_close, judge, told

SEEDS, SHORT = range(200), 20
ROUGH_KINDS = {chance.fault for chance in ROUGH} - {Fault.LIQUIDATION}
"""The contracts that these sessions trade expire a day later: nothing is left for the broker to close."""

pytestmark = pytest.mark.slow


@cache
def session(seed: int) -> RoughSession:
    run = RoughSession(seed)
    run.play().rest(10)
    return run


@pytest.mark.parametrize("seed", few(SEEDS, SHORT))
def test_each_order_exists_once_and_both_sides_agree_whatever_the_exchange_does(seed: int) -> None:
    run = session(seed)
    assert sum(run.faults.fired.values()) > 5, "nothing went wrong"
    assert run.signals and any(run.exchange.books[each.broker_account_id].orders for each in CONFIG.accounts)
    assert judge(run) == []
    assert not any(held_at_the_close(run).values()), "a day trade was held over the close"


def test_every_kind_of_the_rough_temper_happened() -> None:
    """Over the short list of seeds; each kind is counted where it struck, and printed."""
    fired = [session(seed).faults.fired for seed in SEEDS[:SHORT]]
    print(told(fired))
    missing = ROUGH_KINDS - {fault for counts in fired for fault in counts}
    assert not missing, f"these never happened: {sorted(missing)}"


def test_a_calm_session_has_no_fault_and_passes_the_same_judge() -> None:
    run = RoughSession(0, Profile.CALM)
    run.play().rest(10)
    assert not run.faults.fired
    assert judge(run) == []
    assert run.watch.highest["large", "max_positions"] > 0


class Spoiled(RoughSession):
    """A session whose accounts are right, and whose books are then made wrong."""

    def __init__(self) -> None:
        super().__init__(1, Profile.CALM)
        self.play().rest(10)


@cache
def spoiled() -> Spoiled:
    return Spoiled()


def test_the_judge_sees_a_position_that_only_one_side_has(monkeypatch: pytest.MonkeyPatch) -> None:
    run = spoiled()
    held = [{"symbol": "NVDA", "qty": "7"}]
    monkeypatch.setattr(run.exchange, "positions", lambda number: held)
    assert all("holds {}" in each for each in judge(run)) and len(judge(run)) == len(CONFIG.accounts)


def test_the_judge_sees_an_order_that_was_sent_again_without_a_question() -> None:
    run = spoiled()
    journal = run.exchange.door.journal
    first = next(each for each in journal if each.operation == "submit")
    journal.append(first._replace(outcome=422))
    try:
        assert any("was sent again after 0 questions" in each for each in judge(run))
        journal[-1] = first
        assert any("was accepted 2 times" in each for each in judge(run))
    finally:
        journal.pop()
    assert judge(run) == []


def test_the_judge_allows_the_same_id_after_four_definite_answers_that_there_is_no_such_order() -> None:
    run = spoiled()
    journal, kept = run.exchange.door.journal, list(run.exchange.door.journal)
    lost = kept[0]._replace(operation="submit", subject="td1-lost", outcome=0, told=Fault.DROP_BEFORE)
    asked = lost._replace(operation="order", outcome=404, told=None)
    arrived = lost._replace(outcome=200, told=None)
    wrong: dict[int, list[str]] = {}
    for questions in (3, 4):
        journal.clear()
        journal.extend([lost, *[asked] * questions, arrived])
        wrong[questions] = [each for each in judge(run) if "sent again" in each]
    journal.clear()
    journal.extend(kept)
    assert len(wrong[3]) == 1 and wrong[4] == []


def test_the_judge_sees_a_limit_that_was_passed() -> None:
    tight = tuple(each.model_copy(update={"max_positions": 1}) for each in CONFIG.accounts)
    run = RoughSession(1, Profile.CALM)
    run.watch = Watch(run.exchange, tight)
    run.play().rest(10)
    assert any("max_positions" in each for each in judge(run))
