"""One websocket of Alpaca's stock data or news: our own, because alpaca-py's does not report its health.

alpaca-py logs the errors that the server states in the stream, does not compare the acknowledged
subscription with the wanted one, and waits for a handler before it reads on. This reader acts on every error
code, compares the subscriptions, and only puts frames into a queue: what works on them, works elsewhere.

A key has one connection per endpoint, so whoever connects holds a lease; the twin that waits does not dial.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.endpoints import NEWS, require_data_host, require_feed, stream_url
from tapedeck.connectors.alpaca.market.frames import (
    CHANNELS,
    NEWS_CHANNELS,
    Acknowledged,
    Refusal,
    Success,
    Unread,
)
from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.states import SYMBOL_LIMIT, Lost, State, Timing, lost_by
from tapedeck.connectors.alpaca.updates import heard, quiet_log
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.credentials import Credentials
from tapedeck.connectors.dispatch.lease import LEAST_LEFT_S, LeaseHeld, LeaseLost
from tapedeck.connectors.waits import asked_wait_s, equal_jitter_s
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.config.accounts import is_loopback
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import Calendar, CalendarUnknown

_PING_S = 10.0
_PONG_S = 20.0
_LARGEST_FRAME = 32 * 2**20
_CONTROL = re.compile(rb'"T"\s*:\s*"(?:error|success|subscription)"')
_DATA = re.compile(rb'"T"\s*:\s*"[a-z]"')
_TOO_MANY = 429
_UNAUTHORIZED = (401, 403)
_EVERY = "*"
_FAILING = (State.HELD_BY_GHOST, State.RATE_LIMITED, State.STALE)
"""States that last until the connection is live again."""

OnState = Callable[[State, str], None]


class ConnectionLease(Protocol):
    """The right to hold the one connection; ``connectors.dispatch.lease.Lease`` is one."""

    @property
    def left_s(self) -> float: ...

    def acquire(self) -> int: ...

    def renew(self) -> None: ...

    def release(self) -> None: ...


class _Direct(connect):
    """Follows no redirect: the keys are for the host that was named."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class MarketStream:
    """Reads one feed until cancelled, and puts its frames into ``queue``. ``feed``: of bars, or ``NEWS``.

    ``on_state(state, detail)`` reports every change, in the reader's thread. ``quiet`` tells that silence is
    expected: every symbol is halted. ``missing``: the wanted symbols whose bars, or
    articles, the server does not send.
    """

    def __init__(
        self,
        base_url: str,
        feed: str,
        credentials: Callable[[], Credentials],
        queue: FrameQueue,
        on_state: OnState,
        *,
        clock: Clock,
        calendar: Calendar,
        lease: ConnectionLease | None = None,
        quiet: Callable[[], bool] = lambda: False,
        timing: Timing | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        require_data_host(base_url)
        if feed != NEWS:
            require_feed(feed)
        self._channels = NEWS_CHANNELS if feed == NEWS else CHANNELS
        self.url, self._feed = stream_url(base_url, feed), feed
        self._proxied = not is_loopback(base_url)
        self._credentials, self._queue, self._on_state = credentials, queue, on_state
        self._clock, self._calendar, self._lease, self._quiet = clock, calendar, lease, quiet
        self._timing, self._monotonic, self._rng = timing or Timing(), monotonic, rng or random.Random()
        self._wanted: tuple[str, ...] = ()
        self._asked_for: tuple[str, ...] = ()
        self._sent: dict[str, frozenset[str]] = {}
        self._failures = 0
        self._heard_at = 0.0
        self._state: State | None = None
        self._was_stale = False
        self.connections = 0
        self.missing: tuple[str, ...] = ()

    def want(self, symbols: Sequence[str]) -> None:
        """Subscribe to these, the most important first: the last ones are left out above a symbol limit."""
        self._wanted = tuple(dict.fromkeys(symbols))

    async def run(self) -> None:
        """Connect, subscribe, read; again for ever. Raises Fatal where trying again cannot help."""
        while True:
            await self._acquire()
            keeper = asyncio.create_task(self._keep_lease())
            try:
                await self._hold(keeper)
            except LeaseLost:
                self._say(State.WAITING, "another process took the connection over")
            finally:
                keeper.cancel()
                with suppress(asyncio.CancelledError, LeaseLost):
                    await keeper
                await self._release()

    async def _hold(self, keeper: "asyncio.Task[None]") -> None:
        """Connect again and again while the lease is ours. Raises LeaseLost, Fatal."""
        while self._is_ours():
            lost = await self._connection(keeper)
            if lost.state is State.REFUSED:
                self._say(State.REFUSED, lost.detail)
                raise Fatal("the market-data server refuses this process", value=self.url, remedy=lost.detail)
            self._failures += 1
            self._was_stale = lost.state is State.STALE
            pause = self._pause(lost)
            self._say(lost.state, f"{lost.detail}; the next try is in {pause:.1f} s")
            await asyncio.wait({keeper}, timeout=pause)
            if keeper.done():
                keeper.result()

    def _pause(self, lost: Lost) -> float:
        """Equal jitter, or as long as the server asks. Only data makes it short again."""
        if lost.state is State.HELD_BY_GHOST:
            return self._rng.uniform(self._timing.ghost_from, self._timing.ghost_to)
        longest = self._timing.longest_pause
        pause = equal_jitter_s(self._failures, self._timing.first_pause, longest, self._rng)
        return max(pause, min(lost.pause_s or 0.0, 2 * longest))

    async def _connection(self, keeper: "asyncio.Task[None]") -> Lost:
        """One connection, until it is lost."""
        options: dict[str, Any] = {
            "open_timeout": self._timing.answer,
            "close_timeout": 1.0,
            "ping_interval": _PING_S,
            "ping_timeout": _PONG_S,
            "max_size": _LARGEST_FRAME,
            "logger": quiet_log,
            "proxy": True if self._proxied else None,
        }
        if self._state not in _FAILING:
            self._say(State.CONNECTING, f"dials {self.url}")
        try:
            async with _Direct(self.url, **options) as line:
                await self._log_in(line)
                self.connections += 1
                self._sent, self._asked_for = {}, ()
                await self._subscribe(line)
                self._queue.gap(f"connection {self.connections}")
                await self._listen(line, keeper)
        except Lost as lost:
            return lost
        except InvalidStatus as error:
            return self._turned_away(error)
        except TimeoutError:
            return Lost(State.CONNECTING, "the server did not answer in time")
        except (OSError, WebSocketException) as error:
            return Lost(State.CONNECTING, f"lost: {str(error) or type(error).__name__}")
        raise AssertionError("a connection ends by an exception")

    def _turned_away(self, error: InvalidStatus) -> Lost:
        status = error.response.status_code
        if status == _TOO_MANY:
            pause = asked_wait_s(error.response.headers.get("Retry-After"), self._clock.now())
            return Lost(State.RATE_LIMITED, "the server answers 429 to the handshake", pause)
        if status in _UNAUTHORIZED:
            return lost_by(Refusal(402, f"status {status} at the handshake"))
        return Lost(State.CONNECTING, f"the server answers {status} to the handshake")

    async def _log_in(self, line: ClientConnection) -> None:
        await self._until(line, Success("connected"))
        keys = self._credentials()
        await line.send(json.dumps({"action": "auth", "key": keys.key, "secret": keys.secret}))
        await self._until(line, Success("authenticated"))

    async def _until(self, line: ClientConnection, wanted: Success) -> None:
        async with asyncio.timeout(self._timing.answer):
            while True:
                for value in frames.read(await line.recv()):
                    if isinstance(value, Refusal):
                        raise lost_by(value)
                    if isinstance(value, Unread):
                        raise Lost(State.CONNECTING, f"the server's answer cannot be read: {value.error}")
                    if value == wanted:
                        return

    async def _subscribe(self, line: ClientConnection) -> None:
        """Ask for what is wanted, and compare it with what the server says that it sends."""
        wanted = self._wanted
        if gone := sorted(self._first_sent - {*wanted, _EVERY}):
            await self._asked(line, "unsubscribe", gone)
        left = [symbol for symbol in wanted if symbol not in self._first_sent]
        room, size = len(left), len(left)  # above a limit, halve what may fit until it is known how many do
        while room:
            if await self._asked(line, "subscribe", left[:size]):
                left, room = left[size:], room - size
            else:
                room = size - 1
            size = (room + 1) // 2
        self._asked_for = wanted
        self._compare()

    @property
    def _first_sent(self) -> frozenset[str]:
        """The symbols of the channel that stands for all: they are subscribed to together."""
        return self._sent.get(self._channels[0], frozenset())

    async def _asked(self, line: ClientConnection, action: str, symbols: Sequence[str]) -> bool:
        """Whether the server acknowledged; False if these are more symbols than the plan allows."""
        await line.send(json.dumps({"action": action, **{name: list(symbols) for name in self._channels}}))
        async with asyncio.timeout(self._timing.answer):
            while True:
                for value in self._pass_on(await line.recv()):
                    if isinstance(value, Acknowledged):
                        self._sent = value.channels
                        return True
                    if isinstance(value, Refusal) and value.code == SYMBOL_LIMIT:
                        return False
                    if isinstance(value, Refusal):
                        raise lost_by(value)

    def _compare(self) -> None:
        lacking = {
            channel: [s for s in self._asked_for if not {s, _EVERY} & self._sent.get(channel, frozenset())]
            for channel in self._channels
        }
        self.missing = tuple(lacking[self._channels[0]])
        words = [f"{name} of {', '.join(symbols)}" for name, symbols in lacking.items() if symbols]
        if words:
            self._say(
                State.PARTIAL, f"the server does not send {'; '.join(words)}: they are asked for by REST"
            )
        elif not self._was_stale:
            self._say(State.LIVE, f"{_counted(self._asked_for)}, connection {self.connections}")

    async def _listen(self, line: ClientConnection, keeper: "asyncio.Task[None]") -> None:
        self._heard_at = looked_at = self._monotonic()
        while True:
            with suppress(TimeoutError):
                self._act_on(self._pass_on(await heard(line, self._timing.look)))
            if (now := self._monotonic()) - looked_at >= self._timing.look:
                looked_at = now
                if keeper.done() or not self._is_ours():
                    raise Lost(State.CONNECTING, "the lease of the connection could not be renewed")
                self._refuse_silence(now)
                if self._wanted != self._asked_for:
                    await self._subscribe(line)

    def _pass_on(self, frame: str | bytes) -> list[frames.Value]:
        """Queue a frame with data; gives the messages of the protocol that are in it."""
        raw = frame.encode() if isinstance(frame, str) else frame
        is_control = _CONTROL.search(raw) is not None
        if _DATA.search(raw):
            self._heard_at, self._failures = self._monotonic(), 0
            if self._was_stale and self._asked_for:
                self._was_stale = False
                self._compare()
        elif is_control:
            return frames.read(raw)
        self._queue.put(raw)
        return frames.read(raw) if is_control else []

    def _act_on(self, values: Sequence[frames.Value]) -> None:
        for value in values:
            if isinstance(value, Acknowledged):
                self._sent = value.channels
                self._compare()
            elif isinstance(value, Refusal):
                raise lost_by(value)

    def _refuse_silence(self, now: float) -> None:
        """Raise Lost where a session is open and nothing has come for too long."""
        at = self._clock.now()
        try:
            session = self._calendar.session_at(at)
        except CalendarUnknown:
            session = None
        if session is None or not self._wanted or self._quiet():
            self._heard_at = now
            return
        silent = min(now - self._heard_at, (at - session.open) / SECOND_US)
        allowed = self._timing.stale.get(self._feed, self._timing.stale_otherwise)
        if silent >= allowed:
            raise Lost(State.STALE, f"connected, but silent for {silent:.0f} s of the session")

    def _is_ours(self) -> bool:
        return self._lease is None or self._lease.left_s >= LEAST_LEFT_S

    async def _acquire(self) -> None:
        while self._lease is not None:
            try:
                await asyncio.to_thread(self._lease.acquire)
                return
            except LeaseHeld as error:
                self._say(State.WAITING, f"another process holds the connection: {error.what}")
            except Retry as error:
                self._say(State.WAITING, f"it is not known who holds the connection: {error.what}")
            await asyncio.sleep(self._timing.lease_pause)

    async def _keep_lease(self) -> None:
        """Renew for ever. Raises LeaseLost."""
        while True:
            await asyncio.sleep(self._timing.lease_pause)
            if self._lease is not None:
                with suppress(Retry):
                    await asyncio.to_thread(self._lease.renew)

    async def _release(self) -> None:
        if self._lease is not None:
            with suppress(Retry):
                await asyncio.to_thread(self._lease.release)

    def _say(self, state: State, detail: str) -> None:
        self._state = state
        self._on_state(state, detail)


def _counted(symbols: Sequence[str]) -> str:
    return "every symbol" if _EVERY in symbols else f"{len(symbols)} symbols"
