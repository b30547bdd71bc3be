"""Faults that tests switch on. Each is counted when it fires, so that a test can prove that it happened."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What can go wrong. AFTER: the exchange has done what was asked. BEFORE: it has not."""

    GATEWAY_TIMEOUT_BEFORE = "GATEWAY_TIMEOUT_BEFORE"
    GATEWAY_TIMEOUT_AFTER = "GATEWAY_TIMEOUT_AFTER"
    DROP_BEFORE = "DROP_BEFORE"
    DROP_AFTER = "DROP_AFTER"
    RATE_LIMIT = "RATE_LIMIT"
    DELAY = "DELAY"
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    REJECT = "REJECT"
    UPDATE_TWICE = "UPDATE_TWICE"
    UPDATE_AFTER_NEXT = "UPDATE_AFTER_NEXT"
    UPDATE_LOST = "UPDATE_LOST"
    STREAM_CUT = "STREAM_CUT"


@dataclass
class _Armed:
    fault: Fault
    count: int
    operation: str | None
    account: str | None
    seconds: float

    def fits(self, fault: Fault, operation: str, account: str) -> bool:
        return (
            self.fault is fault
            and self.count > 0
            and self.operation in (None, operation)
            and self.account in (None, account)
        )


class Faults:
    """Armed faults, taken in the order they were armed. ``fired`` counts those that happened."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self.fired: Counter[Fault] = Counter()

    def arm(
        self,
        fault: Fault,
        *,
        count: int = 1,
        operation: str | None = None,
        account: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Make ``fault`` happen ``count`` times, on one operation (``submit``, ``cancel``, ...) or on any."""
        self._armed.append(_Armed(fault, count, operation, account, seconds))

    def disarm(self) -> None:
        """Disarm all faults; the counters stay."""
        self._armed.clear()

    def take(self, fault: Fault, operation: str, account: str) -> bool:
        """Whether the fault happens now."""
        return self.seconds(fault, operation, account) is not None

    def seconds(self, fault: Fault, operation: str, account: str) -> float | None:
        """The length of a fault that happens now, or None."""
        for armed in self._armed:
            if armed.fits(fault, operation, account):
                armed.count -= 1
                self.fired[fault] += 1
                return armed.seconds
        return None


Update = dict[str, Any]


class UpdateGate:
    """What the trade-update stream of one account lets through: everything, unless a fault says otherwise."""

    def __init__(self, faults: Faults, account: str) -> None:
        self._faults = faults
        self._account = account
        self._held: list[Update] = []

    def passed(self, update: Update) -> list[Update]:
        """The updates to send now, in order."""
        if self._fires(Fault.UPDATE_LOST):
            return []
        if not self._held and self._fires(Fault.UPDATE_AFTER_NEXT):
            self._held.append(update)
            return []
        out = [update, update] if self._fires(Fault.UPDATE_TWICE) else [update]
        out += self._held
        self._held = []
        return out

    def _fires(self, fault: Fault) -> bool:
        return self._faults.take(fault, "update", self._account)
