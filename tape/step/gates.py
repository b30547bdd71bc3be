"""``tape step gates``: the 24 risk gates on one case a line."""

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from tapedeck.streams.config.accounts import Account, Action, TradedAction
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import CalendarUnknown, day_number, micros, xnys
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_types import (
    GateInputs,
    GateResult,
    Holding,
    Hours,
    Identity,
    KillState,
    Ledger,
    Priced,
    Regime,
    Reservation,
    Rules,
)
from tapedeck.streams.stages.account.rules.gates import GATES, evaluate, first_failure
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.rules.positions import Kind
from tapedeck.streams.stages.account.rules.strategies import StrategyName
from tapedeck.tape.step.common import BadLine, Line, judged
from tapedeck.tape.step.shaped import shaped

_CASE = """Evaluate the risk gates on one case a line; each line is judged alone.

A line is an object. A gate none of whose keys is given is not tested; null is unknown and fails.
  account       {"tier": "large", ...}: limits by their configuration names over the tier's own
  now           ISO 8601 time; action BUY_CALL, BUY_PUT, BUY_STOCK or SELL_STOCK; purpose OPEN or CLOSE
  strategy      day_trade, swing_trade or your own; symbol the underlying
  expiry        of the contract; quantity, worst_price, multiplier of the new order
  regime        {"on", "value", "age_s"}; quote {"bid", "ask", "time"}
  signal_bar_t, newest_bar_t, newest_feature_t   left edges of bars
  halted_since  time of a halt in the symbol; later bars show that it has ended
  filled_entries a number; last_execution a time; unshown, equity beside buying_power

holdings: {"symbol", "kind" CALL|PUT|STOCK, "qty", "multiplier", "entry_price"}
reservations: {"symbol", "action", "remaining", "worst_price", "multiplier"}

Examples:
  {"confidence": 0.399999, "account": {"tier": "tiny"}}
  {"action": "BUY_CALL", "symbol": "NVDA", "holdings": [],
   "reservations": [{"symbol": "NVDA", "action": "BUY_PUT", "remaining": 1, "worst_price": 2}]}
give {"passed", "primary_reason", "gates": [{"gate", "applies", "passed", "reason", "observed",
"threshold", "unit"}, ...]} with all 24 gates; "passed" is null for a gate that was not tested.

The keys of each gate:
"""
HELP = _CASE + "\n".join(f"  {gate.name:<22}{', '.join(gate.needs)}" for gate in GATES)

_TIMED = {
    "account_identity",
    "trading_hours",
    "signal_freshness",
    "bar_freshness",
    "feature_freshness",
    "ticker_cooldown",
    "quote_age",
}
_KINDS = {Action.BUY_CALL: Kind.CALL, Action.BUY_PUT: Kind.PUT}
_PLACEHOLDERS = {
    "account_id": "step",
    "base_url": "http://127.0.0.1",
    "broker_account_id": "step",
    "key_ref": "TAPE_STEP_KEY",
    "secret_ref": "TAPE_STEP_SECRET",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Holding(_Part):
    symbol: str
    kind: Kind
    qty: Decimal
    multiplier: int = 1
    entry_price: Decimal | None = None


class _Reservation(_Part):
    symbol: str
    action: TradedAction
    remaining: Decimal = Decimal(1)
    worst_price: Decimal = Decimal(0)
    multiplier: int = 1


class _Regime(_Part):
    on: bool = True
    value: float | None = None
    age_s: float | None = None


class _Quote(_Part):
    bid: Decimal | None = None
    ask: Decimal | None = None
    time: AwareDatetime | None = None


class _Case(_Part):
    account: dict[str, Any] = {"tier": "large"}
    now: AwareDatetime | None = None
    action: TradedAction = Action.BUY_CALL
    purpose: Purpose = Purpose.OPEN
    strategy: StrategyName = "day_trade"
    symbol: str = ""
    identity: Identity | None = None
    identity_at: AwareDatetime | None = None
    kill_state: KillState | None = None
    halted_since: AwareDatetime | None = None
    expiry: date | None = None
    confidence: float | None = None
    regime: _Regime | None = None
    signal_bar_t: AwareDatetime | None = None
    newest_bar_t: AwareDatetime | None = None
    newest_feature_t: AwareDatetime | None = None
    session_pnl: Decimal | None = None
    filled_entries: int | None = None
    last_execution: AwareDatetime | None = None
    long_qty: Decimal | None = None
    holdings: tuple[_Holding, ...] | None = ()
    reservations: tuple[_Reservation, ...] | None = ()
    quantity: Decimal = Decimal(0)
    worst_price: Decimal | None = None
    multiplier: int = 1
    buying_power: Decimal | None = None
    unshown: Decimal | None = Decimal(0)
    equity: Decimal | None = None
    contract_score: float | None = None
    contract_reason: ContractReason | None = None
    quote: _Quote | None = None
    signal_close: Decimal | None = None
    underlying_price: Decimal | None = None
    orders_in_doubt: int = 0
    needs_reconcile: bool = False
    stream_healthy: bool | None = True


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(line, config)])


def _judge(line: Line, config: Config) -> dict[str, Any]:
    case = shaped(_Case, line)
    tested = {gate.name for gate in GATES if any(key in line for key in gate.needs)}
    if case.now is None and tested & _TIMED:
        raise BadLine(f"now is missing: {', '.join(sorted(tested & _TIMED))} compare with it")
    results = evaluate(_inputs(case), Rules(_account(case), config))
    failed = first_failure(result for result in results if result.gate in tested)
    return {
        "passed": failed is None,
        "primary_reason": failed.reason.value if failed else "OK",
        "gates": [_shown(result, tested) for result in results],
    }


def _shown(result: GateResult, tested: set[str]) -> dict[str, Any]:
    if result.gate in tested:
        return result._asdict() | {"reason": result.reason.value}
    untested = GateResult(result.gate, False, False, result.reason, None, None, None)
    return untested._asdict() | {"passed": None, "reason": "NOT_TESTED"}


def _account(case: _Case) -> Account:
    limits = {name: tuple(v) if isinstance(v, list) else v for name, v in case.account.items()}
    money = {name for name, field in Account.model_fields.items() if "Decimal" in str(field.annotation)}
    try:
        typed = {name: Decimal(str(v)) if name in money else v for name, v in limits.items()}
        return Account.model_validate(_PLACEHOLDERS | typed)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadLine(f"account.{first['loc'][0]}: {first['msg']}", value=first["input"]) from None
    except ArithmeticError:
        raise BadLine("a limit of account is not a number", value=case.account) from None


def _instant(moment: AwareDatetime | None) -> int | None:
    return None if moment is None else micros(moment)


def _hours(now: int) -> Hours:
    try:
        session = xnys().session_at(now)
    except CalendarUnknown:
        return Hours(known=False)
    return Hours(True) if session is None else Hours(True, session.open, session.close)


def _ledger(case: _Case) -> Ledger | None:
    if case.holdings is None or case.reservations is None:
        return None
    holdings = (
        Holding(f"h{i}", h.symbol, h.kind, h.qty, h.multiplier, h.entry_price)
        for i, h in enumerate(case.holdings)
    )
    reservations = (
        Reservation(
            client_order_id=f"r{i}",
            instrument=f"r{i}",
            underlying=r.symbol,
            kind=_KINDS.get(r.action, Kind.STOCK),
            bullish=r.action in (Action.BUY_CALL, Action.BUY_STOCK),
            purpose=Purpose.OPEN,
            remaining=r.remaining,
            worst_price=r.worst_price,
            multiplier=r.multiplier,
        )
        for i, r in enumerate(case.reservations)
    )
    return Ledger(
        holdings=tuple(holdings),
        reservations=tuple(reservations),
        filled_entries=frozenset(f"e{i}" for i in range(case.filled_entries or 0)),
        last_execution=_instant(case.last_execution),
        orders_in_doubt=case.orders_in_doubt,
        needs_reconcile=case.needs_reconcile,
    )


def _inputs(case: _Case) -> GateInputs:
    now = _instant(case.now) or 0
    direct = (
        "action purpose strategy kill_state confidence session_pnl long_qty quantity worst_price "
        "multiplier buying_power unshown equity contract_score contract_reason signal_close "
        "underlying_price stream_healthy"
    )
    expires_today = case.expiry is not None and day_number(case.expiry) == xnys().session_date(now)
    regime, quote = case.regime, case.quote
    return GateInputs(
        now=now,
        underlying=case.symbol,
        kind=_KINDS.get(case.action, Kind.STOCK),
        identity=case.identity or Identity.ACCOUNT_UNVERIFIED,
        identity_at=_instant(case.identity_at),
        hours=_hours(now),
        halted_since=_instant(case.halted_since),
        expires_today=expires_today,
        regime=Regime(regime.on, regime.value, regime.age_s) if regime else Regime(),
        signal_bar_t=_instant(case.signal_bar_t),
        newest_bar_t=_instant(case.newest_bar_t),
        newest_feature_t=_instant(case.newest_feature_t),
        ledger=_ledger(case),
        quote=Priced(quote.bid, quote.ask, _instant(quote.time)) if quote else None,
        **{name: getattr(case, name) for name in direct.split()},
    )
