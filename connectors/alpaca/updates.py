"""The trade-update stream of one account: our own reader, because alpaca-py's does not report its health.

TradingStream swallows a handler's error along with its message, does not watch for silence, and does not
report reconnects. This reader passes every update on, or ends. A lost connection is announced, then retried
with a growing pause. A connection that is silent while an order works is treated as dead.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tapedeck.connectors.alpaca import replies
from tapedeck.connectors.alpaca.trading import require_listed
from tapedeck.connectors.broker import TradeUpdate, UnreadRow
from tapedeck.connectors.credentials import Credentials, Keys, as_keys
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import Mode, is_loopback

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
_ANSWER_S = 5.0
_LOOK_S = 1.0
_PING_S = 10.0

quiet_log = logging.getLogger("tapedeck.wire")
quiet_log.setLevel(logging.CRITICAL)  # at DEBUG the library logs frames, and the first contains the secret
quiet_log.propagate = False


class StreamLost(Exception):
    """The connection to the broker is lost, or treated as dead. The message says why."""


def stream_url(base_url: str) -> str:
    """The websocket's address that belongs to a trading base URL."""
    parts = urlsplit(base_url)
    return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, "/stream", "", ""))


async def heard(line: ClientConnection, within_s: float) -> str | bytes:
    """The next frame. Raises TimeoutError if none comes in time.

    Not ``asyncio.wait_for``: in Python 3.11 it loses a cancellation that arrives together with the frame, and
    the reader would never end.
    """
    async with asyncio.timeout(within_s):
        return await line.recv()


class TradeUpdates:
    """Reads one account's updates until cancelled.

    ``on_update`` gets each update, in order. One that cannot be read arrives as an ``UnreadRow``, so that it
    does not cost the connection. What it raises ends ``run``. ``on_empty``: an update without content came;
    it is silence. ``on_health(healthy, detail)`` reports every
    change. ``working`` tells whether an order works: only then is silence a fault, after ``max_silence_s``.
    Callbacks run in the event loop.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | Keys,
        on_update: Callable[[TradeUpdate | UnreadRow], None],
        on_health: Callable[[bool, str], None],
        *,
        mode: Mode = Mode.PAPER,
        on_empty: Callable[[], None] = lambda: None,
        working: Callable[[], bool] = lambda: False,
        max_silence_s: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        require_listed(base_url, mode)
        self._url = stream_url(base_url)
        self._is_here = is_loopback(base_url)
        self._keys = as_keys(credentials)
        self._on_update = on_update
        self._on_health, self._on_empty = on_health, on_empty
        self._working = working
        self._max_silence_s = max_silence_s
        self._monotonic = monotonic
        self.connections = 0
        self.unreadable = 0
        self.empty = 0

    async def run(self) -> None:
        """Connect, listen, pass updates on; reconnect forever.

        Raises Fatal if credentials are refused at the first connection. Later refusals are told and waited
        out: keys are being replaced, and each try reads them again.
        """
        pause = FIRST_PAUSE_S
        while True:
            listened = self.connections
            try:
                await self._listen()
            except (OSError, WebSocketException, StreamLost, TimeoutError) as error:
                self._on_health(False, f"trade updates lost: {str(error) or type(error).__name__}")
            pause = FIRST_PAUSE_S if self.connections > listened else min(2 * pause, LONGEST_PAUSE_S)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))

    async def _listen(self) -> None:
        options: dict[str, Any] = {
            "ping_interval": _PING_S,
            "ping_timeout": _PING_S,
            "logger": quiet_log,
            "proxy": None if self._is_here else True,
        }
        async with connect(self._url, open_timeout=_ANSWER_S, close_timeout=1.0, **options) as line:
            await self._authenticate(line)
            self.connections += 1
            self._on_health(True, f"trade updates connected, connection {self.connections}")
            spoke_at = self._monotonic()
            while True:
                if await self._speaks(line) or not self._working():
                    spoke_at = self._monotonic()
                elif self._monotonic() - spoke_at >= self._max_silence_s:
                    raise StreamLost(f"silent for {self._max_silence_s:g} s while an order works")

    async def _speaks(self, line: ClientConnection) -> bool:
        """Pass the next frame on. False if none came for a moment, or one that says nothing."""
        try:
            frame = await heard(line, min(_LOOK_S, self._max_silence_s))
        except TimeoutError:
            return False
        empty = self.empty
        update = self._read(frame)
        if update is not None:
            self._on_update(update)
        if self.empty > empty:
            self._on_empty()
        return self.empty == empty

    async def _authenticate(self, line: ClientConnection) -> None:
        used = self._keys.now()
        keys = {"key_id": used.key, "secret_key": used.secret}
        await line.send(json.dumps({"action": "authenticate", "data": keys}))
        answer = json.loads(await heard(line, _ANSWER_S))
        if answer.get("data", {}).get("status") != "authorized":
            if self.connections or self._keys.after_refusal() != used:
                raise StreamLost("the broker refuses the credentials of the trade-update stream")
            raise Fatal(
                "the broker refused the credentials of the trade-update stream",
                value=self._url,
                remedy="check the variables that key_ref and secret_ref name",
            )
        await line.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        answer = json.loads(await heard(line, _ANSWER_S))
        if "trade_updates" not in answer.get("data", {}).get("streams", []):
            raise StreamLost("the broker did not confirm that it will send trade updates")

    def _read(self, frame: str | bytes) -> TradeUpdate | UnreadRow | None:
        """The content of a frame; None for other streams. A malformed frame ends the connection."""
        try:
            message = json.loads(frame)
            if message.get("stream") != "trade_updates":
                return None
            if message.get("data", ...) is None:  # Alpaca has sent these for days: they say nothing
                self.empty += 1
                return None
        except (ValueError, AttributeError) as error:
            self.unreadable += 1
            raise StreamLost(f"a frame cannot be read: {error!r}") from error
        try:
            return replies.trade_update(message["data"])
        except replies.UNREADABLE as error:
            self.unreadable += 1
            return replies.unread("trade_updates", message.get("data"), error)
