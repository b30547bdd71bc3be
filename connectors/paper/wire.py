"""The paper exchange's message formats: those of Alpaca's REST answers and trade updates.

Two fields are added that Alpaca does not have: ``tape_origin`` on quotes and snapshots (so that synthetic
data stays labeled) and ``fee`` on fills. Greeks other than delta and theta are not modeled and read 0.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tapedeck.connectors.paper.ledger import Position
from tapedeck.connectors.paper.margin import Worth
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import Activity, Execution, Order, stable_uuid
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote
from tapedeck.connectors.tapes.trades import OptionTrade
from tapedeck.streams.sessions import Session, iso_date

Json = dict[str, Any]
_NEW_YORK = ZoneInfo("America/New_York")
_ENDED_AT = {
    "filled": "filled_at",
    "canceled": "canceled_at",
    "expired": "expired_at",
    "rejected": "failed_at",
    "replaced": "replaced_at",
}


def iso(t: int, zone: Any = UTC) -> str:
    """A time in Alpaca's format, with microseconds."""
    seconds, micros = divmod(t, 1_000_000)
    moment = datetime.fromtimestamp(seconds, tz=zone).replace(microsecond=micros)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def asset_id(symbol: str) -> str:
    return stable_uuid("asset", symbol)


def plain(value: Decimal | None) -> str | None:
    """A decimal without an exponent or trailing zeros."""
    if value is None:
        return None
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _asset_class(listing: Listing) -> str:
    return "us_option" if listing.is_option else "us_equity"


def order(o: Order, legs: Sequence[Json] = ()) -> Json:
    times: dict[str, str | None] = dict.fromkeys(_ENDED_AT.values())
    if o.ended_at is not None:
        times[_ENDED_AT[o.status]] = iso(o.ended_at)
    return {
        "id": o.id,
        "client_order_id": o.client_order_id,
        "created_at": iso(o.created_at),
        "updated_at": iso(o.updated_at),
        "submitted_at": iso(o.created_at),
        **times,
        "expires_at": iso(o.expires_at),
        "replaced_by": o.replaced_by,
        "replaces": o.replaces,
        "asset_id": asset_id(o.listing.symbol),
        "symbol": o.listing.symbol,
        "asset_class": _asset_class(o.listing),
        "notional": None,
        "qty": plain(o.qty),
        "filled_qty": plain(o.filled_qty),
        "filled_avg_price": plain(o.filled_avg_price),
        "order_class": o.order_class,
        "order_type": o.type,
        "type": o.type,
        "side": o.side.lower(),
        "time_in_force": o.time_in_force,
        "limit_price": plain(o.limit_price),
        "stop_price": plain(o.stop_price),
        "status": o.status,
        "extended_hours": False,
        "legs": list(legs) or None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": o.intent,
        "commission": plain(sum((fill.fee for fill in o.executions), Decimal(0))),
    }


def update(event: str, o: Order, at: int, fill: Execution | None, position: Decimal) -> Json:
    """One trade update in the websocket's format."""
    data: Json = {
        "event": event,
        "event_id": stable_uuid("event", o.id, event, at, o.filled_qty),
        "at": iso(at),
    }
    data |= {"timestamp": iso(at), "order": order(o)}
    if fill is not None:
        data |= {
            "execution_id": fill.execution_id,
            "price": plain(fill.price),
            "qty": plain(fill.qty),
            "position_qty": plain(position),
            "fee": plain(fill.fee),
        }
    return {"stream": "trade_updates", "data": data}


def activity(account_uuid: str, fill: Execution) -> Json:
    stamp = iso(fill.time).translate(str.maketrans("", "", "-:.TZ"))[:17]
    return {
        "id": f"{stamp}::{fill.execution_id}",
        "account_id": account_uuid,
        "activity_type": "FILL",
        "transaction_time": iso(fill.time),
        "type": "partial_fill" if fill.leaves else "fill",
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "side": fill.side.lower(),
        "symbol": fill.symbol,
        "leaves_qty": plain(fill.leaves),
        "order_id": fill.order_id,
        "cum_qty": plain(fill.cumulative),
        "order_status": "partially_filled" if fill.leaves else "filled",
        "fee": plain(fill.fee),
    }


_EVENTS = {
    "OPEXP": "Option Expiry",
    "OPEXC": "Option Exercise",
    "OPASN": "Option Assignment",
    "OPTRD": "Option Trade",
}


def option_activity(account_uuid: str, event: Activity) -> Json:
    """One non-trade activity of an option. The contract's own leg has no price."""
    day = str(iso_date(event.date))
    row: Json = {
        "id": f"{day.replace('-', '')}000000000::{event.activity_id}",
        "account_id": account_uuid,
        "activity_type": event.kind,
        "date": day,
        "net_amount": plain(event.net_amount + 0),
        "description": _EVENTS[event.kind],
        "symbol": event.symbol,
        "qty": plain(event.qty),
        "status": "executed",
        "group_id": event.group_id,
    }
    return row | {"price": plain(event.price)} if event.price else row


def account(number: str, status: str, worth: Worth, power: Decimal, option_power: Decimal) -> Json:
    """An account. ``power`` is what an order that opens may cost, in stock and in options."""
    blocked = {"account_blocked": False, "trading_blocked": False, "transfers_blocked": False}
    money = {
        "cash": worth.cash, "equity": worth.equity, "portfolio_value": worth.equity,
        "last_equity": worth.equity, "long_market_value": worth.long, "short_market_value": worth.short,
        "buying_power": power, "options_buying_power": option_power, "regt_buying_power": power,
        "daytrading_buying_power": Decimal(0), "non_marginable_buying_power": option_power,
        "initial_margin": worth.initial, "maintenance_margin": worth.maintenance,
        "last_maintenance_margin": Decimal(0), "accrued_fees": Decimal(0), "sma": Decimal(0),
    }  # fmt: skip
    return {
        "id": stable_uuid("account", number),
        "account_number": number,
        "status": status,
        "currency": "USD",
        **blocked,
        "trade_suspended_by_user": False,
        "multiplier": str(worth.multiplier),
        "shorting_enabled": worth.margin,
        "pattern_day_trader": False,
        "daytrade_count": 0,
        "options_approved_level": "2",
        "options_trading_level": "2",
        **{name: plain(value.quantize(Decimal("0.01"))) for name, value in money.items()},
    }


def position(held: Position, mark: Decimal, available: Decimal) -> Json:
    """``available``: what of the quantity no working order holds, signed like the quantity."""
    value = mark * held.qty * held.listing.multiplier
    gain = value - held.cost
    share = gain / abs(held.cost) if held.cost else Decimal(0)
    numbers = {
        "avg_entry_price": held.average, "market_value": value, "cost_basis": held.cost,
        "unrealized_pl": gain, "unrealized_plpc": share,
        "unrealized_intraday_pl": gain, "unrealized_intraday_plpc": share,
        "current_price": mark, "lastday_price": mark, "change_today": Decimal(0),
    }  # fmt: skip
    usd = {name: plain(number.quantize(Decimal("0.000001"))) for name, number in numbers.items()}
    return {
        "asset_id": asset_id(held.listing.symbol),
        "symbol": held.listing.symbol,
        "exchange": "" if held.listing.is_option else "NASDAQ",
        "asset_class": _asset_class(held.listing),
        "qty": plain(held.qty),
        "qty_available": plain(available),
        "side": "long" if held.qty > 0 else "short",
        **usd,
        "usd": usd,
    }


def clock(now: int, is_open: bool, next_open: int, next_close: int) -> Json:
    return {
        "timestamp": iso(now, _NEW_YORK),
        "is_open": is_open,
        "next_open": iso(next_open, _NEW_YORK),
        "next_close": iso(next_close, _NEW_YORK),
    }


def session(s: Session) -> Json:
    opened, closed = (datetime.fromtimestamp(t // 1_000_000, tz=_NEW_YORK) for t in (s.open, s.close))
    return {"date": str(iso_date(s.date)), "open": f"{opened:%H:%M}", "close": f"{closed:%H:%M}"}


def asset(symbol: str, *, borrowable: bool = True) -> Json:
    """A stock. ``borrowable``: it can be sold short, by an account that may."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": True,
        "marginable": True,
        "shortable": borrowable,
        "easy_to_borrow": borrowable,
        "fractionable": False,
        "attributes": ["has_options"],
    }


def contract(quote: ContractQuote) -> Json:
    expiry = str(iso_date(quote.expiry))
    return {
        "id": asset_id(quote.symbol),
        "symbol": quote.symbol,
        "name": f"{quote.underlying} {expiry} {plain(quote.strike)} {quote.right.capitalize()}",
        "status": "active",
        "tradable": True,
        "expiration_date": expiry,
        "root_symbol": quote.symbol[:-15],
        "underlying_symbol": quote.underlying,
        "underlying_asset_id": asset_id(quote.underlying),
        "type": quote.right.lower(),
        "style": "american",
        "strike_price": plain(quote.strike),
        "size": str(quote.size),
        "open_interest": None if quote.open_interest is None else str(quote.open_interest),
        "open_interest_date": None,
        "close_price": None,
        "close_price_date": None,
    }


def option_quote(quote: ContractQuote, origin: str) -> Json:
    return {"t": iso(quote.time), "tape_origin": origin, "c": " "} | _sides(quote, "N", (10, 10))


def stock_quote(quote: StockQuote, origin: str) -> Json:
    sizes = quote.bid_size or 0, quote.ask_size or 0
    return {"t": iso(quote.time), "tape_origin": origin, "c": ["R"], "z": "C"} | _sides(quote, "V", sizes)


def _sides(quote: StockQuote | ContractQuote, venue: str, sizes: tuple[int, int]) -> Json:
    """Both sides; a missing one is 0, as in Alpaca's answers."""
    bid = {"bp": float(quote.bid or 0), "bs": sizes[0], "bx": venue}
    return bid | {"ap": float(quote.ask or 0), "as": sizes[1], "ax": venue}


def snapshot(quote: ContractQuote, origin: str, day_start: int, trade: OptionTrade | None = None) -> Json:
    """A contract's snapshot. Implied volatility is not modeled; what is unknown is left out."""
    out: Json = {"tape_origin": origin, "latestQuote": option_quote(quote, origin)}
    if trade is not None:
        told = {"t": iso(trade.time), "p": float(trade.price), "s": trade.size}
        out["latestTrade"] = told | {"x": "N", "c": "I"}
    if quote.volume is not None:
        out["dailyBar"] = {"t": iso(day_start), "v": quote.volume}
    if quote.delta is not None:
        theta = quote.theta or 0.0
        out["greeks"] = {"delta": quote.delta, "gamma": 0.0, "rho": 0.0, "theta": theta, "vega": 0.0}
    return out
