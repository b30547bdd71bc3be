"""Gates on the signal: confidence, the age of its data, the regime: 5-9 of docs/domain.md#risk-gates."""

from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import (
    NOT_APPLICABLE,
    Check,
    GateInputs,
    Reason,
    Rules,
    seconds,
)

R = GateReason


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
        return Check(R.CLOCK_SKEW, seconds(age), str(-skew), "s")
    return Check(R.OK if age <= limit * SECOND_US else stale, seconds(age), str(limit), "s")


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
