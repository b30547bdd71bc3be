"""What the paper exchange checks before it accepts an order, with Alpaca's statuses, codes and messages."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from tapedeck.connectors.broker import NOT_UNIQUE
from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import BAD_REQUEST, FORBIDDEN, UNPROCESSABLE, Order, Refusal
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
    """A well-formed order request. Without a ``limit_price`` it is a market order."""

    client_order_id: str
    symbol: str
    side: Side
    intent: str | None
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: str
    extended_hours: bool


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
    side, kind = sides.get(str(payload.get("side"))), payload.get("type")
    if side is None:
        raise _bad("side must be buy or sell")
    if kind not in ("market", "limit"):
        raise _bad(f"order type {kind} is not supported")
    qty, limit = _number(payload, "qty"), _number(payload, "limit_price")
    if qty is None:
        raise _bad("qty is required")
    if (kind == "limit") != (limit is not None):
        raise _bad(
            "limit orders require a limit price" if limit is None else "market orders take no limit price"
        )
    client_id = str(payload.get("client_order_id") or fallback_id)
    if len(client_id) > _LONGEST_CLIENT_ID:
        raise _bad(f"client_order_id must be no more than {_LONGEST_CLIENT_ID} characters")
    return Ticket(
        client_order_id=client_id,
        symbol=str(payload.get("symbol", "")),
        side=side,
        intent=payload.get("position_intent"),
        qty=qty,
        limit_price=limit,
        time_in_force=str(payload.get("time_in_force", "")),
        extended_hours=bool(payload.get("extended_hours")),
    )


def instrument(asked: Ticket, listing: Listing | None, calendar: Calendar, now: int) -> Listing:
    """The listing of an order that may be traded at ``now``."""
    if listing is None:
        raise Refusal(422, UNPROCESSABLE, f'asset "{asked.symbol}" not found')
    limit = asked.limit_price
    if asked.qty != int(asked.qty):
        words = "qty must be integer for options orders" if listing.is_option else "asset is not fractionable"
        raise Refusal(422, UNPROCESSABLE, words)
    if limit is not None:
        tick = Decimal("0.01") if listing.is_option or limit >= 1 else Decimal("0.0001")
        if limit % tick:
            words = "sub-penny increment does not fulfill minimum pricing criteria"
            raise Refusal(422, UNPROCESSABLE, f"invalid limit_price {limit}. {words}")
    if asked.time_in_force != "day":
        raise Refusal(422, UNPROCESSABLE, f"time_in_force {asked.time_in_force!r} is not supported: use day")
    if asked.extended_hours:
        raise Refusal(422, UNPROCESSABLE, "extended hours orders are not supported here")
    if listing.expiry is not None:
        _option_hours(asked, listing.expiry, calendar, now)
    return listing


def _option_hours(asked: Ticket, expiry: int, calendar: Calendar, now: int) -> None:
    session, today = calendar.session_at(now), calendar.session_date(now)
    if session is None and asked.limit_price is None:
        raise Refusal(422, UNPROCESSABLE, "options market orders are only allowed during market hours")
    if expiry < today or (expiry == today and session is None):
        raise Refusal(422, UNPROCESSABLE, f'asset "{asked.symbol}" is not active')
    if session is None or expiry != today or asked.side is Side.SELL:
        return
    if now >= session.close - _EXPIRY_DAY_STOP_US:
        raise Refusal(422, UNPROCESSABLE, "contracts that expire today cannot be opened this close to expiry")


def unique(asked: Ticket, known: dict[str, Order]) -> None:
    if asked.client_order_id in known:
        raise Refusal(422, BAD_REQUEST, NOT_UNIQUE)


def intent(asked: Ticket, listing: Listing, held: Decimal) -> str:
    """The position intent, stated or inferred. Nothing is opened by selling."""
    inferred = "buy_to_open" if asked.side is Side.BUY else "sell_to_close" if held > 0 else "sell_to_open"
    if asked.intent not in (None, *_INTENTS[asked.side]):
        raise _bad(f"position_intent {asked.intent} does not fit side {asked.side.lower()}")
    if "sell_to_open" in (asked.intent, inferred):
        words = (
            "account not eligible to trade uncovered option contracts"
            if listing.is_option
            else "account is not allowed to short"
        )
        raise Refusal(403, FORBIDDEN, words)
    if asked.intent not in (None, inferred):
        words = f"position intent mismatch, inferred: {inferred}, specified: {asked.intent}"
        raise Refusal(422, UNPROCESSABLE, words)
    return inferred


def resources(asked: Ticket, listing: Listing, cost: Decimal, spendable: Decimal, book: Book) -> None:
    """Check for enough cash for a buy, enough free quantity for a sell, and no opposing working order."""
    same = [order for order in book.working() if order.listing.symbol == asked.symbol]
    against = next((order for order in same if order.side != asked.side), None)
    if against is not None:
        raise Refusal(
            403,
            FORBIDDEN,
            "potential wash trade detected. use complex orders",
            existing_order_id=against.id,
            reject_reason="opposite side market/stop order exists",
        )
    if asked.side is Side.BUY:
        if cost > spendable:
            words = "insufficient options buying power" if listing.is_option else "insufficient buying power"
            raise Refusal(403, FORBIDDEN, words, buying_power=f"{spendable:f}", cost_basis=f"{cost:f}")
        return
    available = book.ledger.qty(asked.symbol) - book.reserved(asked.symbol)
    if asked.qty > available:
        words = f"insufficient qty available for order (requested: {asked.qty:f}, available: {available:f})"
        raise Refusal(403, FORBIDDEN, words, symbol=asked.symbol)
