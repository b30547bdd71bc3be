"""Gates on the contract, the quote and the price: 20-23 of docs/domain.md#risk-gates."""

from decimal import Decimal

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import (
    NOT_APPLICABLE,
    Check,
    GateInputs,
    Reason,
    Rules,
    seconds,
)
from tapedeck.streams.stages.account.rules.money import money, spread, usable

R = GateReason


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
    return Check(R.OK if 0 <= age <= limit * SECOND_US else R.QUOTE_STALE, seconds(age), str(limit), "s")


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
