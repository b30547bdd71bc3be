"""Limit prices of an order's ladder (docs/domain.md#order-prices)."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal

from tapedeck.streams.stages.account.rules.money import mid

CENT = Decimal("0.01")
SUB_DOLLAR_TICK = Decimal("0.0001")


def round_down_to_tick(price: Decimal, *, stock: bool) -> Decimal:
    """``price`` rounded down to its tick: 0.01, or 0.0001 for a stock under 1.00."""
    tick = SUB_DOLLAR_TICK if stock and price < 1 else CENT
    return (price / tick).to_integral_value(rounding=ROUND_FLOOR) * tick


def buy_ladder(
    bid: Decimal, ask: Decimal, steps: Sequence[Decimal], max_offset: Decimal, *, stock: bool
) -> tuple[Decimal, ...]:
    """Limits of an opening buy: mid + min(f h, max_offset mid) per step, h = half the spread."""
    middle, half = mid(bid, ask), (ask - bid) / 2
    return tuple(round_down_to_tick(middle + min(f * half, max_offset * middle), stock=stock) for f in steps)


def sell_ladder(bid: Decimal, ask: Decimal, steps: Sequence[Decimal], *, stock: bool) -> tuple[Decimal, ...]:
    """Limits of a sell: mid - f h per step, h = half the spread. The last is the worst."""
    middle, half = mid(bid, ask), (ask - bid) / 2
    return tuple(round_down_to_tick(middle - f * half, stock=stock) for f in steps)
