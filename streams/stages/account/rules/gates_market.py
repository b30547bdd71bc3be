"""Gates on the account's status, time, data freshness and prices.

They are 1-9 and 20-23 of docs/domain.md#risk-gates.
"""

from decimal import Decimal

from tapedeck.streams.contract import MINUTE_US, SECOND_US
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_types import (
    NOT_APPLICABLE,
    Check,
    GateInputs,
    GateReason,
    Identity,
    KillState,
    Reason,
    Rules,
)
from tapedeck.streams.stages.account.rules.money import money, spread, usable
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.rules.strategies import is_swing

R = GateReason


def _seconds(micros: int) -> str:
    return f"{micros / SECOND_US:g}"


def account_identity(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.config.gate.identity_s
    if inputs.identity is Identity.ACCOUNT_MISMATCH:
        return Check(R.ACCOUNT_MISMATCH, inputs.identity.value, Identity.VERIFIED.value)
    if inputs.identity is not Identity.VERIFIED or inputs.identity_at is None:
        return Check(R.ACCOUNT_UNVERIFIED, None, str(limit), "s")
    age = inputs.now - inputs.identity_at
    reason = R.OK if age <= limit * SECOND_US else R.ACCOUNT_UNVERIFIED
    return Check(reason, _seconds(age), str(limit), "s")


_KILLED = {KillState.REDUCING: R.KILL_SWITCH_REDUCING, KillState.HALTED: R.KILL_SWITCH_HALTED}


def kill_switch(inputs: GateInputs, rules: Rules) -> Check:
    if inputs.kill_state is None:
        return Check(R.KILL_SWITCH_UNKNOWN, None, KillState.ACTIVE.value)
    return Check(_KILLED.get(inputs.kill_state, R.OK), inputs.kill_state.value, KillState.ACTIVE.value)


def trading_hours(inputs: GateInputs, rules: Rules) -> Check:
    hours, now = inputs.hours, inputs.now
    if hours is None or not hours.known:
        return Check(R.CALENDAR_UNKNOWN)
    if hours.open is None or hours.close is None or not hours.open <= now < hours.close:
        return Check(R.SESSION_CLOSED)
    since_open, to_close = now - hours.open, hours.close - now
    if inputs.purpose is Purpose.CLOSE:
        return Check(R.OK, f"{to_close / MINUTE_US:g}", "0", "min to close")
    blackout = rules.config.gate.opening_blackout_min
    if since_open < blackout * MINUTE_US:
        return Check(R.OPENING_BLACKOUT, f"{since_open / MINUTE_US:g}", str(blackout), "min since open")
    account = rules.account
    last = account.last_entry_swing_min if is_swing(inputs.strategy) else account.last_entry_day_min
    if to_close <= last * MINUTE_US:
        return Check(R.AFTER_LAST_ENTRY, f"{to_close / MINUTE_US:g}", str(last), "min to close")
    cutoff = rules.config.gate.expiry_cutoff_min
    if inputs.expires_today and to_close <= cutoff * MINUTE_US:
        return Check(R.EXPIRY_DAY_CUTOFF, f"{to_close / MINUTE_US:g}", str(cutoff), "min to close")
    return Check(R.OK, f"{to_close / MINUTE_US:g}", str(last), "min to close")


def action_allowed(inputs: GateInputs, rules: Rules) -> Check:
    allowed = rules.account.allowed_actions
    reason = R.OK if inputs.action in allowed else R.ACTION_NOT_ALLOWED
    return Check(reason, inputs.action.value, ",".join(action.value for action in allowed))


def regime_index(value: float, rules: Rules) -> int:
    """Which regime ``value`` falls into: 0 COMPLACENT .. 4 EXTREME; bounds belong to the higher one."""
    return sum(value >= bound for bound in rules.config.regime.bounds)


def confidence(inputs: GateInputs, rules: Rules) -> Check:
    threshold = rules.account.confidence_threshold
    regime, factor = inputs.regime, 1.0
    if inputs.confidence is None or (regime.on and regime.value is None):
        return Check(R.CONFIDENCE_MISSING, None, f"{threshold:g}")
    if regime.on and regime.value is not None:
        factor = rules.config.regime.confidence[regime_index(regime.value, rules)]
    observed = round(inputs.confidence * factor, 6)
    reason = R.OK if observed >= threshold else R.CONFIDENCE_TOO_LOW
    return Check(reason, f"{observed:.6f}", f"{threshold:g}")


def _age(now: int, bar_t: int, limit: int, *, skew: int, stale: Reason) -> Check:
    """Age = now - close of the bar, in seconds; below -``skew`` the clocks disagree."""
    age = now - (bar_t + MINUTE_US)
    if age < -skew * SECOND_US:
        return Check(R.CLOCK_SKEW, _seconds(age), str(-skew), "s")
    return Check(R.OK if age <= limit * SECOND_US else stale, _seconds(age), str(limit), "s")


def signal_freshness(inputs: GateInputs, rules: Rules) -> Check:
    gate = rules.config.gate
    if inputs.signal_bar_t is None:
        return Check(R.CLOCK_SKEW, None, str(gate.signal_s), "s")
    return _age(inputs.now, inputs.signal_bar_t, gate.signal_s, skew=gate.skew_s, stale=R.SIGNAL_STALE)


def bar_freshness(inputs: GateInputs, rules: Rules) -> Check:
    gate = rules.config.gate
    if inputs.newest_bar_t is None:
        return Check(R.BAR_MISSING, None, str(gate.bar_s), "s")
    return _age(inputs.now, inputs.newest_bar_t, gate.bar_s, skew=gate.skew_s, stale=R.BAR_STALE)


def feature_freshness(inputs: GateInputs, rules: Rules) -> Check:
    gate = rules.config.gate
    if inputs.newest_feature_t is None:
        return Check(R.FEATURE_MISSING, None, str(gate.feature_s), "s")
    return _age(inputs.now, inputs.newest_feature_t, gate.feature_s, skew=gate.skew_s, stale=R.FEATURE_STALE)


def volatility_regime(inputs: GateInputs, rules: Rules) -> Check:
    regime, limits = inputs.regime, rules.config.regime
    if not regime.on:
        return NOT_APPLICABLE
    if regime.value is None or regime.age_s is None or regime.age_s > limits.max_age_s:
        age = None if regime.age_s is None else f"{regime.age_s:g}"
        return Check(R.REGIME_UNKNOWN, age, str(limits.max_age_s), "s")
    extreme = limits.bounds[-1]
    return Check(R.OK if regime.value < extreme else R.REGIME_EXTREME, f"{regime.value:g}", f"{extreme:g}")


def contract_quality(inputs: GateInputs, rules: Rules) -> Check:
    if not inputs.option:
        return NOT_APPLICABLE
    least = rules.config.contract.min_quality
    if inputs.contract_score is None:
        none = inputs.contract_reason or ContractReason.NO_CONTRACT
        return Check(none, inputs.contract_detail, f"{least:g}", "score")
    reason: Reason = R.OK if inputs.contract_score >= least else ContractReason.QUALITY_TOO_LOW
    return Check(reason, f"{inputs.contract_score:g}", f"{least:g}", "score")


def quote_age(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.config.gate.quote_s
    if inputs.quote is None or inputs.quote.quote_time is None:
        return Check(R.QUOTE_MISSING, None, str(limit), "s")
    age = inputs.now - inputs.quote.quote_time
    return Check(R.OK if 0 <= age <= limit * SECOND_US else R.QUOTE_STALE, _seconds(age), str(limit), "s")


def quoted_spread(inputs: GateInputs, rules: Rules) -> Check:
    gate = rules.config.gate
    limit = gate.max_spread_option if inputs.option else gate.max_spread_stock
    quote = inputs.quote
    if quote is None or quote.bid is None or quote.ask is None or not usable(quote.bid, quote.ask):
        return Check(R.QUOTE_MISSING, None, str(limit))
    observed = spread(quote.bid, quote.ask)
    return Check(R.OK if observed <= limit else R.SPREAD_TOO_WIDE, str(observed), str(limit))


def price_drift(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.config.gate.max_drift
    now, then = inputs.underlying_price, inputs.signal_close
    if now is None or then is None or then <= 0:
        return Check(R.PRICE_MISSING, None, str(limit))
    observed = money(abs(now / then - Decimal(1)))
    return Check(R.OK if observed <= limit else R.PRICE_DRIFT, str(observed), str(limit))
