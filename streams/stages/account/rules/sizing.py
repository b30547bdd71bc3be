"""How many contracts or shares a proposal is for (docs/domain.md#sizing)."""

from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import NamedTuple


class SizeReason(StrEnum):
    """Why a size is what it is."""

    SIZE_OK = "SIZE_OK"
    SIZE_CAPPED_CONTRACTS = "SIZE_CAPPED_CONTRACTS"
    SIZE_CAPPED_POSITION_PCT = "SIZE_CAPPED_POSITION_PCT"
    SIZE_BELOW_ONE_UNIT = "SIZE_BELOW_ONE_UNIT"
    SIZE_INPUT_MISSING = "SIZE_INPUT_MISSING"


class Size(NamedTuple):
    """Units to trade (0 = do not) and why."""

    quantity: int
    reason: SizeReason


_MISSING = Size(0, SizeReason.SIZE_INPUT_MISSING)
_TOO_SMALL = Size(0, SizeReason.SIZE_BELOW_ONE_UNIT)


def _floor(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_FLOOR))


def size_option(
    equity: Decimal | None,
    risk: Decimal,
    worst_price: Decimal | None,
    *,
    max_contracts: int,
    multiplier: int = 100,
    regime_size: Decimal | None = Decimal(1),
) -> Size:
    """Contracts whose whole premium at ``worst_price`` stays within ``equity`` x ``risk`` (a fraction).

    Null equity (unknown or older than ``sizing.equity_s``), price or regime gives 0: never a default.
    """
    if equity is None or regime_size is None or worst_price is None or worst_price <= 0:
        return _MISSING
    wanted = _floor(equity * risk * regime_size / (worst_price * multiplier))
    if wanted < 1:
        return _TOO_SMALL
    if wanted > max_contracts:
        return Size(max_contracts, SizeReason.SIZE_CAPPED_CONTRACTS)
    return Size(wanted, SizeReason.SIZE_OK)


def size_stock(
    equity: Decimal | None,
    risk: Decimal,
    price: Decimal | None,
    *,
    stop: Decimal,
    cap: Decimal,
    regime_size: Decimal | None = Decimal(1),
) -> Size:
    """Shares whose loss at the ``stop`` fraction is within ``equity`` x ``risk``, at most ``cap`` of it."""
    if equity is None or regime_size is None or price is None or price <= 0:
        return _MISSING
    by_risk = _floor(equity * risk * regime_size / (price * stop))
    by_cap = _floor(equity * cap * regime_size / price)
    if min(by_risk, by_cap) < 1:
        return _TOO_SMALL
    if by_cap < by_risk:
        return Size(by_cap, SizeReason.SIZE_CAPPED_POSITION_PCT)
    return Size(by_risk, SizeReason.SIZE_OK)
