"""What one account remembers between inbox records, and its bytes.

The bytes are canonical JSON behind a format version, decimals as strings. No decision depends on the order of
a map, so a state that is read back decides like the one that was written.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from operator import not_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.order_state import (
    Later,
    Order,
    Parent,
    Quoted,
    Reserved,
    of_order,
    of_parent,
)
from tapedeck.streams.stages.account.rules.contracts import ContractQuote, ContractReason
from tapedeck.streams.stages.account.rules.exits import ExitRule
from tapedeck.streams.stages.account.rules.gate_types import Identity, KillState
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.positions import Execution
from tapedeck.streams.stages.account.rules.requests import Read
from tapedeck.streams.stages.account.rules.strategies import StrategyName
from tapedeck.streams.stages.base import pack_state, unpack_state

STATE_VERSION = 3
"""For a value that holds what earlier versions have no place for; any other is written as one of those."""
FIRST_VERSION, SECOND_VERSION = 1, 2
_SECOND = frozenset({"unread", "external", "halts"})
# The shell answers every request, even if only with an error. This timeout is for an answer that was lost.
# It is over a minute because a tape played at full speed moves the clock by whole minutes.
ANSWER_TIMEOUT_US = 90 * SECOND_US
BALANCES = ("broker_account_id", "status", "equity", "cash", "buying_power", "options_buying_power")


class AccountDrop(StrEnum):
    """Why an inbox record gave nothing. DUPLICATE is the one that counts among signals."""

    DUPLICATE = "DUPLICATE"
    DUPLICATE_EXECUTION = "DUPLICATE_EXECUTION"
    EXECUTION_TOO_OLD = "EXECUTION_TOO_OLD"
    FROM_THE_FUTURE = "FROM_THE_FUTURE"
    STALE_REPLY = "STALE_REPLY"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    UNASKED_ANSWER = "UNASKED_ANSWER"
    UNRECOGNISED_ROW = "UNRECOGNISED_ROW"
    OLD_HALT = "OLD_HALT"
    NO_SUCH_TARGET = "NO_SUCH_TARGET"


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
    """The mid of the newest quote seen of an instrument. ``theta``: an option's, USD per share and day."""

    mid: Decimal
    at: int
    theta: Later[float] = None


@dataclass(kw_only=True)
class Asked:
    """A question that the shell has not answered yet."""

    request: Annotated[Read, Field(discriminator="kind")]
    at: int


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
class Watch:
    """What exits remember of an open position.

    ``peak`` and ``worst`` are P&L as fractions; ``rules`` are those of its newest record on ``exits``, of
    which it has ``seq``; ``rule`` is the one that closes it, ``person`` who commanded that.
    """

    peak: Decimal = ZERO
    worst: Decimal = ZERO
    rules: list[ExitRule] = field(default_factory=list)
    seq: int = 0
    rule: Later[ExitRule] = None
    person: Later[str] = None


@dataclass(kw_only=True)
class Book:
    """The executions of one instrument that still matter, and what was published about its positions."""

    executions: list[Execution] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)
    closing: list[str] = field(default_factory=list)
    exits: dict[str, int] = field(default_factory=dict)
    prior_mark: Decimal | None = None
    watches: Annotated[dict[str, Watch], Field(exclude_if=not_)] = field(default_factory=dict)
    told: Later[str] = None
    """The event_id of the newest execution's record."""


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
class IndexValue:
    """The newest value of the volatility index, by the inbox record that brought it; ``at``: measured."""

    event_id: str
    value: float
    at: int


@dataclass(kw_only=True)
class Report:
    """When a symbol reports earnings next, by the inbox record that said it. ``day`` in days; None with
    ``time`` NONE: never, with UNKNOWN: nobody said it.
    """

    event_id: str
    day: int | None
    time: str


@dataclass(kw_only=True)
class Mismatch:
    """A quantity that differs from the broker's. ``reads``: comparisons in a row that found just this."""

    ours: Decimal
    theirs: Decimal
    since: int
    read_at: int
    reads: int = 1


@dataclass(kw_only=True)
class Review:
    """An adjustment that a person has not looked at yet."""

    instrument: str
    at: int


@dataclass(kw_only=True)
class Watching:
    """What the shell was last asked to watch: bars of these underlyings, and a tick every so many seconds."""

    symbols: list[str] = field(default_factory=list)
    every_s: int = 0


@dataclass(kw_only=True)
class LastBar:
    """The close of the newest bar of a watched symbol, and when that bar ended."""

    close: float
    at: int


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

    parents: Annotated[dict[str, Parent], Field(exclude_if=not_)] = field(default_factory=dict)
    mismatches: Annotated[dict[str, Mismatch], Field(exclude_if=not_)] = field(default_factory=dict)
    reviews: Annotated[dict[str, Review], Field(exclude_if=not_)] = field(default_factory=dict)
    bars: Annotated[dict[str, LastBar], Field(exclude_if=not_)] = field(default_factory=dict)
    unquoted: Annotated[dict[str, int], Field(exclude_if=not_)] = field(default_factory=dict)
    """When the broker last had no fresh quote of what is held."""
    watching: Later[Watching] = None
    account_at: Later[int] = None
    loss_session: Later[int] = None
    halt_step: Later[str] = None
    verifying: Later[str] = None
    followed_at: Later[int] = None
    """When a comparison was last asked for that sees what became of a difference or a halt."""
    warnings: Annotated[list[str], Field(exclude_if=not_)] = field(default_factory=list)
    index: Later[IndexValue] = None
    reports: Annotated[dict[str, Report], Field(exclude_if=not_)] = field(default_factory=dict)

    @property
    def reserved(self) -> list[Reserved]:
        """What is still reserved, by source: parent orders, and orders from before there were any."""
        alone = {i: o for i, o in self.orders.items() if o.parent is None and o.reserved}
        found = {i: of_order(i, o) for i, o in alone.items()}
        found |= {i: of_parent(p, self.orders.get(p.child or "")) for i, p in self.parents.items()}
        return [each for _, each in sorted(found.items())]


_ADAPTER = TypeAdapter(AccountState)
_THIRD = frozenset(
    {
        "parents", "mismatches", "reviews", "bars", "watching", "loss_session", "halt_step", "verifying",
        "followed_at", "warnings", "account_at", "unquoted", "index", "reports",
    }
)  # fmt: skip


def pack(state: AccountState) -> bytes:
    """The state's bytes."""
    fields = _ADAPTER.dump_python(state, mode="json")
    return pack_state(_version(state, fields), fields)


def _version(state: AccountState, fields: dict[str, Any]) -> int:
    """The oldest version that has a place for everything in ``state``."""
    books = state.books.values()
    if (
        fields.keys() & _THIRD
        or any(book.watches or book.told for book in books)
        or any(mark.theta is not None for mark in state.marks.values())
        or any(order.parent is not None for order in state.orders.values())
        or any(each.price is None or each.reason for book in books for each in book.executions)
    ):
        return STATE_VERSION
    ended = any(each.closes_only for book in books for each in book.executions)
    return SECOND_VERSION if ended or fields.keys() & _SECOND else FIRST_VERSION


def unpack(data: bytes | None) -> AccountState:
    """Unpack a state; a fresh one for None. Raises Fatal for another format version."""
    if not data:
        return AccountState()
    return _ADAPTER.validate_python(unpack_state(STATE_VERSION, data, FIRST_VERSION, SECOND_VERSION))
