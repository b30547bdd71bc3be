"""Alpaca's JSON as typed replies. Pure; a body without a required field raises KeyError or ValueError.

An unknown word is kept as it came and affects at most its own row. An order is processed without its side. A
row that needs the word is an ``UnreadRow`` beside the others.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from tapedeck.connectors.broker import (
    AccountReply,
    ChainQuery,
    ChainReply,
    ClockReply,
    ContractReply,
    FillReply,
    OrderReply,
    PositionReply,
    QuoteReply,
    Rows,
    SessionReply,
    TradeUpdate,
    UnreadRow,
)
from tapedeck.streams.sessions import NEW_YORK, day_number
from tapedeck.streams.sessions import micros as instant
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.orders import TERMINAL, OrderState, Side

Json = dict[str, Any]
T = TypeVar("T")

UNREADABLE = (KeyError, ValueError, TypeError, ArithmeticError, AttributeError)
"""What reading a malformed row may raise."""
_TOO_LARGE = Decimal(10) ** 21  # a decimal of the log has 28 digits, 6 of them behind the point
SIDES = {
    "buy": Side.BUY,
    "buy_minus": Side.BUY,
    "sell": Side.SELL,
    "sell_plus": Side.SELL,
    "sell_short": Side.SELL,
    "sell_short_exempt": Side.SELL,
}
"""Alpaca's sides of orders and fills: a short sale sells. Any other side is unknown, and its word is kept."""

STATES = {
    "pending_new": OrderState.SUBMITTED,
    "new": OrderState.ACCEPTED,
    "accepted": OrderState.ACCEPTED,
    "accepted_for_bidding": OrderState.ACCEPTED,
    "held": OrderState.ACCEPTED,
    "pending_replace": OrderState.ACCEPTED,
    "stopped": OrderState.ACCEPTED,
    "suspended": OrderState.ACCEPTED,
    "partially_filled": OrderState.PARTIAL,
    "pending_cancel": OrderState.CANCEL_PENDING,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "done_for_day": OrderState.DONE_FOR_DAY,
    "calculated": OrderState.DONE_FOR_DAY,
    "replaced": OrderState.REPLACED,
}
"""Alpaca's order states. Any other is UNRECOGNISED, and its word is kept in ``raw_status``."""


def number(value: object) -> Decimal | None:
    """A decimal from a JSON string or number; None stays None."""
    return None if value is None else must(value)


def must(value: object) -> Decimal:
    """A decimal that must be there. Raises ValueError for a value that cannot be used in arithmetic."""
    found = Decimal(str(value))
    if not found.is_finite() or abs(found) >= _TOO_LARGE:
        raise ValueError(f"not a number to count with: {value}")
    return found


def rows(listed: str, parse: Callable[[Json], T], raw: Iterable[Any]) -> Rows[T]:
    """Every readable row of a list and, apart from them, the unreadable ones."""
    found: Rows[T] = Rows()
    for each in raw:
        try:
            found.append(parse(each))
        except UNREADABLE as error:
            found.unread.append(unread(listed, each, error))
    return found


def unread(listed: str, raw: Any, error: Exception) -> UnreadRow:
    """A row that cannot be read, with what it says about itself."""
    row = raw if isinstance(raw, dict) else {}
    row = row["order"] if isinstance(row.get("order"), dict) else row
    client_id, side = row.get("client_order_id"), row.get("side")
    return UnreadRow(
        listed=listed,
        instrument=str(row.get("symbol") or ""),
        error=f"{type(error).__name__}: {error}",
        raw=as_text(raw),
        client_order_id=None if client_id is None else str(client_id),
        side=None if side is None else str(side),
    )


def as_text(raw: Any) -> str:
    """A row as it came, in canonical form: the same row is the same text."""
    return json.dumps(raw, sort_keys=True)


def _known_side(word: object) -> Side:
    side = SIDES.get(str(word).lower())
    if side is None:
        raise ValueError(f"side {word} is not known")
    return side


def micros(text: str) -> int:
    """UTC microseconds of an ISO 8601 time with offset; digits beyond the microsecond are cut off."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without an offset: {text}")
    return instant(moment)


def iso(t: int) -> str:
    """A time in the form of Alpaca's query parameters."""
    seconds, rest = divmod(t, 1_000_000)
    return (
        datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest).isoformat().replace("+00:00", "Z")
    )


def account(raw: Json) -> AccountReply:
    return AccountReply(
        number=str(raw["account_number"]),
        status=str(raw["status"]),
        equity=number(raw.get("equity")),
        cash=number(raw.get("cash")),
        buying_power=number(raw.get("buying_power")),
        options_buying_power=number(raw.get("options_buying_power")),
    )


def clock(raw: Json) -> ClockReply:
    return ClockReply(
        now=micros(raw["timestamp"]),
        is_open=bool(raw["is_open"]),
        next_open=micros(raw["next_open"]),
        next_close=micros(raw["next_close"]),
    )


def session(raw: Json) -> SessionReply:
    day = date.fromisoformat(raw["date"])
    opened, closed = (_wall(day, raw[edge], NEW_YORK) for edge in ("open", "close"))
    return SessionReply(date=day_number(day), open=opened, close=closed)


def _wall(day: date, text: str, zone: ZoneInfo) -> int:
    return instant(datetime.combine(day, time.fromisoformat(text), tzinfo=zone))


def position(raw: Json) -> PositionReply:
    """Alpaca signs the quantity of a short; where it does not, its ``side`` decides."""
    qty, free, side = must(raw["qty"]), number(raw.get("qty_available")), raw.get("side")
    if side not in (None, "long", "short"):
        raise ValueError(f"side {side} is not known")
    if side == "short":
        qty, free = -abs(qty), None if free is None else -abs(free)
    return PositionReply(instrument=str(raw["symbol"]), qty=qty, qty_available=free)


def order(raw: Json) -> OrderReply:
    """An order, also a person's: by amount (``qty`` null), of several legs, with unknown words."""
    status, side = str(raw["status"]), str(raw.get("side") or "")
    return OrderReply(
        broker_order_id=str(raw["id"]),
        client_order_id=str(raw["client_order_id"]),
        instrument=str(raw.get("symbol") or ""),
        side=SIDES.get(side.lower()),
        qty=number(raw.get("qty")),
        filled_qty=must(raw.get("filled_qty") or 0),
        filled_avg_price=number(raw.get("filled_avg_price")),
        state=STATES.get(status, OrderState.UNRECOGNISED),
        raw_status=status,
        created_at=micros(raw["created_at"]),
        raw_side=side,
        notional=number(raw.get("notional")),
        raw=as_text(raw),
        replaces=_text(raw.get("replaces")),
        replaced_by=_text(raw.get("replaced_by")),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def open_orders(raw: Iterable[Any]) -> Rows[OrderReply]:
    """Working orders, legs too. One of unknown side is both among them (it is not gone) and the unread."""
    found: Rows[OrderReply] = Rows()
    for each, whole in _each_order(raw, None):
        read = rows("orders", order, [each])
        working = [replace(reply, part_of=whole) for reply in read if reply.state not in TERMINAL]
        found += working
        found.unread += read.unread
        for reply in working:
            if reply.side is None:
                found.unread.append(unread("orders", each, ValueError(f"side {reply.raw_side} is not known")))
    return found


def _each_order(raw: Iterable[Any], whole: str | None) -> Iterator[tuple[Any, str | None]]:
    """Orders and, behind each, its legs. ``whole``: the id of a multi-leg order, which has one fate.

    A leg of another class has its own: it works on when its parent has ended.
    """
    for each in raw:
        yield each, whole
        if isinstance(each, dict) and isinstance(each.get("legs"), list):
            is_whole = each.get("order_class") == "mleg" and each.get("id") is not None
            yield from _each_order(each["legs"], str(each["id"]) if is_whole else whole)


def fill(raw: Json) -> FillReply:
    """One FILL activity. Its id is ``date::execution id``."""
    return FillReply(
        execution_id=str(raw["id"]).rpartition("::")[2],
        broker_order_id=str(raw["order_id"]),
        instrument=str(raw["symbol"]),
        side=_known_side(raw["side"]),
        qty=must(raw["qty"]),
        price=must(raw["price"]),
        fee=must(raw.get("fee") or 0),
        executed_at=micros(raw["transaction_time"]),
    )


def trade_update(raw: Json) -> TradeUpdate:
    """The ``data`` of one message of the trade-update stream. ValueError for a fill of unknown side."""
    if raw.get("execution_id") is not None:
        _known_side(raw["order"].get("side"))
    return TradeUpdate(
        event=str(raw["event"]),
        order=order(raw["order"]),
        time=micros(raw["timestamp"]),
        execution_id=raw.get("execution_id"),
        price=number(raw.get("price")),
        qty=number(raw.get("qty")),
        fee=must(raw.get("fee") or 0),
    )


def _side_price(value: object) -> Decimal | None:
    """Alpaca writes a missing side as 0."""
    price = number(value)
    return price or None


def quote(instrument: str, raw: Json, feed: str) -> QuoteReply:
    return QuoteReply(
        instrument=instrument,
        feed=feed,
        origin=str(raw.get("tape_origin") or f"alpaca/{feed}"),
        time=micros(raw["t"]),
        bid=_side_price(raw.get("bp")),
        ask=_side_price(raw.get("ap")),
    )


def option_quote(instrument: str, raw: Json, feed: str) -> QuoteReply | None:
    """A contract's snapshot: newest quote, last trade and theta, each of which may be null or absent.

    None if it has neither a quote nor a trade. What is 0 or not a number is unknown.
    """
    newest, traded = raw.get("latestQuote") or {}, raw.get("latestTrade") or {}
    price = _side_price(traded.get("p"))
    if not newest and price is None:
        return None
    return QuoteReply(
        instrument=instrument,
        feed=feed,
        origin=str(raw.get("tape_origin") or f"alpaca/{feed}"),
        time=micros(newest["t"]) if newest else None,
        bid=_side_price(newest.get("bp")),
        ask=_side_price(newest.get("ap")),
        trade_price=price,
        trade_time=None if price is None else micros(traded["t"]),
        theta=_theta(raw.get("greeks") or {}),
    )


def chain(query: ChainQuery, listed: list[Json], snapshots: dict[str, Json], feed: str) -> ChainReply:
    """Listed contracts with the data of their snapshots; one without a snapshot has no quote.

    A contract that cannot be read is left out: it could not be chosen.
    """
    contracts = rows(
        "contracts",
        lambda raw: _contract(raw, snapshots.get(raw["symbol"], {})),
        (raw for raw in listed if raw.get("tradable")),
    )
    origin = next((s["tape_origin"] for s in snapshots.values() if "tape_origin" in s), f"alpaca/{feed}")
    ordered = tuple(sorted(contracts, key=lambda contract: contract.symbol))
    return ChainReply(underlying=query.underlying, feed=feed, origin=origin, contracts=ordered)


def _contract(raw: Json, snapshot: Json) -> ContractReply:
    newest: Json = snapshot.get("latestQuote") or {}
    interest, greeks = raw.get("open_interest"), snapshot.get("greeks") or {}
    return ContractReply(
        symbol=raw["symbol"],
        expiry=day_number(date.fromisoformat(raw["expiration_date"])),
        right=Right(str(raw["type"]).upper()),
        strike=must(raw["strike_price"]),
        size=int(raw["size"]),
        bid=_side_price(newest.get("bp")),
        ask=_side_price(newest.get("ap")),
        time=micros(newest["t"]) if newest else None,
        volume=(snapshot.get("dailyBar") or {}).get("v"),
        open_interest=None if interest is None else int(interest),
        delta=_finite(greeks.get("delta")),
        theta=_theta(greeks),
    )


def _theta(greeks: Json) -> float | None:
    """USD per share and day. No option's is 0: it is not known then."""
    return _finite(greeks.get("theta")) or None


def _finite(value: Any) -> float | None:
    found = None if value is None else float(value)
    return found if found is not None and isfinite(found) else None
