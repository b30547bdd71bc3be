"""Decimals: scale 6 for money, 4 places where a bar price meets contracts (docs/domain.md#conventions)."""

from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any

SCALE_6 = Decimal("0.000001")
SCALE_4 = Decimal("0.0001")
ZERO = Decimal(0)
LARGEST = 10**9
"""Prices and quantities are smaller: a product of two, and a sum of many, fits into the log's decimals."""
LARGEST_BALANCE = 10**15
_UNCOUNTED = frozenset({str, int, bool, type(None)})
_PLAIN = _UNCOUNTED | {float}


def money(value: Decimal) -> Decimal:
    """``value`` at scale 6, half-even."""
    return value.quantize(SCALE_6, ROUND_HALF_EVEN)


@lru_cache(maxsize=4096)
def bar_price(value: float) -> Decimal:
    """A float64 bar price as a decimal of 4 places, half-even."""
    return Decimal(repr(float(value))).quantize(SCALE_4, rounding=ROUND_HALF_EVEN)


def at_scale(value: Any) -> Any:
    """The same structure with every decimal at scale 6, so equal facts are equal bytes in every driver."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is Decimal:
        return value.quantize(SCALE_6, ROUND_HALF_EVEN)
    if isinstance(value, dict):
        return {name: inner if type(inner) in _PLAIN else at_scale(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [at_scale(inner) for inner in value]
    return money(value) if isinstance(value, Decimal) else value


def largest(value: Any) -> Decimal | float:
    """The largest absolute value of the decimals and floats in a structure."""
    if isinstance(value, Decimal):
        return abs(value)
    if isinstance(value, float):
        return abs(value)
    found: Decimal | float = ZERO
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        if type(each) not in _UNCOUNTED:
            found = max(found, largest(each))
    return found


def mid(bid: Decimal, ask: Decimal) -> Decimal:
    """(bid + ask) / 2, not rounded."""
    return (bid + ask) / 2


def usable(bid: Decimal | None, ask: Decimal | None) -> bool:
    """True where both sides are known, positive and not crossed."""
    return bid is not None and ask is not None and bid > 0 and ask >= bid


def spread(bid: Decimal, ask: Decimal) -> Decimal:
    """(ask - bid) / mid as a fraction, rounded to 6 decimals."""
    return money((ask - bid) / mid(bid, ask))
