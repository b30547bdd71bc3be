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
    """Regulatory fees, rounded up to the cent per execution. The rates are assumptions of the usual size."""

    per_contract: Decimal = Decimal("0.05")
    per_share_sold: Decimal = Decimal("0.0002")

    def of(self, *, is_option: bool, side: Side, qty: Decimal) -> Decimal:
        if is_option:
            fee = self.per_contract * qty
        else:
            fee = self.per_share_sold * qty if side == "SELL" else Decimal(0)
        return (fee * 100).to_integral_value(rounding="ROUND_CEILING") / 100
