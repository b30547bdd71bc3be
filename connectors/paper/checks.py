"""What the paper exchange checks before it accepts an order, with Alpaca's statuses, codes and messages."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from tapedeck.connectors.broker import NOT_UNIQUE
from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.paper.hours import trading_session
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import (
    BAD_REQUEST,
    BUY_TO_CLOSE,
    BUY_TO_OPEN,
    FORBIDDEN,
    SELL_TO_CLOSE,
    SELL_TO_OPEN,
    UNPROCESSABLE,
    Order,
    Refusal,
)
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.rules.orders import Side

_EXPIRY_DAY_STOP_US = 30 * MINUTE_US
_LONGEST_CLIENT_ID = 128
_INTENTS = {
    Side.BUY: ("buy_to_open", "buy_to_close"),
    Side.SELL: ("sell_to_close", "sell_to_open"),
}


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A well-formed order request. Without a ``limit_price`` it is a market order.

    ``target``, ``stop`` and ``stop_limit`` are the prices of its legs.
    """

    client_order_id: str
    symbol: str
    side: Side
    intent: str | None
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: str
    extended_hours: bool
    type: str = "limit"
    order_class: str = "simple"
    stop_price: Decimal | None = None
    target: Decimal | None = None
    stop: Decimal | None = None
    stop_limit: Decimal | None = None


_TYPES = {"market": (False, False), "limit": (True, False), "stop": (False, True), "stop_limit": (True, True)}
"""Whether an order of each type has a limit price, and a stop price."""
_CLASSES = ("simple", "bracket", "oco", "oto")


def _bad(message: str) -> Refusal:
    return Refusal(422, BAD_REQUEST, message)


def _number(payload: dict[str, Any], name: str) -> Decimal | None:
    value = payload.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _bad(f"{name} is not a number") from None
    if not number.is_finite() or number <= 0:
        raise _bad(f"{name} must be > 0")
    return number


def ticket(payload: dict[str, Any], fallback_id: str) -> Ticket:
    """The request in a POST body. Raises Refusal (422) if it is not well formed."""
    sides = {"buy": Side.BUY, "sell": Side.SELL}
    side, kind = sides.get(str(payload.get("side"))), str(payload.get("type"))
    if side is None:
        raise _bad("side must be buy or sell")
    if kind not in _TYPES:
        raise _bad(f"order type {kind} is not supported")
    qty = _number(payload, "qty")
    if qty is None:
        raise _bad("qty is required")
    legs = _legs(payload)
    limit, stop = _number(payload, "limit_price"), _number(payload, "stop_price")
    if limit is None and legs["order_class"] == "oco":
        limit = legs["target"]
    for name, price, due in zip(("limit", "stop"), (limit, stop), _TYPES[kind], strict=True):
        if due != (price is not None):
            words = f"{kind} orders require a {name} price" if due else f"{kind} orders take no {name} price"
            raise _bad(words)
    client_id = str(payload.get("client_order_id") or fallback_id)
    if len(client_id) > _LONGEST_CLIENT_ID:
        raise _bad(f"client_order_id must be no more than {_LONGEST_CLIENT_ID} characters")
    return Ticket(
        client_order_id=client_id,
        symbol=str(payload.get("symbol", "")),
        side=side,
        intent=payload.get("position_intent"),
        qty=qty,
        type=kind,
        limit_price=limit,
        stop_price=stop,
        time_in_force=str(payload.get("time_in_force", "")),
        extended_hours=bool(payload.get("extended_hours")),
        **legs,
    )


def _legs(payload: dict[str, Any]) -> dict[str, Any]:
    """The class of an order and the prices of its legs. Raises Refusal for legs that do not fit the class."""
    kind = str(payload.get("order_class") or "simple")
    if kind not in _CLASSES:
        raise _bad(f"order_class {kind} is not supported")
    target, stop = payload.get("take_profit") or {}, payload.get("stop_loss") or {}
    prices = {
        "target": _number(target, "limit_price"),
        "stop": _number(stop, "stop_price"),
        "stop_limit": _number(stop, "limit_price"),
    }
    has = (prices["target"] is not None, prices["stop"] is not None)
    if kind in ("bracket", "oco") and not all(has):
        raise _bad(f"{kind} orders require take_profit.limit_price and stop_loss.stop_price")
    if kind == "oto" and sum(has) != 1:
        raise _bad("oto orders require either take_profit.limit_price or stop_loss.stop_price")
    if kind == "simple" and any(has):
        raise _bad("simple orders take no legs")
    return {"order_class": kind, **prices}


def instrument(asked: Ticket, listing: Listing | None, calendar: Calendar, now: int) -> Listing:
    """The listing of an order that may be traded at ``now``."""
    if listing is None:
        raise Refusal(422, UNPROCESSABLE, f'asset "{asked.symbol}" not found')
    if asked.qty != int(asked.qty):
        words = "qty must be integer for options orders" if listing.is_option else "asset is not fractionable"
        raise Refusal(422, UNPROCESSABLE, words)
    if listing.is_option and asked.order_class != "simple":
        raise Refusal(422, UNPROCESSABLE, "complex orders not supported for options trading")
    for name in ("limit_price", "stop_price", "target", "stop", "stop_limit"):
        _tick(name, getattr(asked, name), listing)
    if asked.time_in_force != "day":
        raise Refusal(422, UNPROCESSABLE, f"time_in_force {asked.time_in_force!r} is not supported: use day")
    if asked.extended_hours:
        raise Refusal(422, UNPROCESSABLE, "extended hours orders are not supported here")
    if listing.is_option:
        _option_hours(asked, listing, calendar, now)
    return listing


def _tick(name: str, price: Decimal | None, listing: Listing) -> None:
    if price is None:
        return
    tick = Decimal("0.01") if listing.is_option or price >= 1 else Decimal("0.0001")
    if price % tick:
        words = "sub-penny increment does not fulfill minimum pricing criteria"
        raise Refusal(422, UNPROCESSABLE, f"invalid {name} {price}. {words}")


def _option_hours(asked: Ticket, listing: Listing, calendar: Calendar, now: int) -> None:
    session, today = trading_session(listing, calendar, now), calendar.session_date(now)
    expiry = listing.expiry
    assert expiry is not None
    if session is None and asked.limit_price is None:
        raise Refusal(422, UNPROCESSABLE, "options market orders are only allowed during market hours")
    if expiry < today or (expiry == today and session is None):
        raise Refusal(422, UNPROCESSABLE, f'asset "{asked.symbol}" is not active')
    if session is None or expiry != today or asked.side is Side.SELL or asked.intent == BUY_TO_CLOSE:
        return
    if now >= session.close - _EXPIRY_DAY_STOP_US:
        raise Refusal(422, UNPROCESSABLE, "contracts that expire today cannot be opened this close to expiry")


def unique(asked: Ticket, known: dict[str, Order]) -> None:
    if asked.client_order_id in known:
        raise Refusal(422, BAD_REQUEST, NOT_UNIQUE)


def intent(asked: Ticket, listing: Listing, held: Decimal, no_short: Refusal | None) -> str:
    """The position intent, stated or inferred. ``no_short``: why the account may not sell this stock short.

    No option is opened by selling.
    """
    if asked.side is Side.BUY:
        inferred = BUY_TO_CLOSE if held < 0 else BUY_TO_OPEN
    else:
        inferred = SELL_TO_CLOSE if held > 0 else SELL_TO_OPEN
    if asked.intent not in (None, *_INTENTS[asked.side]):
        raise _bad(f"position_intent {asked.intent} does not fit side {asked.side.lower()}")
    if SELL_TO_OPEN in (asked.intent, inferred):
        if listing.is_option:
            raise Refusal(403, FORBIDDEN, "account not eligible to trade uncovered option contracts")
        if no_short is not None:
            raise no_short
    if asked.intent not in (None, inferred):
        words = f"position intent mismatch, inferred: {inferred}, specified: {asked.intent}"
        raise Refusal(422, UNPROCESSABLE, words)
    return inferred


def no_short(symbol: str, *, margin: bool, borrowable: bool) -> Refusal | None:
    """Why a stock may not be sold short, in Alpaca's words; None if it may."""
    if not margin:
        return Refusal(403, FORBIDDEN, "account is not allowed to short")
    return None if borrowable else Refusal(422, UNPROCESSABLE, f'asset "{symbol}" cannot be sold short')


def refused_anyway(faults: Faults, number: str, asked: Ticket) -> None:
    """Refusals without a cause that the client could see. Raises Refusal."""
    if faults.take(Fault.REFUSE_QTY, "submit", number):
        raise insufficient(asked.symbol, asked.qty, Decimal(0))
    if faults.take(Fault.REFUSE_UNCOVERED, "submit", number):
        raise Refusal(403, FORBIDDEN, "account not eligible to trade uncovered option contracts")
    if asked.side is Side.BUY and faults.take(Fault.REFUSE_BUYING_POWER, "submit", number):
        raise Refusal(403, FORBIDDEN, "insufficient buying power", buying_power="0", cost_basis="1")
    if faults.take(Fault.REFUSE_WASH, "submit", number):
        raise _wash("")


def resources(
    asked: Ticket, listing: Listing, book: Book, *, opens: bool, cost: Decimal, power: Decimal
) -> None:
    """Check that no opposing order works. What ``opens`` needs buying power, a close free quantity."""
    same = [each for each in book.working() if each.listing.symbol == asked.symbol and not book.waits(each)]
    against = next((order for order in same if order.side != asked.side), None)
    if against is not None:
        raise _wash(against.id)
    if opens:
        _payable(listing, cost, power)
        return
    available = abs(book.ledger.qty(asked.symbol)) - book.reserved(asked.symbol)
    if asked.qty > available:
        raise insufficient(asked.symbol, asked.qty, available)


def _payable(listing: Listing, cost: Decimal, power: Decimal) -> None:
    if cost > power:
        words = "insufficient options buying power" if listing.is_option else "insufficient buying power"
        raise Refusal(403, FORBIDDEN, words, buying_power=f"{power:f}", cost_basis=f"{cost:f}")


def _wash(existing: str) -> Refusal:
    return Refusal(
        403,
        FORBIDDEN,
        "potential wash trade detected. use complex orders",
        existing_order_id=existing,
        reject_reason="opposite side market/stop order exists",
    )


def insufficient(symbol: str, requested: Decimal, available: Decimal) -> Refusal:
    """There is less to sell than was asked for: the rest is held by other orders, or is not there."""
    free = max(available, Decimal(0))
    words = f"insufficient qty available for order (requested: {requested:f}, available: {free:f})"
    return Refusal(403, FORBIDDEN, words, symbol=symbol, available=f"{free:f}")


def changes(
    order: Order,
    payload: dict[str, Any],
    book: Book,
    power: Decimal,
    cost: Callable[[Decimal, Decimal], Decimal],
) -> dict[str, Any]:
    """The terms that a PATCH body changes. Raises Refusal for an order that cannot be changed so.

    A body without ``qty`` asks for the quantity of the order, also where a part of it is filled already.
    ``cost``: what a quantity of it at a limit counts for against the buying ``power``.
    """
    if order.status not in ("new", "accepted", "partially_filled") or order.order_class != "simple":
        raise Refusal(422, UNPROCESSABLE, f'order in "{order.status}" state cannot be replaced')
    given = {name: _number(payload, name) for name in ("qty", "limit_price", "stop_price")}
    terms: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in ("limit_price", "stop_price"):
        if name in terms and getattr(order, name) is None:
            raise Refusal(422, UNPROCESSABLE, f"a {order.type} order has no {name}")
        _tick(name, terms.get(name), order.listing)
    if payload.get("client_order_id"):
        terms["client_order_id"] = str(payload["client_order_id"])
        if terms["client_order_id"] in book.by_client_id:
            raise Refusal(422, BAD_REQUEST, NOT_UNIQUE)
    qty = terms.get("qty", order.qty)
    if qty != int(qty):
        raise Refusal(422, UNPROCESSABLE, "qty must be integer")
    symbol, limit = order.listing.symbol, terms.get("limit_price", order.limit_price)
    if not order.opens:
        available = abs(book.ledger.qty(symbol)) - book.reserved(symbol) + order.remaining
        if qty > available:
            raise insufficient(symbol, qty, available)
    elif limit is not None:
        back = cost(order.remaining, order.limit_price or limit)
        _payable(order.listing, cost(qty, limit), power + back)
    return terms
