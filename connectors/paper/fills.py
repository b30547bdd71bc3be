"""When and at what price an order is filled: a small seeded model that never fills better than the limit.

An order that crosses the spread fills at once at the other side. One that rests between mid and the other
side fills at its own limit, after a delay that shrinks as it nears the other side. One that rests behind mid
waits for the market to move.
"""

import math
import random
from decimal import Decimal
from typing import NamedTuple

from tapedeck.streams.stages.account.rules.orders import Side

_MISS_SHARE = 0.15
_PARTIAL_SHARE = 0.25
_SHORTEST_S, _LONGEST_BASE_S = 0.2, 1.0
_DELAY_AT_MID_S = 12.0


class Touch(NamedTuple):
    """The two sides of a quote; both are present and positive."""

    bid: Decimal
    ask: Decimal

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


def touch(bid: Decimal | None, ask: Decimal | None) -> Touch | None:
    """A usable quote; None if a side is missing or not positive, or if the quote is crossed."""
    if bid is None or ask is None or bid <= 0 or ask < bid:
        return None
    return Touch(bid, ask)


def crossing_price(side: Side, limit: Decimal | None, quote: Touch) -> Decimal | None:
    """The price of an immediate fill: the ask for a buy, the bid for a sell; None if the limit rests."""
    if side == "BUY":
        return quote.ask if limit is None or limit >= quote.ask else None
    return quote.bid if limit is None or limit <= quote.bid else None


def eagerness(side: Side, limit: Decimal, quote: Touch) -> Decimal | None:
    """The position of a resting limit between mid (0) and the other side (1); None if it is behind mid."""
    half = (quote.ask - quote.bid) / 2
    ahead = limit - quote.mid if side == "BUY" else quote.mid - limit
    return None if ahead < 0 else ahead / half if half else Decimal(1)


def delay_us(rng: random.Random, eager: Decimal) -> int | None:
    """Microseconds until a resting order is filled; None if nobody trades at this quote."""
    if rng.random() < _MISS_SHARE:
        return None
    base = rng.uniform(_SHORTEST_S, _LONGEST_BASE_S)
    return math.ceil(1e6 * (base + _DELAY_AT_MID_S * (1.0 - float(eager)) * rng.random() ** 2))


def part(rng: random.Random, remaining: Decimal) -> Decimal:
    """How much of ``remaining`` one resting execution fills: usually all, sometimes a whole-numbered part."""
    if remaining < 2 or rng.random() >= _PARTIAL_SHARE:
        return remaining
    return Decimal(rng.randint(1, int(remaining) - 1))


class Fees(NamedTuple):
    """What an execution costs besides its price, USD. The sum of all parts is rounded up to the cent.

    ``per_contract`` and ``per_share`` apply to buys and sells, ``per_contract_sold``, ``per_share_sold`` and
    ``per_million_sold`` (of the proceeds) to sells alone. ``most_per_share_sold`` caps the part by the share,
    0 for no cap. The default rates are assumptions of the usual size, ``ALPACA`` are a broker's.
    """

    per_contract: Decimal = Decimal("0.05")
    per_share_sold: Decimal = Decimal("0.0002")
    per_contract_sold: Decimal = Decimal(0)
    per_share: Decimal = Decimal(0)
    per_million_sold: Decimal = Decimal(0)
    most_per_share_sold: Decimal = Decimal(0)

    def of(self, *, is_option: bool, side: Side, qty: Decimal, proceeds: Decimal = Decimal(0)) -> Decimal:
        """The fee of one execution; ``proceeds``: quantity x price x multiplier."""
        fee = (self.per_contract if is_option else self.per_share) * qty
        if side == "SELL":
            fee += proceeds * self.per_million_sold / 1_000_000
            if is_option:
                fee += self.per_contract_sold * qty
            else:
                by_share = self.per_share_sold * qty
                fee += min(by_share, self.most_per_share_sold or by_share)
        return (fee * 100).to_integral_value(rounding="ROUND_CEILING") / 100


NO_FEES = Fees(*[Decimal(0)] * 6)
ALPACA = Fees(
    per_contract=Decimal("0.05145"),
    per_share_sold=Decimal("0.000166"),
    per_contract_sold=Decimal("0.00279"),
    per_share=Decimal("0.000046"),
    per_million_sold=Decimal(0),
    most_per_share_sold=Decimal("8.30"),
)
"""The regulatory fees that Alpaca passes on, from docs.alpaca.markets/docs/regulatory-fees.

A contract, either way: 0.02685 options regulatory fee + 0.02 clearing + 100 x 0.000046 audit trail (CAT). A
contract sold: 0.00279 trading activity fee (TAF). A share, either way: 0.000046 CAT; a share sold: 0.000166
TAF, at most 8.30 per trade. The SEC's fee on sells is 0 since 2025-05-14; it was 27.80 per million before.
Alpaca rounds up each day's total, this each execution: it never charges less.
"""
