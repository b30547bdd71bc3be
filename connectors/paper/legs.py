"""Orders of several parts, as at Alpaca: bracket, one-cancels-other, one-triggers-other. Stock only.

A bracket's legs are ``held`` until the parent is filled; then the target works and the stop stays ``held``.
Of an OCO the parent is the target and the stop is ``held``. A pair reserves its quantity once. A leg that is
reached cancels the other; a part of it shrinks the other.
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from tapedeck.connectors.paper.book import OPENING, Book
from tapedeck.connectors.paper.checks import Ticket
from tapedeck.connectors.paper.orders import HELD, Order, stable_uuid
from tapedeck.streams.stages.account.rules.orders import Side

if TYPE_CHECKING:
    from tapedeck.connectors.paper.engine import Engine


def place(engine: "Engine", number: str, parent: Order, asked: Ticket) -> None:
    """Place the legs of a parent that was just taken into the book: all of them ``held``."""
    prices: list[tuple[Decimal | None, Decimal | None]] = []
    if asked.target is not None and parent.order_class != "oco":
        prices.append((asked.target, None))
    if asked.stop is not None:
        prices.append((asked.stop_limit, asked.stop))
    side = Side.SELL if parent.side is Side.BUY else Side.BUY
    exits = side if parent.order_class in OPENING else parent.side
    for limit, stop in prices:
        leg = Order(
            id=stable_uuid("leg", parent.id, len(parent.legs)),
            client_order_id=stable_uuid("leg's client", parent.id, len(parent.legs)),
            listing=parent.listing,
            side=exits,
            intent="sell_to_close" if exits is Side.SELL else "buy_to_close",
            qty=parent.qty,
            type="limit" if stop is None else "stop" if limit is None else "stop_limit",
            limit_price=limit,
            stop_price=stop,
            time_in_force=parent.time_in_force,
            created_at=engine.now,
            updated_at=engine.now,
            expires_at=parent.expires_at,
            status=HELD,
            order_class=parent.order_class,
            parent=parent.id,
        )
        parent.legs.append(leg.id)
        engine.place(number, leg)


def after_end(engine: "Engine", number: str, order: Order) -> None:
    """What the end of an order means for its legs, or for its pair."""
    if order.status == "replaced":
        return
    book = engine.books[number]
    if order.order_class in OPENING and order.parent is None:
        if order.status == "filled":
            _wake(engine, number, order)
        else:
            _cancel(engine, number, [book.orders[each] for each in order.legs])
        return
    cancel_others(engine, number, order)


def cancel_others(engine: "Engine", number: str, order: Order) -> None:
    """Cancel the other part of a pair."""
    _cancel(engine, number, _others(engine.books[number], order))


def shrink_others(engine: "Engine", number: str, order: Order, qty: Decimal) -> None:
    """A part of one leg was filled: the other is left with what remains to be sold."""
    for each in _others(engine.books[number], order):
        if each.is_open:
            each.qty -= qty


def _others(book: Book, order: Order) -> list[Order]:
    """The orders that exist only as long as ``order`` does."""
    if order.order_class == "simple":
        return []
    parent = order if order.parent is None else book.orders[order.parent]
    if parent.order_class in OPENING and order is parent:
        return []
    family = [parent, *(book.orders[each] for each in parent.legs)]
    opening = parent if parent.order_class in OPENING else None
    return [each for each in family if each is not order and each is not opening]


def _wake(engine: "Engine", number: str, parent: Order) -> None:
    """The parent is filled: its first leg works. A stop beside a target stays ``held``."""
    first = engine.books[number].orders[parent.legs[0]]
    if first.is_open:
        engine.begin(number, first)


def _cancel(engine: "Engine", number: str, orders: list[Order]) -> None:
    """Cancel what is open. A stop that was reached goes to the market, whatever becomes of its pair."""
    for each in orders:
        if each.is_open and not each.triggered:
            engine.end(number, each, "canceled", "canceled")
