"""Gates on the account: its identity, kill switch, hours and actions: 1-4 of docs/domain.md#risk-gates."""

from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import (
    Check,
    GateInputs,
    Identity,
    KillState,
    Rules,
    seconds,
)
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.rules.strategies import is_swing

R = GateReason


def account_identity(inputs: GateInputs, rules: Rules) -> Check:
    limit = rules.config.gate.identity_s
    if inputs.identity is Identity.ACCOUNT_MISMATCH:
        return Check(R.ACCOUNT_MISMATCH, inputs.identity.value, Identity.VERIFIED.value)
    if inputs.identity is not Identity.VERIFIED or inputs.identity_at is None:
        return Check(R.ACCOUNT_UNVERIFIED, None, str(limit), "s")
    age = inputs.now - inputs.identity_at
    reason = R.OK if age <= limit * SECOND_US else R.ACCOUNT_UNVERIFIED
    return Check(reason, seconds(age), str(limit), "s")


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
    since, bar_t = inputs.halted_since, inputs.newest_bar_t
    if since is not None and (bar_t is None or bar_t <= since):  # a later bar: the resumption was missed
        return Check(R.HALTED, f"{(now - since) / MINUTE_US:g}", None, "min since the halt")
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
