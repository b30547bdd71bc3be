"""Faults that tests switch on. Each is counted when it fires, so that a test can prove that it happened.

A fault is armed for one account and one call, or drawn by a temper: see ``tempers``. What each does is
written in ``kinds``.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from tapedeck.connectors.paper.kinds import PLANS, Fault
from tapedeck.schemas.errors import Fatal

__all__ = ["AFTER", "BEFORE", "Fault", "Faults"]


BEFORE = (Fault.RATE_LIMIT, Fault.GATEWAY_TIMEOUT_BEFORE, Fault.DROP_BEFORE)
AFTER = (
    Fault.DELAY,
    Fault.GATEWAY_TIMEOUT_AFTER,
    Fault.DROP_AFTER,
    Fault.MALFORMED_AFTER,
    Fault.NULL_AFTER,
)


class Draws(Protocol):
    """Draws faults by chance; see ``tempers``. ``profile`` is its name."""

    @property
    def profile(self) -> str: ...

    def seconds(self, fault: Fault, operation: str, account: str) -> float | None: ...


@dataclass
class _Armed:
    fault: Fault
    count: int
    operation: str | None
    account: str | None
    seconds: float
    skip: int

    def fits(self, fault: Fault, operations: tuple[str, ...], account: str) -> bool:
        return (
            self.fault is fault
            and self.count > 0
            and (self.operation is None or self.operation in operations)
            and self.account in (None, account)
        )


class Faults:
    """Armed faults, taken in the order they were armed. ``fired`` counts those that happened.

    ``temper`` draws others by chance; without one nothing happens that was not armed.
    """

    def __init__(self, temper: Draws | None = None) -> None:
        self._armed: list[_Armed] = []
        self.temper = temper
        self.fired: Counter[Fault] = Counter()

    def arm(
        self,
        fault: Fault,
        *,
        count: int = 1,
        operation: str | None = None,
        account: str | None = None,
        seconds: float | None = None,
        skip: int = 0,
    ) -> None:
        """Make ``fault`` happen ``count`` times, on one operation (``submit``, ``cancel``, ...) or on any.

        The operation of a trade update is ``update`` or the name of its event. ``account`` is a number.
        The first ``skip`` calls that fit pass. ``seconds`` are the plan's by default. Raises Fatal for
        numbers that say nothing.
        """
        seconds = PLANS[fault].seconds if seconds is None else seconds
        if count < 1 or seconds < 0 or skip < 0:
            remedy = "count starts at 1, seconds and skip at 0"
            raise Fatal(f"{fault} cannot be armed", value=(count, seconds, skip), remedy=remedy)
        self._armed.append(_Armed(fault, count, operation, account, seconds, skip))

    def disarm(self, fault: Fault | None = None) -> None:
        """Disarm one fault, or all; the counters and the temper stay."""
        self._armed = [each for each in self._armed if fault is not None and each.fault is not fault]

    def armed(self) -> Counter[Fault]:
        """How often each armed fault is still to happen."""
        left: Counter[Fault] = Counter()
        for each in self._armed:
            left[each.fault] += each.count
        return +left

    def take(self, fault: Fault, operation: str, account: str, event: str | None = None) -> bool:
        """Whether the fault happens now."""
        return self.seconds(fault, operation, account, event) is not None

    def seconds(self, fault: Fault, operation: str, account: str, event: str | None = None) -> float | None:
        """The length of a fault that happens now, or None. ``event``: a narrower name of the operation."""
        if not self._armed and self.temper is None:
            return None
        names = (operation,) if event is None else (operation, event)
        for armed in self._armed:
            if armed.fits(fault, names, account):
                if armed.skip:
                    armed.skip -= 1
                    continue
                armed.count -= 1
                self.fired[fault] += 1
                return armed.seconds
        if self.temper is None:
            return None
        for name in names:
            drawn = self.temper.seconds(fault, name, account)
            if drawn is not None:
                self.fired[fault] += 1
                return drawn
        return None

    def first(self, those: tuple[Fault, ...], operation: str, account: str) -> tuple[Fault, float] | None:
        """The first of ``those`` that happens now, with its length."""
        if not self._armed and self.temper is None:
            return None
        for fault in those:
            seconds = self.seconds(fault, operation, account)
            if seconds is not None:
                return fault, seconds
        return None
