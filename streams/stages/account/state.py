"""What one account remembers between inbox records, and its bytes.

The bytes are canonical JSON behind a format version, decimals as strings. No decision depends on the order of
a map, so a state that is read back decides like the one that was written.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from operator import not_
from typing import Annotated

from pydantic import Field, TypeAdapter

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.stages.account.rules.contracts import ContractQuote, ContractReason
from tapedeck.streams.stages.account.rules.gate_types import Identity, KillState
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import TERMINAL, OrderState, PositionIntent, Purpose, Side
from tapedeck.streams.stages.account.rules.positions import Execution, Kind
from tapedeck.streams.stages.account.rules.requests import Read
from tapedeck.streams.stages.account.rules.strategies import StrategyName
from tapedeck.streams.stages.base import pack_state, unpack_state

STATE_VERSION = 2
"""For a value that holds what version 1 has no place for; any other is written as version 1."""
FIRST_VERSION = 1
_ADDED = ("unread", "external", "halts")
BALANCES = ("broker_account_id", "status", "equity", "cash", "buying_power", "options_buying_power")


class AccountDrop(StrEnum):
    """Why an inbox record gave nothing. DUPLICATE is the one that counts among signals."""

    DUPLICATE = "DUPLICATE"
    DUPLICATE_EXECUTION = "DUPLICATE_EXECUTION"
    EXECUTION_TOO_OLD = "EXECUTION_TOO_OLD"
    STALE_REPLY = "STALE_REPLY"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    UNASKED_ANSWER = "UNASKED_ANSWER"
    UNRECOGNISED_ROW = "UNRECOGNISED_ROW"
    OLD_HALT = "OLD_HALT"


@dataclass(kw_only=True)
class Snapshot:
    """The broker account as last read. ``requested_at`` bounds what it can have seen."""

    event_id: str
    at: int
    requested_at: int
    broker_account_id: str | None
    status: str | None
    equity: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    options_buying_power: Decimal | None


@dataclass(kw_only=True)
class Mark:
    """The mid of the newest quote seen of an instrument."""

    mid: Decimal
    at: int


@dataclass(kw_only=True)
class Asked:
    """A question that the shell has not answered yet."""

    request: Annotated[Read, Field(discriminator="kind")]
    at: int


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
class Candidate:
    """The outcome of a chain request: the chosen contract, or why there is none."""

    feed: str
    origin: str
    contract: ContractQuote | None
    score: float | None
    reason: ContractReason | None
    detail: str | None


@dataclass(kw_only=True)
class Signal:
    """The signal as it reached the inbox."""

    signal_id: str
    symbol: str
    action: Action
    strategy: StrategyName
    confidence: float | None
    bar_t: int
    close: float | None
    universe_version: int | None
    newest_bar_t: int | None
    newest_feature_t: int | None


@dataclass(kw_only=True)
class Evaluation:
    """A signal on its way to its proposal: what was asked for it, what it still waits for, what came."""

    signal: Signal
    arrived: int
    inputs: list[str]
    asked: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    quote: Quoted | None = None
    candidate: Candidate | None = None


@dataclass(kw_only=True)
class Order:
    """One order. ``reported`` is the broker's filled quantity, ``executed`` what executions add up to."""

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
    limit_price: Decimal
    worst_price: Decimal
    multiplier: int
    session: int
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
class Book:
    """The executions of one instrument that still matter, and what was published about its positions."""

    executions: list[Execution] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)
    closing: list[str] = field(default_factory=list)
    exits: dict[str, int] = field(default_factory=dict)
    prior_mark: Decimal | None = None


@dataclass(kw_only=True)
class Spent:
    """Cash that a fill took and the broker's snapshot may not show."""

    at: int
    amount: Decimal


@dataclass(kw_only=True)
class Unread:
    """A broker row that was not understood. ``listed``: since the last comparison with the broker."""

    symbol: str
    listed: bool


@dataclass(kw_only=True)
class Halt:
    """The newest halt or resumption of a symbol, by the inbox record that brought it."""

    event_id: str
    halted: bool
    since: int


@dataclass(kw_only=True)
class AccountState:
    """Everything one account's decisions depend on. Dates in days since the epoch, times in UTC micros."""

    session: int | None = None
    seen: dict[str, int] = field(default_factory=dict)
    pending: list[Evaluation] = field(default_factory=list)
    outstanding: dict[str, Asked] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    identity: Identity = Identity.ACCOUNT_UNVERIFIED
    kill: dict[str, KillState] = field(default_factory=dict)
    alarm: str | None = None
    stream_healthy: bool | None = None
    reconciled: bool = False
    differences: list[str] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    executions: dict[str, int] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    last_execution: dict[str, int] = field(default_factory=dict)
    spent: list[Spent] = field(default_factory=list)
    unread: Annotated[dict[str, Unread], Field(exclude_if=not_)] = field(default_factory=dict)
    external: Annotated[dict[str, str], Field(exclude_if=not_)] = field(default_factory=dict)
    halts: Annotated[dict[str, Halt], Field(exclude_if=not_)] = field(default_factory=dict)

    @property
    def reserved(self) -> list[Order]:
        """Orders that are still reservations, by client id."""
        return [order for _, order in sorted(self.orders.items()) if order.reserved]


_ADAPTER = TypeAdapter(AccountState)


def pack(state: AccountState) -> bytes:
    """The state's bytes."""
    fields = _ADAPTER.dump_python(state, mode="json")
    ended = any(each.closes_only for book in state.books.values() for each in book.executions)
    return pack_state(STATE_VERSION if ended or fields.keys() & _ADDED else FIRST_VERSION, fields)


def unpack(data: bytes | None) -> AccountState:
    """Unpack a state; a fresh one for None. Raises Fatal for another format version."""
    if not data:
        return AccountState()
    return _ADAPTER.validate_python(unpack_state(STATE_VERSION, data, FIRST_VERSION))
