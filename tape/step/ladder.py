"""``tape step ladder``: the limits of an order's steps, one quote a line."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.money import usable
from tapedeck.streams.stages.account.rules.orders import Purpose, Side
from tapedeck.streams.stages.account.rules.pricing import ladder
from tapedeck.tape.step.common import BadLine, Line, judged
from tapedeck.tape.step.shaped import shaped

HELP = """Price one order a line; each line is priced alone.

A line is an object with these keys; prices are texts, so that no digit is lost:
  bid, ask   the quote, USD
  side       "BUY" or "SELL"
  purpose    "OPEN" or "CLOSE"
  tick       the smallest step of a price; 0.01 where left out

Example:
  {"bid": "2.00", "ask": "2.10", "side": "BUY", "purpose": "OPEN", "tick": "0.01"}
gives
  {"limits": ["2.07", "2.08", "2.09"]}"""

_Price = Annotated[Decimal, Field(gt=0)]


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    bid: _Price
    ask: _Price
    side: Side
    purpose: Purpose
    tick: _Price = Decimal("0.01")


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_price(shaped(_Case, line), config)])


def _price(case: _Case, config: Config) -> dict[str, Any]:
    if not usable(case.bid, case.ask):
        raise BadLine(
            "the quote is crossed", value=f"{case.bid} / {case.ask}", remedy="bid must not exceed ask"
        )
    limits = ladder(case.bid, case.ask, case.side, case.purpose, config.order, tick=case.tick)
    return {"limits": [f"{limit:f}" for limit in limits]}
