"""How many broker calls an account may still make: most of them for anything, the rest to get out.

A broker takes so many calls a minute and refuses the others. A share is kept for what lowers exposure:
cancels, closes, and the questions about orders that work. So a burst of openings cannot leave an account
that can no longer close.
"""

from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, cast

from tapedeck.connectors.broker import Broker, RateLimited
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.stages.account.rules.orders import PositionIntent

CALLS_PER_MINUTE = 200
"""What Alpaca takes from one account."""
WINDOW_S = 60.0
_LONGEST_WAIT_S = 120.0
"""A refusal that asks for more is not believed: a window is a minute."""


class CallKind(StrEnum):
    """What a call is for. OPEN and READ leave the reserve alone."""

    OPEN = "OPEN"
    READ = "READ"
    CLOSE = "CLOSE"
    CANCEL = "CANCEL"
    ORDER = "ORDER"

    @property
    def rank(self) -> int:
        """Of calls that wait, the lowest is next: first those to get out, then orders, then what is read."""
        return 0 if self in (CallKind.CLOSE, CallKind.CANCEL) else 2 if self is CallKind.READ else 1


CLOSING = frozenset({PositionIntent.SELL_TO_CLOSE, PositionIntent.BUY})
"""What orders may do that lower exposure."""
RESERVED_FOR = frozenset({CallKind.CLOSE, CallKind.CANCEL, CallKind.ORDER})
"""ORDER: a question about an order that works, without which nothing can be closed safely."""


_READS = frozenset({"FETCH_ACCOUNT", "FETCH_BROKER", "FETCH_QUOTE", "FETCH_CHAIN"})
_CANCELS = frozenset({"CANCEL", "CLEAR"})


def call_kind(request: Mapping[str, Any]) -> CallKind:
    """What the calls of a request of the account are for."""
    kind = request["kind"]
    if kind == "SUBMIT":
        return CallKind.CLOSE if request["intent"] in CLOSING else CallKind.OPEN
    return CallKind.READ if kind in _READS else CallKind.CANCEL if kind in _CANCELS else CallKind.ORDER


class Budget:
    """The calls of one account over the last minute. ``monotonic`` gives seconds.

    Ask ``may`` before a call and tell ``spent`` after it; tell ``limited`` of a refusal. Pure but for the
    clock; not safe for several threads. ``refused`` counts the calls that were not allowed, by kind.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        per_minute: int = CALLS_PER_MINUTE,
        reserve: float = 0.20,
    ) -> None:
        """Raises Fatal for a budget without calls, or a reserve that leaves none to open with."""
        if per_minute < 1 or not 0 <= reserve < 1:
            remedy = "allow at least 1 call a minute, and reserve at least 0 and less than 1 of them"
            raise Fatal("no such rate budget", value=(per_minute, reserve), remedy=remedy)
        self._monotonic = monotonic
        self._all = per_minute
        self._unreserved = max(1, int(per_minute * (1 - reserve)))
        self._at: deque[float] = deque()
        self._closed_until = float("-inf")
        self.refused: dict[CallKind, int] = dict.fromkeys(CallKind, 0)

    def left(self, kind: CallKind) -> int:
        """How many calls of ``kind`` may be made at this moment."""
        now = self._monotonic()
        if now < self._closed_until:
            return 0
        while self._at and self._at[0] <= now - WINDOW_S:
            self._at.popleft()
        allowed = self._all if kind in RESERVED_FOR else self._unreserved
        return max(0, allowed - len(self._at))

    def may(self, kind: CallKind, calls: int = 1) -> bool:
        """Whether ``calls`` calls of ``kind`` may be made now; a no is counted."""
        allowed = self.left(kind) >= calls
        self.refused[kind] += not allowed
        return allowed

    def spent(self, calls: int = 1) -> None:
        """Calls were made, whatever came of them."""
        self._at.extend([self._monotonic()] * calls)

    def limited(self, wait_s: float | None) -> None:
        """The broker refused a call for its rate: nothing may be sent for ``wait_s`` seconds.

        A broker that does not say how long is asked again after a second.
        """
        wait = 1.0 if wait_s is None else min(max(wait_s, 0.0), _LONGEST_WAIT_S)
        self._closed_until = max(self._closed_until, self._monotonic() + wait)

    def wait_s(self, kind: CallKind) -> float:
        """Seconds until a call of ``kind`` may be made; 0 if it may be made now."""
        now = self._monotonic()
        if self.left(kind):
            return 0.0
        closed = max(0.0, self._closed_until - now)
        allowed = self._all if kind in RESERVED_FOR else self._unreserved
        over = len(self._at) - allowed
        return closed if over < 0 else max(closed, self._at[over] + WINDOW_S - now)


class _Paced:
    """Hands every call on, and tells the budget of a refused rate."""

    def __init__(self, broker: Broker, budget: Budget) -> None:
        self._broker, self._budget = broker, budget

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._broker, name)
        return self._told(found) if callable(found) else found

    def _told(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def through(*args: Any, **options: Any) -> Any:
            try:
                return call(*args, **options)
            except RateLimited as error:
                self._budget.limited(error.wait_s)
                raise

        return through


def paced(broker: Broker, budget: Budget) -> Broker:
    """``broker``, whose refusals close ``budget`` for as long as they say."""
    return cast(Broker, _Paced(broker, budget))
