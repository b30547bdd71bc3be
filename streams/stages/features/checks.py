"""Whether a bar is a BAD_BAR of docs/domain.md#bars: in compiled code, and in words."""

from typing import Any

from numba import njit

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.features import layout as L


@njit(error_model="numpy")
def is_bad(bar: Any, prices: Any) -> bool:
    """Whether a bar breaks a rule. NaN fails each comparison, so it is bad."""
    o, h, low, c = prices[L.F_OPEN], prices[L.F_HIGH], prices[L.F_LOW], prices[L.F_CLOSE]
    fine = bar[L.I_T] % MINUTE_US == 0 and bar[L.I_REVISION] >= 0
    fine = fine and L.PRICE_MIN <= low <= o <= h <= L.PRICE_MAX and low <= c <= h
    fine = fine and 0.0 <= prices[L.F_VOLUME] <= L.VOLUME_MAX
    return not fine


def broken_rule(bar: dict[str, Any]) -> str:
    """The first rule that a bad bar breaks, with the value; the kernel decides."""
    if bar["t"] % MINUTE_US:
        return f"t = {bar['t']} is not on a whole minute"
    if bar["revision"] < 0:
        return f"revision = {bar['revision']} is negative"
    for name in ("open", "high", "low", "close"):
        if not L.PRICE_MIN <= bar[name] <= L.PRICE_MAX:
            return f"{name} = {bar[name]} is not a price between {L.PRICE_MIN:g} and {L.PRICE_MAX:g}"
    for name in ("open", "close"):
        if not bar["low"] <= bar[name] <= bar["high"]:
            return f"{name} = {bar[name]} is not between low = {bar['low']} and high = {bar['high']}"
    return f"volume = {bar['volume']} is not between 0 and {L.VOLUME_MAX:g}"
