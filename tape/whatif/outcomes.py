"""Decisions, in the fields that two runs are compared by. Event ids are not among them, because they depend
on the configuration."""

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.misses import number
from tapedeck.streams.stages.account.decide import Verdict

HOLD = "HOLD"


class DecisionOutcome(NamedTuple):
    """One bar's decision."""

    action: str
    strategy: str | None
    reason: str
    confidence: float | None
    direction: str | None

    @property
    def acts(self) -> bool:
        return self.action != HOLD

    def text(self) -> str:
        strategy = f" {self.strategy}" if self.strategy else ""
        confidence = f" {number(self.confidence)}" if self.confidence else ""
        return f"{self.action}{strategy} {self.reason}{confidence}"


class MembershipOutcome(NamedTuple):
    """A symbol's place after one evaluation of the watchlist."""

    on_watchlist: bool
    reason: str

    @property
    def acts(self) -> bool:
        return self.on_watchlist

    def text(self) -> str:
        return f"{'on' if self.on_watchlist else 'off'} the watchlist, {self.reason}"


class ProposalOutcome(NamedTuple):
    """One account's answer to one signal. ``refused``: the gates that failed, with their reasons."""

    action: str
    verdict: str
    primary_reason: str
    sizing_reason: str
    instrument: str | None
    quantity: Decimal
    limit_price: Decimal | None
    worst_price: Decimal | None
    refused: tuple[tuple[str, str], ...]

    @property
    def acts(self) -> bool:
        return self.verdict in (Verdict.APPROVED, Verdict.SHADOWED)

    def text(self) -> str:
        gates = ", ".join(gate for gate, _ in self.refused)
        if not self.acts:
            return f"{self.action} {self.verdict} {self.primary_reason}{f' ({gates})' if gates else ''}"
        what = f"{number(self.quantity)} x {self.instrument} at {number(self.limit_price)}"
        return f"{self.action} {self.verdict} {what}"


Outcome = DecisionOutcome | MembershipOutcome | ProposalOutcome


class Kind(StrEnum):
    """How a decision changed: it acts now and did not before, the reverse, or it differs otherwise."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"


def kind_of(was: Outcome | None, now: Outcome | None) -> Kind:
    """``None`` is a decision that was never made; it does not act."""
    acted, acts = was is not None and was.acts, now is not None and now.acts
    if acts != acted:
        return Kind.ADDED if acts else Kind.REMOVED
    return Kind.CHANGED
