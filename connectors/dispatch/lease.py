"""The right to call the broker for an account: 10 seconds at a time, with an epoch that fences the past.

A holder keeps its own count of what is left, on a clock that also runs while the process or the machine
is suspended; so a paused twin knows that its time is over before it asks anybody. It then neither calls the
broker nor writes anything, and counts what it would have done.
"""

import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import psycopg
from psycopg.rows import TupleRow

from tapedeck.connectors.postgres.connection import connect, schema_name
from tapedeck.schemas.errors import Fatal, Retry

TTL_S = 10.0
LEAST_LEFT_S = 3.0
STALE_CALL, STALE_WRITE = "STALE_CALL", "STALE_WRITE"
"""What a holder whose time was over held back: calls of the broker, and records."""
_LATE_S = 3


def new_holder() -> str:
    """A name for this process: 128 random bits say who it is, the host and the process id where to look.

    Two containers are both pid 1, and two hosts may have one name; no two processes draw the same bits.
    """
    return f"{secrets.token_hex(16)} (pid {os.getpid()} on {socket.gethostname()})"


def uptime() -> float:
    """Seconds on a clock that no pause stops."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class LeaseHeld(Retry):
    """Somebody else holds the account; it may be asked again once their time is over."""


class LeaseShort(Retry):
    """The lease has too little time left for a broker call; nothing was sent. Renew, then call again."""


class LeaseLost(Fatal):
    """Another process has taken the account over: this one must stop."""


class LeaseStore(Protocol):
    """Where leases are kept. All three raise Retry where the store does not answer."""

    def take(self, account_id: str, holder: str, ttl_s: float) -> int:
        """A new epoch, higher than every one before. Raises LeaseHeld while another holder's time runs.

        ``holder`` is one process, as ``new_holder`` names it: the same one may take the account again.
        """
        ...

    def extend(self, account_id: str, epoch: int, ttl_s: float) -> bool:
        """Restart ``ttl_s`` for ``epoch``; False if a later epoch exists."""
        ...

    def drop(self, account_id: str, epoch: int) -> None:
        """End the lease now if it is still this epoch's."""
        ...


class Lease:
    """One process's lease on one account. ``check`` is local; ``acquire`` and ``renew`` ask the store."""

    def __init__(
        self,
        store: LeaseStore,
        account_id: str,
        holder: str,
        *,
        ttl_s: float = TTL_S,
        monotonic: Callable[[], float] = uptime,
    ) -> None:
        self._store = store
        self._account_id = account_id
        self._holder = holder
        self._ttl_s = ttl_s
        self._monotonic = monotonic
        self._until = 0.0
        self.epoch = 0
        self.stopped: Counter[str] = Counter()
        """How much was held back because the time was over, by STALE_CALL and STALE_WRITE."""

    @property
    def left_s(self) -> float:
        """Seconds for which nobody else can hold the account, counted from before the store was asked."""
        return self._until - self._monotonic()

    def acquire(self) -> int:
        """Take the account; returns the epoch. Raises LeaseHeld, or Retry where the store is away."""
        asked = self._monotonic()
        self.epoch = self._store.take(self._account_id, self._holder, self._ttl_s)
        self._until = asked + self._ttl_s
        return self.epoch

    def renew(self) -> None:
        """Renew the lease, every few seconds. Raises LeaseLost, or Retry if the store does not answer."""
        asked = self._monotonic()
        if not self._store.extend(self._account_id, self.epoch, self._ttl_s):
            self._until = 0.0
            raise LeaseLost(
                "another process has taken this account over",
                value=self._account_id,
                remedy="run one dispatcher per account",
            )
        self._until = asked + self._ttl_s

    def check(self) -> None:
        """Called before each broker call. Raises LeaseShort with less than 3 s left."""
        left = self.left_s
        if left < LEAST_LEFT_S:
            self.stopped.update([STALE_CALL] if left <= 0 else [])
            raise LeaseShort(
                f"the lease of {self._account_id} has {max(left, 0.0):.1f} s left",
                remedy="renew it and call again",
            )

    def may_write(self, records: int) -> bool:
        """Whether the time of this holder runs; if not, ``records`` records are held back, and counted."""
        if self.left_s > 0:
            return True
        self.stopped[STALE_WRITE] += records
        return False

    def told(self) -> str:
        """What was held back, in words."""
        calls, records = self.stopped[STALE_CALL], self.stopped[STALE_WRITE]
        return f"{calls} calls of the broker and {records} records were held back"

    def release(self) -> None:
        """Let the next process in at once."""
        if self.epoch:
            self._until = 0.0
            self._store.drop(self._account_id, self.epoch)


class MemoryLeases:
    """A LeaseStore in memory, for the simulator and tests."""

    def __init__(self, monotonic: Callable[[], float] = uptime) -> None:
        self._monotonic = monotonic
        self._rows: dict[str, tuple[int, str, float]] = {}

    def take(self, account_id: str, holder: str, ttl_s: float) -> int:
        now = self._monotonic()
        epoch, owner, until = self._rows.get(account_id, (0, holder, 0.0))
        if owner != holder and until > now:
            raise _held(account_id, owner)
        self._rows[account_id] = (epoch + 1, holder, now + ttl_s)
        return epoch + 1

    def extend(self, account_id: str, epoch: int, ttl_s: float) -> bool:
        newest, owner, _ = self._rows.get(account_id, (0, "", 0.0))
        if newest != epoch:
            return False
        self._rows[account_id] = (epoch, owner, self._monotonic() + ttl_s)
        return True

    def drop(self, account_id: str, epoch: int) -> None:
        newest, owner, _ = self._rows.get(account_id, (0, "", 0.0))
        if newest == epoch:
            self._rows[account_id] = (epoch, owner, 0.0)


_TAKE = """
    INSERT INTO account_leases AS held (account_id, epoch, holder, expires_at)
    VALUES (%(account)s, 1, %(holder)s, clock_timestamp() + make_interval(secs => %(ttl)s))
    ON CONFLICT (account_id) DO UPDATE
    SET epoch = held.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
    WHERE held.expires_at <= clock_timestamp() OR held.holder = excluded.holder
    RETURNING epoch"""
_EXTEND = """
    UPDATE account_leases SET expires_at = clock_timestamp() + make_interval(secs => %(ttl)s)
    WHERE account_id = %(account)s AND epoch = %(epoch)s RETURNING epoch"""
_DROP = """
    UPDATE account_leases SET expires_at = clock_timestamp()
    WHERE account_id = %(account)s AND epoch = %(epoch)s RETURNING epoch"""


class PostgresLeases:
    """The LeaseStore in the audit database; its clock is the server's. One per thread."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self._url = url
        self._prefix = prefix
        self._connection: psycopg.Connection[TupleRow] | None = None

    def take(self, account_id: str, holder: str, ttl_s: float) -> int:
        row = self._run(_TAKE, account=account_id, holder=holder, ttl=ttl_s)
        if row is None:
            owner = self._run(
                "SELECT holder FROM account_leases WHERE account_id = %(account)s", account=account_id
            )
            raise _held(account_id, str(owner[0]) if owner else "somebody")
        return int(row[0])

    def extend(self, account_id: str, epoch: int, ttl_s: float) -> bool:
        return self._run(_EXTEND, account=account_id, epoch=epoch, ttl=ttl_s) is not None

    def drop(self, account_id: str, epoch: int) -> None:
        self._run(_DROP, account=account_id, epoch=epoch)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: str, **values: object) -> TupleRow | None:
        try:
            if self._connection is None:
                self._connection = connect(self._url, self._prefix)
                self._connection.autocommit = True
                self._connection.execute(f"SET statement_timeout = '{_LATE_S}s'")
            return self._connection.execute(statement.encode(), values).fetchone()
        except psycopg.OperationalError as error:
            self.close()
            raise Retry(f"the lease store does not answer: {error}", remedy="check Postgres") from error
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
            self.close()
            raise Fatal(
                f"the database has no leases for this login: {str(error).strip().splitlines()[0]}",
                value=schema_name(self._prefix),
                remedy="run `tape migrate` as the owner of the tables, and GRANT tape_sink to this login",
            ) from error


def _held(account_id: str, owner: str) -> LeaseHeld:
    return LeaseHeld(
        f"the account {account_id} is held by {owner}", remedy="it is free when that lease has expired"
    )
