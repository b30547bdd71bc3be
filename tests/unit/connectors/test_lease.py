"""The lease of an account: 10 s at a time, refused near its end, lost for good to the next holder."""

import pytest

from tapedeck.connectors.dispatch.lease import (
    STALE_CALL,
    STALE_WRITE,
    Lease,
    LeaseHeld,
    LeaseLost,
    LeaseShort,
    MemoryLeases,
    new_holder,
    uptime,
)


class Uptime:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Uptime:
    return Uptime()


@pytest.fixture
def store(clock: Uptime) -> MemoryLeases:
    return MemoryLeases(clock)


def _lease(store: MemoryLeases, clock: Uptime, holder: str) -> Lease:
    return Lease(store, "tiny", holder, monotonic=clock)


def test_call_is_refused_with_less_than_three_seconds_left(store: MemoryLeases, clock: Uptime) -> None:
    lease = _lease(store, clock, "one")
    assert lease.acquire() == 1
    clock.seconds += 7.0
    lease.check()
    clock.seconds += 0.01
    with pytest.raises(LeaseShort, match=r"3\.0 s left"):
        lease.check()
    lease.renew()
    lease.check()


def test_nobody_else_gets_an_account_that_is_held(store: MemoryLeases, clock: Uptime) -> None:
    _lease(store, clock, "one").acquire()
    with pytest.raises(LeaseHeld, match="held by one"):
        _lease(store, clock, "two").acquire()


def test_two_containers_whose_dispatchers_are_both_process_1_of_one_host_name_never_share_an_account(
    store: MemoryLeases, clock: Uptime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("socket.gethostname", lambda: "dispatcher")
    one, two = new_holder(), new_holder()
    assert one.split(" ", 1)[1] == two.split(" ", 1)[1] == "(pid 1 on dispatcher)"
    first, second = _lease(store, clock, one), _lease(store, clock, two)
    first.acquire()
    clock.seconds += 9.9
    with pytest.raises(LeaseHeld, match=r"held by [0-9a-f]{32} \(pid 1 on dispatcher\)"):
        second.acquire()
    first.renew()
    clock.seconds += 10.0
    assert second.acquire() == 2, "it had run out"
    with pytest.raises(LeaseLost):
        first.renew()


def test_paused_twin_is_fenced(store: MemoryLeases, clock: Uptime) -> None:
    first, second = _lease(store, clock, "one"), _lease(store, clock, "two")
    first.acquire()
    clock.seconds += 10.5  # the first is stopped, say by SIGSTOP, longer than its time
    assert second.acquire() == 2
    with pytest.raises(LeaseShort):
        first.check()  # it knows without asking anybody
    with pytest.raises(LeaseLost):
        first.renew()
    with pytest.raises(LeaseShort):
        first.check()
    second.check()


def test_what_a_holder_may_not_do_once_its_time_is_over_is_counted(
    store: MemoryLeases, clock: Uptime
) -> None:
    lease = _lease(store, clock, "one")
    lease.acquire()
    clock.seconds += 9.9
    with pytest.raises(LeaseShort):
        lease.check()  # too short for a call, and not over
    assert lease.may_write(5) and not lease.stopped
    clock.seconds += 0.1
    assert not lease.may_write(2)
    assert not lease.may_write(1)
    with pytest.raises(LeaseShort):
        lease.check()
    assert lease.stopped == {STALE_WRITE: 3, STALE_CALL: 1}
    assert lease.told() == "1 calls of the broker and 3 records were held back"
    lease.renew()
    assert lease.may_write(1) and lease.stopped.total() == 4


def test_lease_that_ran_out_but_was_not_taken_goes_on(store: MemoryLeases, clock: Uptime) -> None:
    lease = _lease(store, clock, "one")
    lease.acquire()
    clock.seconds += 60
    lease.renew()
    lease.check()


def test_time_counts_from_before_the_store_was_asked(store: MemoryLeases, clock: Uptime) -> None:
    lease = _lease(store, clock, "one")
    take = store.take

    def slow(account_id: str, holder: str, ttl_s: float) -> int:
        clock.seconds += 4
        return take(account_id, holder, ttl_s)

    store.take = slow  # type: ignore[method-assign]
    lease.acquire()
    assert lease.left_s == 6


def test_released_account_is_free_at_once_with_a_higher_epoch(store: MemoryLeases, clock: Uptime) -> None:
    first, second = _lease(store, clock, "one"), _lease(store, clock, "two")
    first.acquire()
    first.release()
    with pytest.raises(LeaseShort):
        first.check()
    assert second.acquire() == 2
    first.release()  # the late release of a past epoch takes nothing away
    with pytest.raises(LeaseHeld):
        first.acquire()


def test_same_holder_takes_its_account_again_after_a_restart(store: MemoryLeases, clock: Uptime) -> None:
    _lease(store, clock, "one").acquire()
    assert _lease(store, clock, "one").acquire() == 2


def test_lease_that_was_never_taken_allows_no_call(store: MemoryLeases, clock: Uptime) -> None:
    with pytest.raises(LeaseShort):
        _lease(store, clock, "one").check()


def test_uptime_moves_on() -> None:
    assert uptime() <= uptime()
