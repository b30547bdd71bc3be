"""What others do in an account: a person with the same credentials, and the broker itself.

These are orders and executions that the client under test did not ask for. Each has an id of its own, of a
form that no client of ours uses.
"""

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.ledger import Position
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import HELD, Order, stable_uuid
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.rules import occ
from tapedeck.streams.stages.account.rules.orders import Side

if TYPE_CHECKING:
    from tapedeck.connectors.paper.engine import Engine

LIQUIDATION_BEFORE_US = 30 * MINUTE_US
"""Before the close of a contract's last session, 15:30 ET on a full day."""
_TARGET, _STOP = Decimal("1.50"), Decimal("0.50")
_CENT = Decimal("0.01")


class Liquidates(StrEnum):
    """Whether the broker closes contracts on their last afternoon; Alpaca: UNAFFORDABLE.

    UNAFFORDABLE: those in the money whose exercise the account cannot pay.
    """

    NEVER = "NEVER"
    UNAFFORDABLE = "UNAFFORDABLE"


def liquidation_at(expiry: int, calendar: Calendar) -> list[int]:
    """When contracts of an expiry date are closed by the broker, if they are; empty for a date without a
    session.
    """
    session = calendar.session_on(expiry)
    return [] if session is None else [session.close - LIQUIDATION_BEFORE_US]


def liquidate(engine: "Engine") -> None:
    """At that moment, and at no other: close what the broker does not let expire."""
    today = engine.calendar.session_date(engine.now)
    if engine.now not in liquidation_at(today, engine.calendar):
        return
    for number, book in sorted(engine.books.items()):
        expiring = [at for _, at in sorted(book.ledger.positions.items()) if at.listing.expiry == today]
        for at in expiring:
            struck = engine.faults.take(Fault.LIQUIDATION, "expiry", number)
            if struck or (
                engine.liquidates is Liquidates.UNAFFORDABLE and _is_unaffordable(engine, number, at)
            ):
                _close(engine, number, at)


def _is_unaffordable(engine: "Engine", number: str, at: Position) -> bool:
    """Whether a long contract is in the money, and its exercise needs cash or shares that are not there."""
    contract, ledger = occ.parse(at.listing.symbol), engine.books[number].ledger
    quote = engine.board.stock(at.listing.underlying, engine.now)
    if at.qty < 0 or quote is None or quote.bid is None or quote.ask is None:
        return False
    shares = at.qty * at.listing.multiplier
    if contract.right is occ.Right.CALL:
        return quote.bid > contract.strike and contract.strike * shares > ledger.cash
    return quote.ask < contract.strike and shares > ledger.qty(at.listing.underlying)


def _close(engine: "Engine", number: str, at: Position) -> None:
    """Cancel what works in the contract, then sell it, or buy it back, at the market."""
    for order in engine.books[number].working():
        if order.listing.symbol == at.listing.symbol and order.is_open:
            engine.end(number, order, "canceled", "canceled")
    side = Side.SELL if at.qty > 0 else Side.BUY
    intent = "sell_to_close" if at.qty > 0 else "buy_to_close"
    engine.place(number, _order(engine, number, at.listing, side=side, intent=intent, qty=abs(at.qty)))


def after_fill(engine: "Engine", number: str, order: Order) -> None:
    """A person protects what was just bought by a pair, whose stop outlives its target."""
    if order.side is not Side.BUY or order.order_class != "simple":
        return
    book, listing = engine.books[number], order.listing
    free = book.ledger.qty(listing.symbol) - book.reserved(listing.symbol)
    if free <= 0 or not engine.faults.take(Fault.HELD_LEG, "fill", number):
        return
    price = order.filled_avg_price or Decimal(1)
    sell: dict[str, Any] = {"side": Side.SELL, "intent": "sell_to_close", "qty": free}
    target = _order(engine, number, listing, limit_price=(price * _TARGET).quantize(_CENT), **sell)
    engine.place(number, target)
    if not target.is_open:
        return
    engine.end(number, target, "canceled", "canceled")
    stop = max(_CENT, (price * _STOP).quantize(_CENT))
    leg = _order(engine, number, listing, stop_price=stop, status=HELD, parent=target.id, **sell)
    target.order_class = leg.order_class = "oco"
    target.legs.append(leg.id)
    engine.place(number, leg)


def replace_by_hand(engine: "Engine", number: str, order: Order) -> None:
    """A person replaces an order by the same one under another id: ``replaced``, and nothing executed."""
    if order.order_class == "simple" and engine.faults.take(Fault.REPLACED_BY_HAND, "submit", number):
        succeed(engine, number, order)


def succeed(engine: "Engine", number: str, order: Order, **changes: Any) -> Order:
    """Replace ``order`` by one with ``changes`` of its terms; returns that one, which works from now on."""
    names = ("side", "intent", "qty", "limit_price", "stop_price")
    terms = {name: getattr(order, name) for name in names} | changes
    fresh = _order(engine, number, order.listing, replaces=order.id, **terms)
    order.replaced_by = fresh.id
    engine.end(number, order, "replaced", "replaced")
    engine.place(number, fresh)
    return fresh


def _order(engine: "Engine", number: str, listing: Listing, **terms: Any) -> Order:
    """An order of nobody we know, good for the day."""
    index = len(engine.books[number].orders)
    stop, limit = terms.get("stop_price"), terms.get("limit_price")
    kind = ("stop" if limit is None else "stop_limit") if stop else "market" if limit is None else "limit"
    fields: dict[str, Any] = {
        "client_order_id": stable_uuid("other client", engine.seed, number, index),
        "limit_price": None,
        **terms,
    }
    return Order(
        id=stable_uuid("other order", engine.seed, number, index),
        listing=listing,
        type=kind,
        time_in_force="day",
        created_at=engine.now,
        updated_at=engine.now,
        expires_at=engine.day_ends(listing),
        **fields,
    )
