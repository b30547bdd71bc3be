"""The states of a market-data connection, what the server's error codes demand, and all waiting times."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tapedeck.connectors.alpaca.market.frames import Refusal


class State(StrEnum):
    """How the connection is."""

    WAITING = "WAITING"  # another process holds the connection: this one does not dial
    CONNECTING = "CONNECTING"  # or lost, and it will be tried again
    LIVE = "LIVE"
    PARTIAL = "PARTIAL"  # live, but the server does not send some of the wanted symbols
    HELD_BY_GHOST = "HELD_BY_GHOST"  # the server still counts an earlier connection of this key
    RATE_LIMITED = "RATE_LIMITED"  # 429 at the handshake
    STALE = "STALE"  # connected and mute during the session
    REFUSED = "REFUSED"  # it is not tried again


class Level(StrEnum):
    """How much a state needs a person."""

    GREEN = "GREEN"
    AMBER = "AMBER"
    RED = "RED"


RED_AFTER_S = 180.0
"""An old connection lives on at Alpaca for about 90 s: until twice that, waiting is all there is to do."""


def level(state: State, for_s: float) -> Level:
    """The level of ``state`` after ``for_s`` seconds in it."""
    if state in (State.LIVE, State.WAITING):
        return Level.GREEN
    if state is State.REFUSED:
        return Level.RED
    return Level.RED if for_s >= RED_AFTER_S and state is not State.PARTIAL else Level.AMBER


class Health:
    """The newest state of a connection, and since when. Set by the reader's thread, read by others."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known = (State.CONNECTING, "not tried yet", monotonic())
        self.seen: Counter[State] = Counter()

    def set(self, state: State, detail: str) -> None:
        """What the stream reports."""
        before, _, since = self._known
        if state is not before:
            since = self._monotonic()
            self.seen[state] += 1
        self._known = (state, detail, since)

    @property
    def state(self) -> State:
        return self._known[0]

    @property
    def detail(self) -> str:
        return self._known[1]

    @property
    def for_s(self) -> float:
        """Seconds in this state."""
        return self._monotonic() - self._known[2]

    @property
    def level(self) -> Level:
        return level(self.state, self.for_s)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Waiting times in seconds."""

    first_pause: float = 1.0
    longest_pause: float = 30.0
    ghost_from: float = 10.0
    ghost_to: float = 15.0
    answer: float = 5.0
    look: float = 1.0
    stale: Mapping[str, float] = field(default_factory=lambda: {"sip": 60.0, "iex": 120.0, "news": 1800.0})
    """Silence by feed: in a session even IEX has a quote of 28 large stocks far more often than that, and
    there is an article every few minutes."""
    stale_otherwise: float = 180.0
    lease_pause: float = 2.0


REMEDIES = {
    402: "check the key and the secret of market data; then restart this process",
    409: "this feed is not in the account's plan: for bars set bars.feed to iex, or change the plan",
}
"""Codes after which trying again cannot help, with what a person does."""
SYMBOL_LIMIT, CONNECTION_LIMIT = 405, 406
_WORDS = {
    400: "the server could not read a message of ours",
    401: "not authenticated",
    403: "authenticated already",
    404: "the log-in took too long",
    407: "this process reads too slowly",
    410: "this feed has no such channel",
    500: "the server has an error of its own",
}


class Lost(Exception):
    """The connection is lost, or given up. ``pause_s``: how long the server asks to wait, if it does."""

    def __init__(self, state: State, detail: str, pause_s: float | None = None) -> None:
        super().__init__(detail)
        self.state, self.detail, self.pause_s = state, detail, pause_s


def lost_by(refusal: Refusal) -> Lost:
    """What an error in the stream means for the connection."""
    words = _WORDS.get(refusal.code)
    said = f"error {refusal.code}: {refusal.message}" + (f" ({words})" if words else "")
    if refusal.code in REMEDIES:
        return Lost(State.REFUSED, f"{said}; {REMEDIES[refusal.code]}")
    if refusal.code == CONNECTION_LIMIT:
        return Lost(State.HELD_BY_GHOST, f"{said}; an earlier connection of this key still counts")
    return Lost(State.CONNECTING, said)
