"""``tape step sizing``: how many contracts or shares, one case a line."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tapedeck.streams.config.accounts import Tier, tier_defaults
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.sizing import Size, size_option, size_stock
from tapedeck.streams.stages.account.rules.strategies import StrategyName, is_swing
from tapedeck.tape.step.common import BadLine, Line, judged
from tapedeck.tape.step.shaped import shaped

HELP = """Size one order a line; each line is judged alone.

A line is an object with these keys:
  kind            "option" or "stock"
  equity          the broker's equity in USD, null where it is unknown
  worst_price     the price of the last ladder step, USD per unit
  risk            the part of equity at risk, e.g. 0.01; or leave it out and give
  tier, strategy  "tiny".."large", "day_trade", "swing_trade" or your own: the tier's own figure is used
  regime          the size factor of the volatility regime, 1 where left out
  multiplier      shares per contract, 100 where left out
  max_contracts   the cap; the tier's where left out, none without a tier

Example:
  {"kind": "option", "equity": 100000, "risk": 0.01, "worst_price": 2.50}
gives
  {"quantity": 4, "reason": "SIZE_OK"}"""

_NO_CAP = 1_000_000_000


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["option", "stock"]
    equity: Decimal | None
    worst_price: Decimal | None
    risk: Annotated[Decimal, Field(ge=0)] | None = None
    tier: Tier | None = None
    strategy: StrategyName = "day_trade"
    regime: Annotated[Decimal, Field(ge=0)] | None = Decimal(1)
    multiplier: Annotated[int, Field(gt=0)] = 100
    max_contracts: Annotated[int, Field(gt=0)] | None = None


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(shaped(_Case, line), config)])


def _judge(case: _Case, config: Config) -> dict[str, Any]:
    size = _size(case, config)
    return {"quantity": size.quantity, "reason": size.reason.value}


def _size(case: _Case, config: Config) -> Size:
    limits = tier_defaults(case.tier) if case.tier else {}
    risk = case.risk
    if risk is None:
        swing = is_swing(case.strategy) and case.kind == "option"
        risk = limits.get("risk_swing" if swing else "risk_day")
    if risk is None:
        raise BadLine("neither risk nor tier is given", remedy="give one of them")
    if case.kind == "stock":
        sizing = config.sizing
        return size_stock(
            case.equity,
            risk,
            case.worst_price,
            stop=sizing.stock_stop,
            cap=sizing.stock_cap,
            regime_size=case.regime,
        )
    cap = case.max_contracts or limits.get("max_contracts", _NO_CAP)
    return size_option(
        case.equity,
        risk,
        case.worst_price,
        max_contracts=cap,
        multiplier=case.multiplier,
        regime_size=case.regime,
    )
