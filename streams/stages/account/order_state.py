"""Orders as an account remembers them: parent orders, the orders that work for them, what they reserve."""

from dataclasses import dataclass, field
from decimal import Decimal
from operator import not_
from typing import Annotated, NamedTuple, TypeVar

from pydantic import Field

from tapedeck.streams.stages.account.rules.exits import ExitRule
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import (
    TERMINAL,
    OrderReason,
    OrderState,
    PositionIntent,
    Purpose,
    Side,
)
from tapedeck.streams.stages.account.rules.positions import Kind


def _is_none(value: object) -> bool:
    return value is None


T = TypeVar("T")
Later = Annotated[T | None, Field(exclude_if=_is_none)]
"""A field that earlier versions do not have: without a value it leaves no trace in the bytes."""


@dataclass(kw_only=True)
class Quoted:
    """A quote as an evaluation keeps it."""

    instrument: str
    feed: str
    origin: str
    quote_time: int | None
    bid: Decimal | None
    ask: Decimal | None


@dataclass(kw_only=True)
class Order:
    """One order. ``reported`` is the broker's filled quantity, ``executed`` what executions add up to, and
    those that are not waited for any more.

    ``limit_price`` None is a market order. ``parent`` is the source of the parent order that it works for;
    ``cancelling`` is why a cancel was asked for, ``since`` when the order got into its state, ``due_since``
    from when on its executions were missed.
    """

    client_order_id: str
    signal_id: str
    instrument: str
    underlying: str
    kind: Kind
    bullish: bool
    strategy: str
    side: Side
    intent: PositionIntent
    purpose: Purpose
    attempt: int
    qty: Decimal
    limit_price: Decimal | None
    worst_price: Decimal
    multiplier: int
    session: int
    parent: Later[str] = None
    cancelling: Later[OrderReason] = None
    since: Later[int] = None
    due_since: Later[int] = None
    cancels: Annotated[int, Field(exclude_if=not_)] = 0
    seq: int = 0
    state: OrderState = OrderState.INTENT
    broker_order_id: str | None = None
    raw_status: str | None = None
    reported: Decimal = ZERO
    average_price: Decimal | None = None
    executed: Decimal = ZERO
    accepted_at: int | None = None
    not_found: int = 0
    asking_after_s: int | None = None
    questions: int = 0

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def remaining(self) -> Decimal:
        """Units that may still arrive: all that is open, or what was filled and no execution shows yet."""
        goal = self.reported if self.terminal else self.qty
        return max(goal - self.executed, ZERO)

    @property
    def reserved(self) -> bool:
        """True until the order is terminal and its executions are folded."""
        return not self.terminal or self.remaining > 0


@dataclass(kw_only=True)
class Parent:
    """One decision to trade, worked by one order after the other until ``qty`` is filled
    (docs/domain.md#orders).

    An OPEN is a reservation as long as it lives. ``source`` makes its orders' ids: the signal_id of an OPEN,
    the position_id and the number of the exit of a CLOSE. ``reference`` is the underlying's price at the
    signal. ``virtual``: a shadow account's, which is never sent. ``stop``: why no further order follows.
    ``resume_at``: nothing is sent before. ``lowest``: no limit of a short is below it; its ``worst_price`` is
    what a share counts for until it is sold.
    """

    source: str
    signal_id: str
    instrument: str
    underlying: str
    kind: Kind
    bullish: bool
    strategy: str
    side: Side
    intent: PositionIntent
    purpose: Purpose
    qty: Decimal
    multiplier: int
    worst_price: Decimal
    session: int
    cause: str
    reference: Later[Decimal] = None
    lowest: Later[Decimal] = None
    position_id: Later[str] = None
    rule: Later[ExitRule] = None
    virtual: Annotated[bool, Field(exclude_if=not_)] = False
    attempts: int = 0
    executed: Decimal = ZERO
    child: Later[str] = None
    stop: Later[OrderReason] = None
    resume_at: Later[int] = None
    asked: Annotated[dict[str, str], Field(exclude_if=not_)] = field(default_factory=dict)
    asked_at: Later[int] = None
    quotes: Annotated[dict[str, Quoted], Field(exclude_if=not_)] = field(default_factory=dict)

    @property
    def remaining(self) -> Decimal:
        """What is not executed."""
        return max(self.qty - self.executed, ZERO)


class Reserved(NamedTuple):
    """What a parent order, or an order without one, may still bring about."""

    source: str
    instrument: str
    underlying: str
    kind: Kind
    bullish: bool
    purpose: Purpose
    side: Side
    remaining: Decimal
    worst_price: Decimal
    multiplier: int
    order: Order | None
    """The one that works at the broker now."""


def of_order(source: str, order: Order) -> Reserved:
    """What an order without a parent reserves."""
    return Reserved(
        source,
        order.instrument,
        order.underlying,
        order.kind,
        order.bullish,
        order.purpose,
        order.side,
        order.remaining,
        order.worst_price,
        order.multiplier,
        order,
    )


def of_parent(parent: Parent, child: Order | None) -> Reserved:
    """What ``parent`` reserves; ``child`` is its newest order."""
    return Reserved(
        parent.source,
        parent.instrument,
        parent.underlying,
        parent.kind,
        parent.bullish,
        parent.purpose,
        parent.side,
        parent.remaining,
        parent.worst_price,
        parent.multiplier,
        child if child is not None and not child.terminal else None,
    )
