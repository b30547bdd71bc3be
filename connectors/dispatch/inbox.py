"""Bodies of ``account_inbox``: the one place that writes them.

An event_id covers the account, the kind, what asked for it and the whole content, never the time at
which the shell heard of it: the same fact heard twice is the same event.
"""

from decimal import Decimal
from typing import Any, NamedTuple

from tapedeck.connectors.broker import (
    AccountReply,
    ActivityReply,
    ChainReply,
    ContractReply,
    FillReply,
    OrderReply,
    PositionReply,
    QuoteReply,
    TradeUpdate,
    UnreadRow,
)
from tapedeck.connectors.outlook.records import Known, ReportTime
from tapedeck.streams.config.document import digest
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.orders import OrderState

Body = dict[str, Any]
INBOX = "account_inbox"
HALTED, RESUMED = "HALTED", "RESUMED"
_SCALE = Decimal("0.000001")


class Newest(NamedTuple):
    """Left edges of the newest bar and feature that the shell has seen of a symbol."""

    bar_t: int | None
    feature_t: int | None


class Inbox:
    """Writes the records of one account."""

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id

    def _body(self, kind: str, asked_by: str, content: Body, now: int) -> Body:
        natural = (self._account_id, kind, asked_by, digest(content))
        return {
            "event_id": event_id(INBOX, natural),
            "event_time": now,
            "account_id": self._account_id,
            "payload": (f"tapedeck.{kind}", content),
        }

    def started(self, epoch: int, now: int) -> Body:
        return self._body("InboxStarted", "", {"lease_epoch": epoch}, now)

    def tick(self, now: int) -> Body:
        """The time itself is what a tick says: one event per second."""
        return self._body("InboxTick", str(now // SECOND_US), {}, now)

    def signal(self, signal: Body, newest: Newest, now: int) -> Body:
        names = (
            "signal_id",
            "symbol",
            "action",
            "strategy",
            "reason",
            "confidence",
            "direction",
            "bar_t",
            "as_of",
        )
        content = {name: signal[name] for name in names}
        content |= {
            "signal_event_id": signal["event_id"],
            "close": signal.get("close"),
            "universe_version": signal.get("universe_version"),
            "newest_bar_t": newest.bar_t,
            "newest_feature_t": newest.feature_t,
        }
        return self._body("InboxSignal", "", content, now)

    def control(self, control: Body, now: int) -> Body:
        content: Body = {name: str(control[name]) for name in ("scope", "state", "person", "reason")}
        content |= {name: control.get(name) for name in ("command", "target", "price")}
        return self._body("InboxControl", "", {"control_event_id": control["event_id"], **content}, now)

    def bar(self, bar: Body, now: int) -> Body:
        """The newest bar of a watched symbol."""
        content = {
            "bar_event_id": bar["event_id"],
            "symbol": bar["symbol"],
            "bar_t": bar["t"],
            "revision": bar["revision"],
            "close": bar["close"],
        }
        return self._body("InboxBar", "", content, now)

    def halt(self, event: Body, now: int) -> Body:
        """A HALTED or RESUMED of ``market_events``."""
        content = {
            "market_event_id": event["event_id"],
            "symbol": event["symbol"],
            "halted": event["kind"] == HALTED,
            "since": event["event_time"],
        }
        return self._body("InboxHalt", "", content, now)

    def outlook(self, known: Known, session: int, now: int) -> list[Body]:
        """The value of the index, then the earnings of each symbol; none where nobody writes the topics.

        Each is told once in a ``session`` (its date in days), so a record is never older than that.
        """
        found = [] if known.regime is None else [self._regime(known.regime, session, now)]
        told = known.earnings.items() if known.fed else ()
        return found + [self._earnings(symbol, each, session, now) for symbol, each in told]

    def _regime(self, value: Body, session: int, now: int) -> Body:
        content = {
            "regime_event_id": value["event_id"],
            "value": value["value"],
            "measured_at": value["event_time"],
            "available_at": value["available_at"],
        }
        return self._body("InboxRegime", str(session), content, now)

    def _earnings(self, symbol: str, known: Body | None, session: int, now: int) -> Body:
        content: Body = {
            "earnings_event_id": None,
            "symbol": symbol,
            "report_date": None,
            "report_time": ReportTime.UNKNOWN.value,
            "available_at": None,
        }
        if known is not None:
            content |= {"earnings_event_id": known["event_id"]}
            content |= {name: known[name] for name in ("report_date", "report_time", "available_at")}
        return self._body("InboxEarnings", str(session), content, now)

    def stream(self, healthy: bool, detail: str, now: int) -> Body:
        """``detail`` numbers the connection, so that each change is an event of its own."""
        return self._body("InboxStream", "", {"healthy": healthy, "detail": detail}, now)

    def account(
        self, request_id: str, base_url: str, reply: AccountReply | None, error: str | None, now: int
    ) -> Body:
        content: Body = {
            "request_id": request_id,
            "broker_account_id": None,
            "status": None,
            "base_url": base_url,
            "equity": None,
            "cash": None,
            "buying_power": None,
            "options_buying_power": None,
            "error": error,
        }
        if reply is not None:
            content |= {"broker_account_id": reply.number, "status": reply.status}
            content |= {
                name: _scaled(getattr(reply, name))
                for name in ("equity", "cash", "buying_power", "options_buying_power")
            }
        return self._body("InboxAccount", _unasked(request_id, now), content, now)

    def broker(
        self,
        request_id: str,
        positions: list[PositionReply],
        orders: list[OrderReply],
        error: str | None,
        now: int,
        *,
        last_activity: str | None = None,
    ) -> Body:
        """``last_activity`` is the newest one that the account was told of."""
        held = sorted(positions, key=lambda at: at.instrument)
        content = {
            "request_id": request_id,
            "error": error,
            "positions": [_held(at) for at in held],
            "last_activity": last_activity,
            "open_orders": sorted(order.client_order_id for order in orders),
        }
        return self._body("InboxBroker", _unasked(request_id, now), content, now)

    def quote(self, request: Body, reply: QuoteReply | None, error: str | None, now: int) -> Body:
        content = {name: request[name] for name in ("request_id", "instrument", "underlying")}
        content |= {
            "feed": reply.feed if reply else "",
            "origin": reply.origin if reply else "",
            "quote_time": reply.time if reply else None,
            "bid": _scaled(reply.bid) if reply else None,
            "ask": _scaled(reply.ask) if reply else None,
            "trade_price": _scaled(reply.trade_price) if reply else None,
            "trade_time": reply.trade_time if reply else None,
            "theta": reply.theta if reply else None,
            "error": error,
        }
        return self._body("InboxQuote", "", content, now)

    def chain(self, request: Body, reply: ChainReply | None, error: str | None, now: int) -> Body:
        content: Body = {
            "request_id": request["request_id"],
            "underlying": request["underlying"],
            "feed": reply.feed if reply else "",
            "origin": reply.origin if reply else "",
            "contracts": [_contract(each) for each in reply.contracts] if reply else [],
            "error": error,
        }
        return self._body("InboxChain", "", content, now)

    def order(self, asked_by: str, reply: OrderReply, now: int, *, source: str = "REST") -> Body:
        """What the broker says of an order."""
        content = {
            "client_order_id": reply.client_order_id,
            "found": True,
            "broker_order_id": reply.broker_order_id,
            "state": reply.state.value,
            "raw_status": reply.raw_status,
            "filled_qty": _scaled(reply.filled_qty),
            "filled_avg_price": _scaled(reply.filled_avg_price),
            "error": None,
            "doubt": False,
            "source": source,
        }
        return self._body("InboxOrder", asked_by, content, now)

    def no_order(
        self, asked_by: str, client_order_id: str, state: OrderState | None, error: str, now: int
    ) -> Body:
        """A call about an order that gave none. ``state``: REJECTED refused, NOT_SENT kept back, UNKNOWN in
        doubt, None if the broker definitely knows no such order.
        """
        content = {
            "client_order_id": client_order_id,
            "found": state is not None,
            "broker_order_id": None,
            "state": state.value if state else None,
            "raw_status": None,
            "filled_qty": None,
            "filled_avg_price": None,
            "error": error,
            "doubt": state is OrderState.UNKNOWN,
            "source": "REST",
        }
        return self._body("InboxOrder", asked_by, content, now)

    def unread(self, row: UnreadRow, asked_by: str, now: int) -> Body:
        """A row of the broker's that cannot be understood: it blocks openings in its symbol, and is kept raw.

        ``asked_by`` tells one listing of the row from the next.
        """
        names = ("listed", "instrument", "client_order_id", "side", "error", "raw")
        content: Body = {name: getattr(row, name) for name in names}
        content |= {"qty": None, "notional": None, "raw_status": None}
        return self._body("InboxBrokerRow", asked_by, content, now)

    def external(self, order: OrderReply, asked_by: str, now: int) -> Body:
        """A working order that another program or a person placed in this account."""
        content: Body = {
            "listed": "orders",
            "instrument": order.instrument,
            "client_order_id": order.client_order_id,
            "side": order.raw_side,
            "qty": _scaled(order.qty),
            "notional": _scaled(order.notional),
            "raw_status": order.raw_status,
            "error": None,
            "raw": order.raw,
        }
        return self._body("InboxBrokerRow", asked_by, content, now)

    def fill(self, reply: FillReply, client_order_id: str, now: int) -> Body:
        """One execution, from the account's activities."""
        content = {name: getattr(reply, name) for name in ("execution_id", "instrument", "executed_at")}
        content |= {"client_order_id": client_order_id, "side": reply.side.value, "source": "REST"}
        content |= {name: _scaled(getattr(reply, name)) for name in ("qty", "price", "fee")}
        return self._body("InboxExecution", "", content, now)

    def activity(self, reply: ActivityReply, now: int) -> Body:
        """One leg of an expiry, an exercise or an assignment."""
        content = {
            "activity_id": reply.activity_id,
            "activity_type": reply.kind,
            "date": reply.date,
            "instrument": reply.instrument,
            "qty": _scaled(reply.qty),
            "price": _scaled(reply.price),
            "contract": reply.contract,
        }
        return self._body("InboxActivity", "", content, now)

    def execution(self, update: TradeUpdate, now: int) -> Body | None:
        """The execution that a trade update reports; None if it reports none."""
        if update.execution_id is None or update.qty is None or update.price is None:
            return None
        assert update.order.side is not None  # an execution without a known side is an UnreadRow
        content = {
            "execution_id": update.execution_id,
            "client_order_id": update.order.client_order_id,
            "instrument": update.order.instrument,
            "side": update.order.side.value,
            "qty": _scaled(update.qty),
            "price": _scaled(update.price),
            "fee": _scaled(update.fee),
            "executed_at": update.time,
            "source": "STREAM",
        }
        return self._body("InboxExecution", "", content, now)


def _held(reply: PositionReply) -> Body:
    quantities = {"qty": _scaled(reply.qty), "qty_available": _scaled(reply.qty_available)}
    return {"instrument": reply.instrument, **quantities}


def _unasked(request_id: str, now: int) -> str:
    """A reading that nobody asked for is one of its time: a later one that finds the same is another."""
    return "" if request_id else str(now)


def _scaled(value: Decimal | None) -> Decimal | None:
    """Decimals of the log have scale 6, so that one number has one digest."""
    return None if value is None else value.quantize(_SCALE)


def _contract(reply: ContractReply) -> Body:
    return {
        "symbol": reply.symbol,
        "expiry": reply.expiry,
        "right": reply.right.value,
        "strike": _scaled(reply.strike),
        "size": reply.size,
        "bid": _scaled(reply.bid),
        "ask": _scaled(reply.ask),
        "quote_time": reply.time,
        "volume": reply.volume,
        "open_interest": reply.open_interest,
        "delta": reply.delta,
        "theta": reply.theta,
    }
