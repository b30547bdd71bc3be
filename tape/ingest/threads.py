"""The thread beside the one that decides and writes: the reader of a stream."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from tapedeck.connectors.alpaca.market.states import Health, State
from tapedeck.connectors.alpaca.market.stream import MarketStream
from tapedeck.schemas.errors import Fatal

log = logging.getLogger("tapedeck.ingest")


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


def teller(health: Health) -> Callable[[State, str], None]:
    """What a stream reports into: the log has each change, ``health`` the newest."""

    def tell(state: State, detail: str) -> None:
        if state is not health.state:
            log.info("%s: %s", state, detail)
        health.set(state, detail)

    return tell
