"""What every call passes on its way to the exchange, over a socket or in process.

The rate of each account is limited here, and faults that concern the call itself strike here. The journal
keeps what was asked about orders, for a test that judges a client by what it did.
"""

from collections import Counter, deque
from typing import NamedTuple

from tapedeck.connectors.paper.faults import AFTER, BEFORE, Fault, Faults
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

_REMEMBERED = 200_000


class Strike(NamedTuple):
    """A fault that happens to this call, with its length."""

    fault: Fault
    seconds: float


class Entry(NamedTuple):
    """A call about an order. ``subject`` is the order's client id, or its id for a cancel or a replace.

    ``outcome`` is the HTTP status of what the exchange did, 0 if the call never reached it. ``told`` is the
    fault in place of that outcome, if the client got another answer.
    """

    time: int
    number: str
    operation: str
    subject: str
    outcome: int
    told: Fault | None


class Door:
    """``calls_per_minute``: how many an account may make before it is refused with 429; None is any number.

    ``early`` counts the calls that came, by account, although an earlier 429 had said to wait.
    """

    def __init__(self, faults: Faults, calls_per_minute: int | None = None) -> None:
        self._faults = faults
        self.calls_per_minute = calls_per_minute
        self._calls: dict[str, deque[int]] = {}
        self._closed_until: dict[str, int] = {}
        self.early: Counter[str] = Counter()
        self.journal: deque[Entry] = deque(maxlen=_REMEMBERED)

    def enter(self, operation: str, number: str, now: int) -> Strike | None:
        """What strikes before the exchange is reached, if anything. A 429 lasts for its seconds."""
        closed = self._closed_until.get(number, 0)
        if now < closed:
            self.early[number] += 1
            return Strike(Fault.RATE_LIMIT, (closed - now) / SECOND_US)
        wait = self._over(number, now)
        if wait is not None:
            return self._close(number, now, wait)
        struck = self._faults.first(BEFORE, operation, number)
        if struck is not None and struck[0] is Fault.RATE_LIMIT:
            return self._close(number, now, struck[1])
        return Strike(*struck) if struck is not None else None

    def leave(self, operation: str, number: str) -> Strike | None:
        """What strikes after the exchange has done what was asked, if anything."""
        struck = self._faults.first(AFTER, operation, number)
        return Strike(*struck) if struck is not None else None

    def note(self, entry: Entry) -> None:
        """Keep what was asked about an order and what came of it."""
        self.journal.append(entry)

    def _close(self, number: str, now: int, seconds: float) -> Strike:
        self._closed_until[number] = now + round(seconds * SECOND_US)
        return Strike(Fault.RATE_LIMIT, seconds)

    def _over(self, number: str, now: int) -> float | None:
        """Seconds until the account may call again, if its minute is full; else the call is counted."""
        if self.calls_per_minute is None:
            return None
        calls = self._calls.setdefault(number, deque())
        while calls and calls[0] <= now - MINUTE_US:
            calls.popleft()
        if len(calls) >= self.calls_per_minute:
            self._faults.fired[Fault.RATE_LIMIT] += 1
            return (calls[0] + MINUTE_US - now) / SECOND_US
        calls.append(now)
        return None
