"""What an endpoint shows: as things are, or as they were some seconds ago.

Alpaca's lists of orders, of positions and of activities are not updated together, and have been seen to
disagree for up to 10 seconds.
"""

from dataclasses import replace
from decimal import Decimal

from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.ledger import Position
from tapedeck.connectors.paper.orders import Order
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.orders import Side

ZERO = Decimal(0)


def as_of(book: Book, now: int, lag_s: float | None) -> Book:
    """The book with its orders as they were ``lag_s`` seconds before ``now``."""
    if lag_s is None:
        return book
    then = now - round(lag_s * SECOND_US)
    before = {key: _order(order, then) for key, order in book.orders.items() if order.created_at <= then}
    return replace(book, orders=before)


def _order(order: Order, then: int) -> Order:
    done = [fill for fill in order.executions if fill.time <= then]
    if len(done) == len(order.executions) and (order.ended_at is None or order.ended_at <= then):
        return order
    status = "partially_filled" if done else "new"
    return replace(order, executions=done, status=status, ended_at=None, replaced_by=None)


def positions(book: Book, now: int, lag_s: float | None) -> dict[str, Position]:
    """The positions without the executions of the last ``lag_s`` seconds."""
    if lag_s is None:
        return book.ledger.positions
    then = now - round(lag_s * SECOND_US)
    held = dict(book.ledger.positions)
    for fill in book.executions:
        if fill.time > then:
            listing = book.orders[fill.order_id].listing
            at = held.get(fill.symbol, Position(listing, ZERO, ZERO))
            back = -fill.qty if fill.side is Side.BUY else fill.qty
            price = at.average if at.qty else fill.price
            cost = at.cost + back * price * listing.multiplier
            held[fill.symbol] = Position(listing, at.qty + back, cost)
    return {symbol: at for symbol, at in held.items() if at.qty}


def available(book: Book, at: Position) -> Decimal:
    """What of a position no working order holds, signed like it."""
    free = abs(at.qty) - book.reserved(at.listing.symbol)
    return max(ZERO, free).copy_sign(at.qty)


def legs_of(book: Book, order: Order) -> list[Order]:
    """The legs of an order that the book has."""
    return [book.orders[each] for each in order.legs if each in book.orders]
