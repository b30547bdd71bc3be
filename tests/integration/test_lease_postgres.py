"""Leases in the audit database."""

import time
from collections.abc import Iterator

import pytest

from tapedeck.connectors.dispatch.lease import Lease, LeaseHeld, LeaseLost, PostgresLeases
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.schemas.errors import Fatal, Retry

pytestmark = pytest.mark.integration


@pytest.fixture
def stores(postgres: "object", prefix: str) -> Iterator[tuple[PostgresLeases, PostgresLeases]]:
    url: str = postgres.url  # type: ignore[attr-defined]
    upgrade(url, prefix)
    one, two = PostgresLeases(url, prefix), PostgresLeases(url, prefix)
    yield one, two
    one.close()
    two.close()


def test_one_holder_at_a_time_and_epochs_rise(stores: tuple[PostgresLeases, PostgresLeases]) -> None:
    one, two = Lease(stores[0], "tiny", "one"), Lease(stores[1], "tiny", "two")
    assert one.acquire() == 1
    with pytest.raises(LeaseHeld, match="held by one"):
        two.acquire()
    one.renew()
    one.check()
    one.release()
    assert two.acquire() == 2
    assert Lease(stores[1], "large", "two").acquire() == 1


def test_paused_twin_is_fenced_by_the_next_epoch(stores: tuple[PostgresLeases, PostgresLeases]) -> None:
    one, two = Lease(stores[0], "tiny", "one", ttl_s=0.2), Lease(stores[1], "tiny", "two")
    one.acquire()
    time.sleep(0.3)
    assert two.acquire() == 2
    with pytest.raises(LeaseLost):
        one.renew()
    two.renew()


def test_connection_that_breaks_is_made_anew(stores: tuple[PostgresLeases, PostgresLeases]) -> None:
    lease = Lease(stores[0], "tiny", "one")
    lease.acquire()
    connection = stores[0]._connection
    assert connection is not None
    with PostgresCut(stores[1]) as cut:
        cut.end(connection.info.backend_pid)
    with pytest.raises(Retry):
        lease.renew()
    lease.renew()


class PostgresCut:
    """Ends another session of the database, as a restart of the server would."""

    def __init__(self, store: PostgresLeases) -> None:
        self._store = store

    def __enter__(self) -> "PostgresCut":
        return self

    def __exit__(self, *error: object) -> None:
        self._store.close()

    def end(self, pid: int) -> None:
        import psycopg

        with psycopg.connect(self._store._url) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_a_database_that_was_never_migrated_is_refused_with_the_command_that_does(
    postgres: "object", prefix: str
) -> None:
    url: str = postgres.url  # type: ignore[attr-defined]
    with pytest.raises(Fatal, match="`tape migrate`"):
        PostgresLeases(url, f"{prefix}x").take("tiny", "one", 10)
