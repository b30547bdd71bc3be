"""A dispatcher that is killed or frozen in the life of an order, exits included: each order exists once.

The other side is an exchange that misbehaves. An opening and a closing order of each session are struck; if
nothing was filled, nothing was left to close. Other sessions are struck at random, whatever is going on.
"""

from itertools import product

import pytest

from tapedeck.connectors.dispatch.lease import STALE_CALL, STALE_WRITE
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.sim.task import drain
from tests.support.cases import few
from tests.support.judge import judge
from tests.support.killed import (
    ACCOUNT,
    FrozenSession,
    KilledSession,
    Moment,
    RandomStrike,
    StruckSession,
    inbox_kinds,
)
from tests.support.paths import INBOX, OUTPUTS, account_task, copied

SEEDS, RANDOM_SEEDS = 40, 200
ONE_IN = 200
"""One effect of so many, on average, is the last of its process: about seven a session, and up to thirty."""
CASES = list(product(range(SEEDS), Moment))
pytestmark = pytest.mark.slow


def first(*shown: tuple[int, Moment]) -> list[object]:
    """All cases, of which only those shown run in `make test`."""
    return few([*shown, *(case for case in CASES if case not in shown)], len(shown))


def check(run: StruckSession) -> None:
    """The judge's rules; the inbox alone gives the same outputs and state; nothing has two bodies."""
    assert judge(run) == []
    log = copied(run.log, INBOX)
    task = account_task(log, ACCOUNT, run.config)
    drain([task])
    for name in OUTPUTS:
        written = of_messages(name, run.log.messages(name))
        assert not written.conflicts, name
        assert of_messages(name, log.messages(name)).hexdigest() == written.hexdigest(), name
    assert not of_messages(INBOX, run.log.messages(INBOX)).conflicts
    (dispatcher,) = run.dispatchers
    assert of_state(dict(task.disk.items())) == of_state(dict(dispatcher.task.disk.items()))


def struck_where_it_should(run: StruckSession) -> None:
    filled = bool(run.exchange.books[run.config.accounts[0].broker_account_id].executions)
    assert set(run.strike.names) == ({"OPEN", "CLOSE"} if filled else {"OPEN"})


@pytest.mark.parametrize("seed, moment", first((1, Moment.SEND), (2, Moment.ANSWER), (3, Moment.COMMIT)))
def test_a_dispatcher_that_is_killed_at_an_order_comes_back_and_each_order_exists_once(
    seed: int, moment: Moment
) -> None:
    run = KilledSession(seed, moment)
    run.play().rest(10)
    check(run)
    struck_where_it_should(run)
    assert run.kills == len(run.strike.names)
    assert [each["lease_epoch"] for each in inbox_kinds(run.log, "InboxStarted")] == list(
        range(1, run.kills + 2)
    )


@pytest.mark.parametrize("seed, moment", first((1, Moment.INTENT), (2, Moment.SEND), (3, Moment.FOLD)))
def test_a_dispatcher_that_is_frozen_past_its_lease_is_refused_when_it_wakes_and_what_it_held_back_is_counted(
    seed: int, moment: Moment
) -> None:
    run = FrozenSession(seed, moment)
    run.play().rest(10)
    check(run)
    struck_where_it_should(run)
    assert len(run.stopped) == len(run.strike.names), "each one that was frozen woke, and ended"
    held_back = STALE_CALL if moment is Moment.SEND else STALE_WRITE
    assert run.stopped == [{held_back: 1}] * len(run.stopped)


@pytest.mark.parametrize("seed", few(range(RANDOM_SEEDS), 3))
def test_a_dispatcher_that_is_killed_at_random_comes_back_each_time_and_each_order_exists_once(
    seed: int,
) -> None:
    run = KilledSession(seed, ONE_IN)
    run.play().rest(10)
    check(run)
    assert isinstance(run.strike, RandomStrike)
    assert run.kills == run.strike.count > 0
    started = [each["lease_epoch"] for each in inbox_kinds(run.log, "InboxStarted")]
    assert started == sorted(set(started)) and started[-1] == run.kills + 1


@pytest.mark.parametrize("seed", few(range(RANDOM_SEEDS), 3))
def test_a_dispatcher_that_is_frozen_at_random_is_refused_when_it_wakes(seed: int) -> None:
    run = FrozenSession(seed, ONE_IN)
    run.play().rest(10)
    check(run)
    assert isinstance(run.strike, RandomStrike)
    assert len(run.stopped) == run.strike.count > 0, "each one that was frozen woke, and ended"
