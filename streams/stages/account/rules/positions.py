"""The signed fold of executions into positions, and the session's P&L.

The rules are in docs/domain.md#positions and docs/domain.md#session-pnl.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from operator import not_
from typing import Annotated, NamedTuple

from pydantic import Field

from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.occ import OccError, Right, parse
from tapedeck.streams.stages.account.rules.orders import Side

OPTION_MULTIPLIER = 100


class Owner(StrEnum):
    """Whose order an execution belongs to; EXTERNAL is one that this account never placed here."""

    TAPEDECK = "TAPEDECK"
    EXTERNAL = "EXTERNAL"


class ExecutionReason(StrEnum):
    """Why an execution came without an order of ours."""

    RECON_ADJUST = "RECON_ADJUST"
    BROKER_LIQUIDATION = "BROKER_LIQUIDATION"


def _is_none(value: object) -> bool:
    return value is None


class Kind(StrEnum):
    CALL = "CALL"
    PUT = "PUT"
    STOCK = "STOCK"


class PositionState(StrEnum):
    """CLOSING until executions bring the quantity to 0; no clock closes a position."""

    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


class Instrument(NamedTuple):
    """What a symbol is. ``expiry`` is days since the epoch, None for a stock."""

    underlying: str
    kind: Kind
    multiplier: int
    expiry: int | None = None


@lru_cache(maxsize=4096)
def describe(symbol: str) -> Instrument:
    """An option symbol's underlying, right and multiplier; everything else is a stock."""
    try:
        occ = parse(symbol)
    except OccError:
        return Instrument(symbol, Kind.STOCK, 1)
    kind = Kind.CALL if occ.right is Right.CALL else Kind.PUT
    return Instrument(occ.root.rstrip("0123456789"), kind, OPTION_MULTIPLIER, occ.expiry)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution of one instrument. ``executed_at`` is the broker's time, UTC microseconds.

    ``price`` None: an adjustment to the broker's quantity, whose price nobody knows.
    """

    execution_id: str
    executed_at: int
    side: Side
    qty: Decimal
    price: Decimal | None
    fee: Decimal
    client_order_id: str
    owner: Owner
    strategy: str | None
    closes_only: Annotated[bool, Field(exclude_if=not_)] = False
    """True for the option's leg of an expiry, exercise or assignment: it closes what is held, on either side,
    and never opens anything. So it may arrive before the executions that it closes."""

    signal_id: Annotated[str | None, Field(exclude_if=_is_none)] = None
    reason: Annotated[ExecutionReason | None, Field(exclude_if=_is_none)] = None

    @property
    def signed(self) -> Decimal:
        return self.qty if self.side is Side.BUY else -self.qty


@dataclass(kw_only=True)
class Position:
    """One position: ``qty`` signed, ``average_cost`` per unit, ``realised`` in USD before fees.

    ``needs_review``: an adjustment of it has no price, so its P&L is unknown. ``costed``: its average cost is
    known.
    """

    position_id: str
    opened_at: int
    strategy: str | None
    owner: Owner
    qty: Decimal
    average_cost: Decimal
    realised: Decimal = ZERO
    last_execution: str = ""
    signal_id: str | None = None
    needs_review: bool = False
    costed: bool = True


@dataclass(kw_only=True)
class Fold:
    """All positions that an instrument's executions made, oldest first, and what each execution realised.

    ``unpriced`` are executions whose result nobody knows: they have no price, or reduce what has no cost.
    """

    positions: list[Position] = field(default_factory=list)
    realised: dict[str, Decimal] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)

    @property
    def open(self) -> Position | None:
        """The position that is not flat."""
        return self.positions[-1] if self.positions and self.positions[-1].qty else None


def position_id(account_id: str, instrument: str, opening_execution: str) -> str:
    """First 24 hex of SHA-256 ``account|instrument|opening execution_id``."""
    return sha256(f"{account_id}|{instrument}|{opening_execution}".encode()).hexdigest()[:24]


def _opened(account_id: str, instrument: str, kind: Kind, execution: Execution, qty: Decimal) -> Position:
    external = "day_trade" if kind is Kind.STOCK else "swing_trade"
    return Position(
        position_id=position_id(account_id, instrument, execution.execution_id),
        opened_at=execution.executed_at,
        strategy=execution.strategy if execution.owner is Owner.TAPEDECK else external,
        owner=execution.owner,
        qty=qty,
        average_cost=ZERO if execution.price is None else execution.price,
        last_execution=execution.execution_id,
        signal_id=execution.signal_id,
        needs_review=execution.price is None,
        costed=execution.price is not None,
    )


def fold(account_id: str, instrument: str, executions: Iterable[Execution]) -> Fold:
    """Fold executions by broker time, then execution_id; repeats of an id count once.

    Adds move the average cost; reduces realise (price - average) x qty x multiplier, with the opposite sign
    for a short. A reduce beyond zero closes the position and opens the opposite one with the rest.
    """
    known = describe(instrument)
    out = Fold()
    once = {execution.execution_id: execution for execution in executions}
    for execution in sorted(once.values(), key=lambda e: (e.executed_at, e.execution_id)):
        position, signed = out.open, execution.signed
        out.realised[execution.execution_id] = ZERO
        if execution.price is None:
            out.unpriced.add(execution.execution_id)
        if execution.closes_only:
            signed = -min(execution.qty, abs(position.qty)).copy_sign(position.qty) if position else ZERO
        if not signed:
            continue
        if position is None:
            out.positions.append(_opened(account_id, instrument, known.kind, execution, signed))
            continue
        position.last_execution = execution.execution_id
        position.needs_review |= execution.price is None
        if (position.qty > 0) == (signed > 0):
            if execution.price is not None:
                cost = position.average_cost * position.qty + execution.price * signed
                position.average_cost = cost / (position.qty + signed)
            position.qty += signed
            continue
        reduced = min(abs(signed), abs(position.qty))
        sign = 1 if position.qty > 0 else -1
        gain = ZERO
        if not position.costed:
            out.unpriced.add(execution.execution_id)
        elif execution.price is not None:
            gain = (execution.price - position.average_cost) * reduced * known.multiplier * sign
        position.realised += gain
        out.realised[execution.execution_id] = gain
        position.qty -= sign * reduced
        if position.qty == 0:
            position.average_cost = ZERO
            rest = signed + sign * reduced
            if rest:
                out.positions.append(_opened(account_id, instrument, known.kind, execution, rest))
    return out


class Marked(NamedTuple):
    """An open position with what its session P&L needs. ``reference`` is its entry price if opened this
    session, else the previous session's closing mark; null = unknown."""

    qty: Decimal
    multiplier: int
    mark: Decimal | None
    reference: Decimal | None


def session_pnl(realised: Decimal, fees: Decimal, marked: Iterable[Marked]) -> Decimal | None:
    """realised - fees + sum of (mark - reference) x qty x multiplier, USD; None if a mark is unknown."""
    total = realised - fees
    for position in marked:
        if position.mark is None or position.reference is None:
            return None
        total += (position.mark - position.reference) * position.qty * position.multiplier
    return total
