"""One run of a job at a time."""

import fcntl
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol

from tapedeck.connectors.dispatch.lease import LeaseHeld


class JobLease(Protocol):
    """The right to run a job; ``connectors.dispatch.lease.Lease`` is one between machines.

    Such a lease is taken for the run's whole budget: the job does not renew it.
    """

    def acquire(self) -> object:
        """Take it. Raises LeaseHeld while another run has it."""
        ...

    def check(self) -> object:
        """Called before each request. Raises Retry once it is no longer ours."""
        ...

    def release(self) -> object:
        """Let the next run in."""
        ...


class FileLease:
    """A lease among the processes of one machine, by a lock on a file. It ends with its process."""

    def __init__(self, path: Path, job: str) -> None:
        self._path, self._job = path, job
        self._lock: TextIOWrapper | None = None

    def acquire(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._path.open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise LeaseHeld(
                f"the job {self._job} is running already",
                value=str(self._path),
                remedy="nothing to do: the next run begins when that one has ended",
            ) from None
        self._lock = lock

    def check(self) -> None:
        """A lock on a file cannot be lost while its process lives."""

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
