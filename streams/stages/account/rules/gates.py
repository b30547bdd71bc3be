"""The 24 risk gates, in the order that names the primary reason (docs/domain.md#risk-gates).

Every gate is evaluated and recorded; nothing stops at the first failure.
"""

from collections.abc import Iterable
from decimal import Decimal

from tapedeck.streams.stages.account.rules import gates_account as account
from tapedeck.streams.stages.account.rules import gates_limits as limits
from tapedeck.streams.stages.account.rules import gates_price as price
from tapedeck.streams.stages.account.rules import gates_signal as signal
from tapedeck.streams.stages.account.rules.gate_types import Gate, GateInputs, GateResult, Rules, run_gate

_LEDGER, _ORDERS = ("holdings", "reservations"), ("orders_in_doubt", "needs_reconcile", "stream_healthy")
GATES: tuple[Gate, ...] = (
    Gate("account_identity", True, account.account_identity, ("identity", "identity_at")),
    Gate("kill_switch", False, account.kill_switch, ("kill_state",)),
    Gate("trading_hours", True, account.trading_hours, ("now", "halted_since")),
    Gate("action_allowed", True, account.action_allowed, ("action",)),
    Gate("confidence", True, signal.confidence, ("confidence",)),
    Gate("signal_freshness", True, signal.signal_freshness, ("signal_bar_t",)),
    Gate("bar_freshness", False, signal.bar_freshness, ("newest_bar_t",)),
    Gate("feature_freshness", False, signal.feature_freshness, ("newest_feature_t",)),
    Gate("volatility_regime", False, signal.volatility_regime, ("regime",)),
    Gate("daily_loss_limit", False, limits.daily_loss_limit, ("session_pnl",)),
    Gate("ticker_daily_limit", False, limits.ticker_daily_limit, ("filled_entries",)),
    Gate("ticker_cooldown", False, limits.ticker_cooldown, ("last_execution",)),
    Gate("sell_stock_position", True, limits.sell_stock_position, ("long_qty",)),
    Gate("duplicate_position", False, limits.duplicate_position, _LEDGER),
    Gate("conflicting_direction", False, limits.conflicting_direction, _LEDGER),
    Gate("max_positions", False, limits.max_positions, _LEDGER),
    Gate("max_contracts", False, limits.max_contracts, _LEDGER),
    Gate("max_exposure", False, limits.max_exposure, _LEDGER),
    Gate("buying_power", False, limits.buying_power, ("buying_power",)),
    Gate("contract_quality", False, price.contract_quality, ("contract_score", "contract_reason")),
    Gate("quote_age", False, price.quote_age, ("quote",)),
    Gate("spread", False, price.quoted_spread, ("quote",)),
    Gate("price_drift", False, price.price_drift, ("signal_close", "underlying_price")),
    Gate("pending_capacity", False, limits.pending_capacity, _ORDERS),
)


def evaluate(inputs: GateInputs, rules: Rules) -> tuple[GateResult, ...]:
    """All 24 results, in table order."""
    return tuple(run_gate(gate, inputs, rules) for gate in GATES)


def first_failure(results: Iterable[GateResult]) -> GateResult | None:
    """The first gate that failed: its reason is the primary one."""
    return next((result for result in results if not result.passed), None)


def regime_size(inputs: GateInputs, rules: Rules) -> Decimal | None:
    """The size multiplier of the regime: 1 where the feed is off, None if it is on and unknown."""
    regime = inputs.regime
    if not regime.on:
        return Decimal(1)
    if regime.value is None:
        return None
    return rules.config.regime.size[signal.regime_index(regime.value, rules)]
