"""Gates on what the account holds, has committed and may lose: 10-19, 24 of docs/domain.md#risk-gates."""

from decimal import Decimal

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import (
    NOT_APPLICABLE,
    Check,
    GateInputs,
    Holding,
    Ledger,
    Reservation,
    Rules,
)
from tapedeck.streams.stages.account.rules.money import ZERO, money
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.rules.positions import Kind

R = GateReason
_BULLISH = {Action.BUY_CALL: True, Action.BUY_STOCK: True, Action.BUY_PUT: False, Action.SELL_STOCK: False}


def bullish(action: Action) -> bool:
    """True where opening by ``action`` gains if the underlying rises."""
    return _BULLISH[action]


def daily_loss_limit(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.account.max_daily_loss
    if inputs.session_pnl is None:
        return Check(R.DAILY_PNL_UNKNOWN, None, str(-limit), "USD")
    reason = R.OK if inputs.session_pnl > -limit else R.DAILY_LOSS_REACHED
    return Check(reason, str(money(inputs.session_pnl)), str(-limit), "USD")


def ticker_daily_limit(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.account.max_trades_per_ticker_per_day
    if inputs.ledger is None:
        return Check(R.TICKER_DAILY_LIMIT, None, str(limit), "entries")
    reserved = {r.client_order_id for r in _reserved(inputs, inputs.ledger)}
    count = len(inputs.ledger.filled_entries | reserved)
    return Check(R.OK if count < limit else R.TICKER_DAILY_LIMIT, str(count), str(limit), "entries")


def _reserved(inputs: GateInputs, ledger: Ledger) -> list[Reservation]:
    """The reservations for openings in the underlying."""
    return [r for r in ledger.reservations if r.underlying == inputs.underlying and r.purpose is Purpose.OPEN]


def _held(inputs: GateInputs, ledger: Ledger) -> list[Holding]:
    return [h for h in ledger.holdings if h.underlying == inputs.underlying]


def ticker_cooldown(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.account.ticker_cooldown_minutes
    if inputs.ledger is None:
        return Check(R.TICKER_COOLDOWN, None, str(limit), "min")
    if inputs.ledger.last_execution is None:
        return Check(R.OK, None, str(limit), "min")
    since = inputs.now - inputs.ledger.last_execution
    reason = R.OK if since >= limit * MINUTE_US else R.TICKER_COOLDOWN
    return Check(reason, f"{since / MINUTE_US:g}", str(limit), "min")


def sell_stock_position(inputs: GateInputs, rules: Rules) -> Check:
    if inputs.action is not Action.SELL_STOCK:
        return NOT_APPLICABLE
    if inputs.long_qty is None:
        return Check(R.POSITION_UNKNOWN, None, "0", "shares")
    allowed = inputs.long_qty > 0 or rules.account.allow_shorting
    return Check(R.OK if allowed else R.NO_LONG_TO_SELL, str(inputs.long_qty), "0", "shares")


def duplicate_position(inputs: GateInputs, rules: Rules) -> Check:
    if inputs.ledger is None:
        return Check(R.DUPLICATE_POSITION)
    kinds = {h.kind for h in _held(inputs, inputs.ledger)}
    kinds |= {r.kind for r in _reserved(inputs, inputs.ledger)}
    observed = ",".join(sorted(kinds)) or None
    return Check(R.DUPLICATE_POSITION if inputs.kind in kinds else R.OK, observed, inputs.kind.value)


def _directions(ledger: Ledger, inputs: GateInputs) -> set[bool]:
    """The directions of the account's exposure in the underlying: True is up."""
    held = {(h.kind is Kind.PUT) != (h.qty > 0) for h in _held(inputs, ledger)}
    return held | {r.bullish for r in _reserved(inputs, ledger)}


def conflicting_direction(inputs: GateInputs, rules: Rules) -> Check:
    if inputs.ledger is None:
        return Check(R.CONFLICTING_DIRECTION)
    wanted, held = bullish(inputs.action), _directions(inputs.ledger, inputs)
    observed = ",".join("BULL" if up else "BEAR" for up in sorted(held)) or None
    reason = R.CONFLICTING_DIRECTION if (not wanted) in held else R.OK
    return Check(reason, observed, "BULL" if wanted else "BEAR")


def max_positions(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.account.max_positions
    if inputs.ledger is None:
        return Check(R.MAX_POSITIONS, None, str(limit), "positions")
    # a partly filled reservation is one position, not two
    instruments = {h.instrument for h in inputs.ledger.holdings}
    instruments |= {r.instrument for r in inputs.ledger.reservations if r.purpose is Purpose.OPEN}
    count = len(instruments) + 1
    return Check(R.OK if count <= limit else R.MAX_POSITIONS, str(count), str(limit), "positions")


def max_contracts(inputs: GateInputs, rules: Rules) -> Check:
    if not inputs.option:
        return NOT_APPLICABLE
    limit = rules.account.max_contracts
    if inputs.ledger is None:
        return Check(R.MAX_CONTRACTS, None, str(limit), "contracts")
    ledger = inputs.ledger
    held = sum((abs(h.qty) for h in _held(inputs, ledger) if h.kind is not Kind.STOCK), ZERO)
    reserved = sum((r.remaining for r in _reserved(inputs, ledger) if r.kind is not Kind.STOCK), ZERO)
    total = held + reserved + inputs.quantity
    return Check(R.OK if total <= limit else R.MAX_CONTRACTS, f"{total:f}", str(limit), "contracts")


def _new_cost(inputs: GateInputs) -> Decimal | None:
    """What the new order costs at its worst price; 0 if nothing was sized."""
    if inputs.quantity == 0:
        return ZERO
    return None if inputs.worst_price is None else inputs.quantity * inputs.worst_price * inputs.multiplier


def max_exposure(inputs: GateInputs, rules: Rules) -> Check:
    limit, new = rules.account.max_exposure, _new_cost(inputs)
    if inputs.ledger is None or new is None:
        return Check(R.EXPOSURE_UNKNOWN, None, str(limit), "USD")
    total = new
    for held in inputs.ledger.holdings:
        if held.entry_price is None:
            return Check(R.EXPOSURE_UNKNOWN, held.instrument, str(limit), "USD")
        total += abs(held.qty) * held.multiplier * held.entry_price
    for reserved in inputs.ledger.reservations:
        if reserved.purpose is Purpose.OPEN:
            total += reserved.remaining * reserved.worst_price * reserved.multiplier
    return Check(R.OK if total <= limit else R.MAX_EXPOSURE, str(money(total)), str(limit), "USD")


def buying_power(inputs: GateInputs, rules: Rules) -> Check:
    need, power = _new_cost(inputs), inputs.buying_power
    if not inputs.option:
        power = None if power is None or inputs.equity is None else min(power, inputs.equity)
    if need is None or power is None or inputs.unshown is None:
        return Check(R.BUYING_POWER_UNKNOWN, None, None, "USD")
    left = power - inputs.unshown
    return Check(R.OK if need <= left else R.BUYING_POWER, str(money(need)), str(money(left)), "USD")


def pending_capacity(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.account.max_pending_orders
    if inputs.ledger is None or inputs.stream_healthy is None:
        return Check(R.STREAM_DOWN, None, str(limit), "orders")
    pending = len(inputs.ledger.reservations) + 1
    measured = Check(R.OK, str(pending), str(limit), "orders")
    if pending > limit:
        return measured._replace(reason=R.PENDING_CAPACITY)
    if inputs.ledger.orders_in_doubt:
        return Check(R.ORDER_STATE_UNKNOWN, str(inputs.ledger.orders_in_doubt), "0", "orders in doubt")
    if inputs.ledger.needs_reconcile:
        return measured._replace(reason=R.NEEDS_RECONCILE)
    return measured if inputs.stream_healthy else measured._replace(reason=R.STREAM_DOWN)
