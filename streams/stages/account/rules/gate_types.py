"""The inputs and results of gates. Null means unknown, and an unknown value never opens anything."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from tapedeck.schemas.errors import TapeError
from tapedeck.streams.config.accounts import Account, Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.rules.positions import Kind
from tapedeck.streams.stages.account.rules.strategies import StrategyName


class Identity(StrEnum):
    """Whether the account behind the credentials is the configured one."""

    VERIFIED = "VERIFIED"
    ACCOUNT_MISMATCH = "ACCOUNT_MISMATCH"
    ACCOUNT_UNVERIFIED = "ACCOUNT_UNVERIFIED"


class KillState(StrEnum):
    """The kill switch, mildest first."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class Hours(NamedTuple):
    """The session that ``now`` is in (UTC microseconds), if any; ``known`` is False beyond the calendar."""

    known: bool
    open: int | None = None
    close: int | None = None


class Holding(NamedTuple):
    """An OPEN or CLOSING position: signed quantity, entry price per unit (null = unknown)."""

    instrument: str
    underlying: str
    kind: Kind
    qty: Decimal
    multiplier: int
    entry_price: Decimal | None


class Reservation(NamedTuple):
    """An APPROVED proposal whose order has not ended: what it may still buy, at its worst price."""

    client_order_id: str
    instrument: str
    underlying: str
    kind: Kind
    bullish: bool
    purpose: Purpose
    remaining: Decimal
    worst_price: Decimal
    multiplier: int


class Ledger(NamedTuple):
    """What the account holds and has committed.

    ``filled_entries`` are the client ids of openings of this underlying with a fill this session;
    ``last_execution`` is the time of the account's newest execution in it, None if there is none.
    """

    holdings: tuple[Holding, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    filled_entries: frozenset[str] = frozenset()
    last_execution: int | None = None
    orders_in_doubt: int = 0
    needs_reconcile: bool = False


class Regime(NamedTuple):
    """The volatility feed; switched off, it is NORMAL. ``age_s`` is the age of its newest value."""

    on: bool = False
    value: float | None = None
    age_s: float | None = None


class Priced(NamedTuple):
    """The quote of the instrument to trade."""

    bid: Decimal | None
    ask: Decimal | None
    quote_time: int | None


FEED_OFF = Regime()


@dataclass(frozen=True, kw_only=True)
class GateInputs:
    """Everything the 24 gates read. Times UTC microseconds; bars by their left edge; money USD.

    ``halted_since`` is when trading of the symbol was halted, null = it trades.
    ``long_qty`` is what a SELL_STOCK could sell, null = unknown. ``quantity`` 0 means not sized.
    ``contract_reason`` says why no contract was chosen; ``buying_power`` is the broker's, with nothing
    subtracted. ``unshown`` is what reservations and fills have used up that its snapshot does not show yet.
    """

    now: int
    action: Action
    purpose: Purpose = Purpose.OPEN
    strategy: StrategyName = "day_trade"
    underlying: str = ""
    kind: Kind = Kind.STOCK
    identity: Identity = Identity.ACCOUNT_UNVERIFIED
    identity_at: int | None = None
    kill_state: KillState | None = None
    hours: Hours | None = None
    halted_since: int | None = None
    expires_today: bool = False
    confidence: float | None = None
    regime: Regime = FEED_OFF
    signal_bar_t: int | None = None
    newest_bar_t: int | None = None
    newest_feature_t: int | None = None
    session_pnl: Decimal | None = None
    ledger: Ledger | None = None
    long_qty: Decimal | None = None
    quantity: Decimal = Decimal(0)
    multiplier: int = 1
    worst_price: Decimal | None = None
    equity: Decimal | None = None
    buying_power: Decimal | None = None
    unshown: Decimal | None = None
    contract_score: float | None = None
    contract_reason: ContractReason | None = None
    contract_detail: str | None = None
    quote: Priced | None = None
    signal_close: Decimal | None = None
    underlying_price: Decimal | None = None
    stream_healthy: bool | None = None

    @property
    def option(self) -> bool:
        return self.kind is not Kind.STOCK


@dataclass(frozen=True)
class Rules:
    """The configuration as gates see it: one account's limits and the document's tunables."""

    account: Account
    config: Config


Reason = GateReason | ContractReason


class Check(NamedTuple):
    """What one gate found: ``reason`` OK passes. Observed and threshold are text with one ``unit``."""

    reason: Reason
    observed: str | None = None
    threshold: str | None = None
    unit: str | None = None


NOT_APPLICABLE = Check(GateReason.NOT_APPLICABLE)
Test = Callable[[GateInputs, Rules], Check]


class Gate(NamedTuple):
    """One row of the table. ``on_close``: also asked for a signal-driven close (column C).

    ``needs``: what it judges, by the keys of a case of ``tape step gates``.
    """

    name: str
    on_close: bool
    test: Test
    needs: tuple[str, ...]


class GateResult(NamedTuple):
    """One evaluated gate, as ``proposals`` stores it."""

    gate: str
    applies: bool
    passed: bool
    reason: Reason
    observed: str | None
    threshold: str | None
    unit: str | None


def run_gate(gate: Gate, inputs: GateInputs, rules: Rules) -> GateResult:
    """Evaluate one gate; any exception counts as a failure, GATE_ERROR."""
    if inputs.purpose is Purpose.CLOSE and not gate.on_close:
        check = NOT_APPLICABLE
    else:
        try:
            check = gate.test(inputs, rules)
        except Exception as error:
            text = error.what if isinstance(error, TapeError) else repr(error)
            check = Check(GateReason.GATE_ERROR, text)
    applies = check.reason is not GateReason.NOT_APPLICABLE
    passed = check.reason in (GateReason.OK, GateReason.NOT_APPLICABLE)
    return GateResult(gate.name, applies, passed, check.reason, check.observed, check.threshold, check.unit)


def seconds(micros: int) -> str:
    """As an observed value tells a time."""
    return f"{micros / SECOND_US:g}"
