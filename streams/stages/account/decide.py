"""The decision on one signal: instrument, price, size, all 24 gates, the proposal and its order."""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.accounts import Action, Mode
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account import closing, fills, outlook, parents
from tapedeck.streams.stages.account.broker import needs_reconcile
from tapedeck.streams.stages.account.order_state import Parent, Quoted
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import (
    GateInputs,
    GateResult,
    Ledger,
    Priced,
    Reservation,
)
from tapedeck.streams.stages.account.rules.gates import evaluate, first_failure, regime_size
from tapedeck.streams.stages.account.rules.gates_limits import bullish
from tapedeck.streams.stages.account.rules.money import bar_price, mid, usable
from tapedeck.streams.stages.account.rules.orders import (
    IN_DOUBT,
    PositionIntent,
    Purpose,
    Side,
    client_order_id,
)
from tapedeck.streams.stages.account.rules.positions import Kind
from tapedeck.streams.stages.account.rules.pricing import ladder, short_price
from tapedeck.streams.stages.account.rules.sizing import Size, SizeReason, size_option, size_stock
from tapedeck.streams.stages.account.rules.strategies import is_swing
from tapedeck.streams.stages.account.state import Evaluation
from tapedeck.streams.stages.account.turn import Turn

KINDS = {Action.BUY_CALL: Kind.CALL, Action.BUY_PUT: Kind.PUT}


class Verdict(StrEnum):
    """How a proposal ends. APPROVED is the reservation."""

    APPROVED = "APPROVED"
    REFUSED = "REFUSED"
    NOT_SIZED = "NOT_SIZED"
    SHADOWED = "SHADOWED"


class Plan(NamedTuple):
    """What would be traded: ``quote`` is the instrument's, ``ladder`` its limits from first to worst.

    ``price`` is what a unit counts for: the worst limit, for a short what it may still be sold at.
    """

    kind: Kind
    purpose: Purpose
    side: Side
    intent: PositionIntent
    instrument: str | None
    multiplier: int
    quote: Quoted | None
    ladder: tuple[Decimal, ...]
    size: Size
    long_qty: Decimal
    price: Decimal | None

    @property
    def short(self) -> bool:
        return self.intent is PositionIntent.SELL

    @property
    def worst(self) -> Decimal | None:
        return self.ladder[-1] if self.ladder else None


def _instrument_quote(evaluation: Evaluation) -> tuple[Quoted | None, int]:
    """The quote of what would be traded, and its multiplier."""
    if evaluation.signal.action not in KINDS:
        return evaluation.quote, 1
    candidate = evaluation.candidate
    if candidate is None or candidate.contract is None:
        return None, 100
    contract = candidate.contract
    quote = Quoted(
        instrument=contract.symbol,
        feed=candidate.feed,
        origin=candidate.origin,
        quote_time=contract.quote_time,
        bid=contract.bid,
        ask=contract.ask,
    )
    return quote, contract.size


def _ladder(
    turn: Turn, quote: Quoted | None, side: Side, purpose: Purpose, *, stock: bool
) -> tuple[Decimal, ...]:
    if quote is None or quote.bid is None or quote.ask is None or not usable(quote.bid, quote.ask):
        return ()
    return ladder(quote.bid, quote.ask, side, purpose, turn.config.order, stock=stock)


def equity(turn: Turn) -> Decimal | None:
    """The broker's equity, None if it is older than ``sizing.equity_s``."""
    snapshot = turn.state.snapshot
    if snapshot is None or turn.now - snapshot.at > turn.config.sizing.equity_s * SECOND_US:
        return None
    return snapshot.equity


def _size(turn: Turn, evaluation: Evaluation, worst: Decimal | None, multiplier: int) -> Size:
    account, sizing = turn.account, turn.config.sizing
    judged = GateInputs(now=turn.now, action=evaluation.signal.action, regime=outlook.regime(turn))
    factor = regime_size(judged, turn.rules)
    if evaluation.signal.action not in KINDS:
        return size_stock(
            equity(turn),
            account.risk_day,
            worst,
            stop=sizing.stock_stop,
            cap=sizing.stock_cap,
            regime_size=factor,
        )
    risk = account.risk_swing if is_swing(evaluation.signal.strategy) else account.risk_day
    return size_option(
        equity(turn),
        risk,
        worst,
        max_contracts=account.max_contracts,
        multiplier=multiplier,
        regime_size=factor,
    )


def _whole(long_qty: Decimal) -> Size:
    """All whole shares of a long; less than one cannot be sold by a limit."""
    quantity = int(long_qty)
    return Size(quantity, SizeReason.SIZE_OK if quantity else SizeReason.SIZE_BELOW_ONE_UNIT)


def _plan(turn: Turn, evaluation: Evaluation) -> Plan:
    signal = evaluation.signal
    kind = KINDS.get(signal.action, Kind.STOCK)
    quote, multiplier = _instrument_quote(evaluation)
    long_qty = fills.sellable(turn, signal.symbol)
    closes = signal.action is Action.SELL_STOCK and long_qty > 0
    side = Side.SELL if signal.action is Action.SELL_STOCK else Side.BUY
    purpose = Purpose.CLOSE if closes else Purpose.OPEN
    limits = _ladder(turn, quote, side, purpose, stock=kind is Kind.STOCK)
    price = limits[-1] if limits else None
    if closes:
        size = _whole(long_qty) if limits else Size(0, SizeReason.SIZE_INPUT_MISSING)
        intent = PositionIntent.SELL_TO_CLOSE
    else:
        intent = PositionIntent.BUY_TO_OPEN if side is Side.BUY else PositionIntent.SELL
        if side is Side.SELL and quote is not None and quote.ask is not None and limits:
            price = short_price(quote.ask, limits[0])
        size = _size(turn, evaluation, price, multiplier)
    return Plan(
        kind,
        purpose,
        side,
        intent,
        quote.instrument if quote else None,
        multiplier,
        quote,
        limits,
        size,
        long_qty,
        price,
    )


def _ledger(turn: Turn, underlying: str) -> Ledger:
    state = turn.state
    reservations = tuple(
        Reservation(
            each.source,
            each.instrument,
            each.underlying,
            each.kind,
            each.bullish,
            each.purpose,
            each.remaining,
            each.worst_price,
            each.multiplier,
        )
        for each in state.reserved
    )
    today = (o for o in state.orders.values() if o.underlying == underlying and o.session == turn.session)
    filled = frozenset(
        o.parent or o.client_order_id for o in today if o.purpose is Purpose.OPEN and o.executed
    )
    return Ledger(
        holdings=fills.holdings(turn),
        reservations=reservations,
        filled_entries=filled,
        last_execution=state.last_execution.get(underlying),
        orders_in_doubt=sum(o.state in IN_DOUBT for o in state.orders.values()),
        needs_reconcile=needs_reconcile(turn, underlying),
    )


def _underlying_price(turn: Turn, quote: Quoted | None) -> Decimal | None:
    """The stock's mid now, None if the quote is old."""
    if quote is None or quote.quote_time is None or quote.bid is None or quote.ask is None:
        return None
    fresh = 0 <= turn.now - quote.quote_time <= turn.config.gate.quote_s * SECOND_US
    return mid(quote.bid, quote.ask) if fresh and usable(quote.bid, quote.ask) else None


def _inputs(turn: Turn, evaluation: Evaluation, plan: Plan) -> GateInputs:
    signal, state, candidate, quote = evaluation.signal, turn.state, evaluation.candidate, plan.quote
    snapshot, known_equity = state.snapshot, equity(turn)
    power = None
    if snapshot is not None and known_equity is not None:
        power = snapshot.buying_power if plan.kind is Kind.STOCK else snapshot.options_buying_power
    contract = candidate.contract if candidate else None
    halt = state.halts.get(signal.symbol)
    return GateInputs(
        now=turn.now,
        action=signal.action,
        purpose=plan.purpose,
        strategy=signal.strategy,
        underlying=signal.symbol,
        kind=plan.kind,
        identity=state.identity,
        identity_at=snapshot.at if snapshot else None,
        kill_state=turn.kill_state(),
        hours=turn.hours(),
        halted_since=halt.since if halt is not None and halt.halted else None,
        expires_today=contract is not None and contract.expiry == turn.session,
        confidence=signal.confidence,
        regime=outlook.regime(turn),
        signal_bar_t=signal.bar_t,
        newest_bar_t=signal.newest_bar_t,
        newest_feature_t=signal.newest_feature_t,
        session_pnl=fills.pnl(turn, known=signal.symbol not in fills.unpriced(turn)),
        ledger=_ledger(turn, signal.symbol),
        long_qty=plan.long_qty,
        quantity=Decimal(plan.size.quantity),
        multiplier=plan.multiplier,
        worst_price=plan.price,
        equity=known_equity,
        buying_power=power,
        unshown=fills.unshown(turn),
        contract_score=candidate.score if candidate else None,
        contract_reason=candidate.reason if candidate else None,
        contract_detail=candidate.detail if candidate else None,
        quote=Priced(quote.bid, quote.ask, quote.quote_time) if quote else None,
        signal_close=None if signal.close is None else bar_price(signal.close),
        underlying_price=_underlying_price(turn, evaluation.quote),
        stream_healthy=state.stream_healthy,
    )


def _verdict(turn: Turn, plan: Plan, results: Sequence[GateResult]) -> tuple[Verdict, str]:
    """The verdict and its primary reason: the first gate that failed, else the size, else OK."""
    failed = first_failure(results)
    if failed is not None:
        return Verdict.REFUSED, failed.reason.value
    if plan.size.quantity == 0:
        return Verdict.NOT_SIZED, plan.size.reason.value
    return (Verdict.SHADOWED if turn.account.mode is Mode.SHADOW else Verdict.APPROVED), GateReason.OK.value


def _source(turn: Turn, evaluation: Evaluation, plan: Plan) -> str:
    """What an order's id is made from: the signal, or the position and the number of this exit."""
    if plan.purpose is Purpose.OPEN:
        return evaluation.signal.signal_id
    position = fills.folded(turn, evaluation.signal.symbol).open
    assert position is not None  # a CLOSE has a long to sell
    return closing.next_source(turn, evaluation.signal.symbol, position)


def _propose(
    turn: Turn, evaluation: Evaluation, plan: Plan, results: Sequence[GateResult]
) -> tuple[str, str | None]:
    """Publish the proposal; returns its event_id and, if it proceeds, the client order id."""
    signal, quote = evaluation.signal, plan.quote
    verdict, primary = _verdict(turn, plan, results)
    account_id, order_id = turn.account.account_id, None
    if verdict in (Verdict.APPROVED, Verdict.SHADOWED):
        order_id = client_order_id(account_id, _source(turn, evaluation, plan), plan.purpose, 0)
    stored_quote = None
    if quote is not None and None not in (quote.quote_time, quote.bid, quote.ask):
        stored_quote = {name: getattr(quote, name) for name in Quoted.__dataclass_fields__}
    snapshot, inputs = turn.state.snapshot, list(evaluation.inputs)
    if snapshot is not None and snapshot.event_id not in inputs:
        inputs.append(snapshot.event_id)
    halt = turn.state.halts.get(signal.symbol)
    if halt is not None and halt.halted:
        inputs.append(halt.event_id)
    inputs += outlook.inputs(turn)
    fields = {
        "signal_id": signal.signal_id,
        "symbol": signal.symbol,
        "action": signal.action.value,
        "strategy": signal.strategy,
        "purpose": plan.purpose.value,
        "verdict": verdict.value,
        "primary_reason": primary,
        "sizing_reason": plan.size.reason.value,
        "gates": [result._asdict() | {"reason": result.reason.value} for result in results],
        "instrument": plan.instrument,
        "multiplier": plan.multiplier,
        "quantity": Decimal(plan.size.quantity),
        "limit_price": plan.ladder[0] if plan.ladder else None,
        "worst_price": plan.worst,
        "quote": stored_quote,
        "contract_score": evaluation.candidate.score if evaluation.candidate else None,
        "equity": snapshot.equity if snapshot else None,
        "confidence": signal.confidence,
        "bar_t": signal.bar_t,
        "universe_version": signal.universe_version,
        "client_order_id": order_id,
    }
    return turn.emit("proposals", fields, inputs), order_id


def decide(turn: Turn, evaluation: Evaluation) -> None:
    """Decide one signal on what is known now: publish a proposal, and place the order if it is approved."""
    plan = _plan(turn, evaluation)
    results = evaluate(_inputs(turn, evaluation, plan), turn.rules)
    proposal, order_id = _propose(turn, evaluation, plan, results)
    if order_id is None or plan.instrument is None or plan.price is None:
        return
    signal = evaluation.signal
    if plan.purpose is Purpose.CLOSE:
        closing.of_signal(turn, signal.symbol, signal.signal_id, plan.ladder[0], proposal)
        return
    parent = Parent(
        source=signal.signal_id,
        signal_id=signal.signal_id,
        instrument=plan.instrument,
        underlying=signal.symbol,
        kind=plan.kind,
        bullish=bullish(signal.action),
        strategy=signal.strategy,
        side=plan.side,
        intent=plan.intent,
        purpose=plan.purpose,
        qty=Decimal(plan.size.quantity),
        multiplier=plan.multiplier,
        worst_price=plan.price,
        session=turn.session,
        cause=proposal,
        reference=None if signal.close is None else bar_price(signal.close),
        lowest=plan.worst if plan.short else None,
    )
    parents.begin(turn, parent, plan.ladder[0])
