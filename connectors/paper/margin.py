"""What an account may still buy or sell short with: a cash account, or a margin account as at Alpaca.

A cash account has its cash, and never sells short. A margin account of at least 2,000 USD has twice its free
equity for stock: half of what a position or an order in stock is worth stays bound (Regulation T), on either
side of the market. Options bind all of it. An order to sell short binds by its limit or 103 % of the ask,
whichever is higher. Interest, borrowing fees, margin calls and intraday buying power of 4 are not modeled.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.ledger import Position
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import SELL_TO_OPEN, Order
from tapedeck.streams.stages.account.rules.orders import Side
from tapedeck.streams.stages.account.rules.pricing import short_price

if TYPE_CHECKING:
    from tapedeck.connectors.paper.engine import Engine

ZERO = Decimal(0)
LEAST_EQUITY = Decimal(2_000)
"""USD, below which a margin account is a cash account."""
MULTIPLIER = 2
_ALL, _INITIAL = Decimal(1), Decimal("0.5")
_UPKEEP = Decimal("0.3")
_CHEAP_LONG, _CHEAP_SHORT = Decimal("2.50"), Decimal(5)
_LEAST_A_SHARE = {True: Decimal("2.50"), False: Decimal(5)}
"""What a short share binds at least, USD: a cheap one, and another."""


class Worth(NamedTuple):
    """An account at the marks of now, USD. ``short`` is negative; ``initial`` is what positions bind."""

    cash: Decimal
    long: Decimal
    short: Decimal
    initial: Decimal
    maintenance: Decimal
    margin: bool

    @property
    def equity(self) -> Decimal:
        return self.cash + self.long + self.short

    @property
    def multiplier(self) -> int:
        return MULTIPLIER if self.margin else 1


def worth(engine: "Engine", book: Book) -> Worth:
    """What the account is worth, and what of that its positions bind."""
    marked = [(at, engine.mark(at.listing, at.average)) for at in book.ledger.positions.values()]
    values = [mark * at.qty * at.listing.multiplier for at, mark in marked]
    long = sum((value for value in values if value > 0), ZERO)
    short = sum((value for value in values if value < 0), ZERO)
    cash = book.ledger.cash
    if not book.account.margin or cash + long + short < LEAST_EQUITY:
        bound = long + abs(short) * _INITIAL
        return Worth(cash, long, short, bound, bound, margin=False)
    initial = sum(
        (abs(value) * _share(at.listing, margin=True) for (at, _), value in zip(marked, values, strict=True)),
        ZERO,
    )
    maintenance = sum((_upkeep(at, mark) for at, mark in marked), ZERO)
    return Worth(cash, long, short, initial, maintenance, margin=True)


def power(engine: "Engine", book: Book, *, is_option: bool) -> Decimal:
    """What a new order that opens may cost, USD, at least 0: buying power, or that for options."""
    found = worth(engine, book)
    bound = sum((_bound(engine, order, margin=found.margin) for order in book.working()), ZERO)
    free = max(ZERO, found.equity - found.initial - bound)
    return free if is_option else free * found.multiplier


def cost(engine: "Engine", listing: Listing, intent: str, price: Decimal | None, qty: Decimal) -> Decimal:
    """What an order that opens counts for against buying power, USD.

    ``price``: its limit or stop, None at market.
    """
    if intent == SELL_TO_OPEN:
        each = short_price(engine.other_side(listing, Side.BUY), price)
    else:
        each = price or engine.other_side(listing, Side.BUY)
    return qty * each * listing.multiplier


def _bound(engine: "Engine", order: Order, *, margin: bool) -> Decimal:
    """What of the equity a working order that opens binds."""
    if not order.opens:
        return ZERO
    price = order.limit_price or order.stop_price
    whole = cost(engine, order.listing, order.intent, price, order.remaining)
    return whole * _share(order.listing, margin=margin)


def _share(listing: Listing, *, margin: bool) -> Decimal:
    return _INITIAL if margin and not listing.is_option else _ALL


def _upkeep(at: Position, mark: Decimal) -> Decimal:
    """What a position must be backed by while it is held, by Alpaca's table."""
    value = abs(mark * at.qty * at.listing.multiplier)
    if at.listing.is_option:
        return value
    if at.qty > 0:
        return value if mark < _CHEAP_LONG else value * _UPKEEP
    cheap = mark < _CHEAP_SHORT
    return max(abs(at.qty) * _LEAST_A_SHARE[cheap], value * (_ALL if cheap else _UPKEEP))
