"""Threads beside the one that decides and writes: the reader of a stream, the keeper of a lease."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tapedeck.connectors.alpaca.market.states import Health, State
from tapedeck.connectors.alpaca.market.stream import ConnectionLease, MarketStream
from tapedeck.connectors.dispatch.lease import LeaseHeld
from tapedeck.schemas.errors import Fatal, Retry

log = logging.getLogger("tapedeck.ingest")

RENEW_S = 2.0


class Beside(Protocol):
    """A thread beside this one. ``failed``: what ended it, if it was not asked to end."""

    failed: Exception | None


class StreamThread:
    """Runs a stream on a loop of its own. A refusal that trying again cannot mend is a state, not an end."""

    def __init__(self, stream: MarketStream, health: Health) -> None:
        self._stream, self._health = stream, health
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self.failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self) -> None:
        """End the connection."""
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(3.0)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        async def main() -> None:
            self._task = asyncio.current_task()
            await self._stream.run()

        with suppress(asyncio.CancelledError):
            try:
                self._loop.run_until_complete(main())
            except Fatal as error:
                log.error("the stream is given up: %s", error)
                self._health.set(State.REFUSED, error.remedy or error.what)
            except Exception as error:
                self.failed = error


class LeaseThread:
    """Renews a lease that is held. ``failed``: another process has taken it over."""

    def __init__(self, lease: ConnectionLease, *, every_s: float = RENEW_S) -> None:
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


def acquired(lease: ConnectionLease, stop: threading.Event, *, every_s: float = RENEW_S) -> bool:
    """Wait for the lease; False if ``stop`` came first."""
    said = ""
    while not stop.is_set():
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


def teller(health: Health) -> Callable[[State, str], None]:
    """What a stream reports into: the log has each change, ``health`` the newest."""

    def tell(state: State, detail: str) -> None:
        if state is not health.state:
            log.info("%s: %s", state, detail)
        health.set(state, detail)

    return tell
