"""Limit prices of an order's ladder (docs/domain.md#order-prices)."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from tapedeck.streams.stages.account.rules.money import mid
from tapedeck.streams.stages.account.rules.orders import Purpose, Side

CENT = Decimal("0.01")
SUB_DOLLAR_TICK = Decimal("0.0001")
SHORT_OVER_ASK = Decimal("1.03")
_PLACES = Decimal("0.000001")


def round_down(price: Decimal, tick: Decimal) -> Decimal:
    """``price`` rounded down to ``tick``."""
    return (price / tick).to_integral_value(rounding=ROUND_FLOOR) * tick


def short_price(ask: Decimal, limit: Decimal | None) -> Decimal:
    """What a share sold short counts for until it is sold: its limit or 103 % of the ask, as at Alpaca.

    A limit bounds the price of a sale from below only. Rounded up to 6 places.
    """
    over = (ask * SHORT_OVER_ASK).quantize(_PLACES, ROUND_CEILING)
    return over if limit is None else max(limit, over)


class Steps(Protocol):
    """The ladder's parameters, as the group ``order`` has them."""

    @property
    def open_steps(self) -> Sequence[Decimal]: ...

    @property
    def close_steps(self) -> Sequence[Decimal]: ...

    @property
    def max_offset(self) -> Decimal: ...


def tick_of(price: Decimal, *, stock: bool) -> Decimal:
    """The smallest step of a price, USD."""
    return SUB_DOLLAR_TICK if stock and price < 1 else CENT


def ladder(
    bid: Decimal, ask: Decimal, side: Side, purpose: Purpose, steps: Steps, *, tick: Decimal | None = None,
    stock: bool = False,
) -> tuple[Decimal, ...]:  # fmt: skip
    """The limits of an order's steps, the last is the worst; h = half the spread.

    A buy that opens: mid + min(f h, max_offset mid). A sell that closes: mid - f h. A sell that opens and a
    buy that closes mirror them. All are rounded down to ``tick``; without one, to the price's own.
    """
    middle, half = mid(bid, ask), (ask - bid) / 2
    sign = 1 if side is Side.BUY else -1
    if purpose is Purpose.OPEN:
        offsets = [min(f * half, steps.max_offset * middle) for f in steps.open_steps]
    else:
        offsets = [f * half for f in steps.close_steps]
    return tuple(
        round_down(middle + sign * each, tick or tick_of(middle + sign * each, stock=stock))
        for each in offsets
    )
