"""Of several processes that could do a work, the one that does: it holds a lease, and a thread renews it."""

import logging
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol

from tapedeck.agents.settings import Settings
from tapedeck.connectors.beats import touch
from tapedeck.connectors.dispatch.lease import Lease, LeaseHeld, PostgresLeases, new_holder
from tapedeck.schemas.errors import Retry

if TYPE_CHECKING:
    from tapedeck.connectors.alpaca.market.stream import ConnectionLease

log = logging.getLogger("tapedeck.ingest")

RENEW_S = 2.0


class Beside(Protocol):
    """A thread beside this one. ``failed``: what ended it, if it was not asked to end."""

    failed: Exception | None


class LeaseThread:
    """Renews a lease that is held. ``failed``: another process has taken it over."""

    def __init__(self, lease: "ConnectionLease", *, every_s: float = RENEW_S) -> None:
        self._lease, self._every_s = lease, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self.failed: Exception | None = None

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def close(self) -> None:
        """Let the next process in."""
        self._ended.set()
        self._thread.join(RENEW_S)
        with suppress(Retry):
            self._lease.release()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._lease.renew()
            except Retry as error:
                log.warning("the lease was not renewed: %s", error)
            except Exception as error:
                self.failed = error
                return


def lease_of(settings: Settings, stage: str) -> Lease | None:
    """The right to be the one process of ``stage``; it is kept in the audit database."""
    if not settings.database_url:
        log.warning("no database is named, so a second process would not wait for this one")
        return None
    return Lease(PostgresLeases(settings.database_url, settings.prefix), stage, new_holder())


def kept(lease: Lease | None, ending: ExitStack) -> tuple[Beside, ...]:
    """A thread that renews ``lease`` until ``ending``, if there is one."""
    if lease is None:
        return ()
    keeper = LeaseThread(lease)
    keeper.start()
    ending.callback(keeper.close)
    return (keeper,)


def acquired(lease: "ConnectionLease", stop: threading.Event, *, every_s: float = RENEW_S) -> bool:
    """Wait for the lease; False if ``stop`` came first."""
    said = ""
    while not stop.is_set():
        touch()
        try:
            lease.acquire()
            return True
        except LeaseHeld as error:
            words = f"another process does this work, and this one waits: {error.what}"
        except Retry as error:
            words = f"it is not known whether another process does this work: {error.what}"
        if words != said:
            log.info("%s", words)
        said = words
        stop.wait(every_s)
    return False
