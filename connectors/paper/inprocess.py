"""A Broker over a paper exchange in the same process, for the simulator: no sockets, the same answers."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from tapedeck.connectors.alpaca import chains, option_events, replies
from tapedeck.connectors.alpaca.trading import is_option, position_intent
from tapedeck.connectors.broker import (
    AccountReply,
    ActivityReply,
    ChainQuery,
    ChainReply,
    ClockReply,
    Doubt,
    FillReply,
    NewOrder,
    NotFound,
    NotUnderstood,
    OrderReply,
    PositionReply,
    QuoteReply,
    RateLimited,
    Refused,
    Rows,
    SessionReply,
    TradeUpdate,
)
from tapedeck.connectors.paper import direct, wire
from tapedeck.connectors.paper.door import Entry, Strike
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.gates import UpdateGate
from tapedeck.connectors.paper.orders import Execution, Refusal

T = TypeVar("T")
_FEEDS = ("iex", "indicative")


class InProcessBroker:
    """One account of ``exchange``. Faults armed there appear here as the adapter would report them."""

    def __init__(self, exchange: PaperExchange, number: str, base_url: str) -> None:
        self.base_url = base_url
        self._exchange = exchange
        self._number = number
        self._fills: dict[str, FillReply] = {}

    def updates(
        self,
        listener: Callable[[TradeUpdate], None],
        on_health: Callable[[bool, str], None] = lambda healthy, detail: None,
        on_empty: Callable[[], None] = lambda: None,
    ) -> None:
        """Call ``listener`` with every trade update of this account that the faults let through.

        ``on_health`` hears of a cut connection and of the next one; between them no update comes.
        ``on_empty``: an update without content came.
        """
        exchange, connections = self._exchange, [1]

        def deliver(update: dict[str, Any]) -> None:
            if not connections:
                return
            if update["data"] is None:
                on_empty()
            else:
                listener(replies.trade_update(update["data"]))

        def cut(seconds: float) -> None:
            number = connections.pop()
            on_health(False, f"trade updates lost: connection {number} was cut")
            exchange.later(seconds, lambda: connect(number + 1))

        def connect(number: int) -> None:
            connections.append(number)
            on_health(True, f"trade updates connected, connection {number}")

        gate = UpdateGate(exchange, self._number, deliver, cut)

        def heard(number: str, update: dict[str, Any]) -> None:
            if number == self._number and connections:
                gate.put(update)

        exchange.listen(heard)

    def account(self) -> AccountReply:
        return self._ask("account", lambda: replies.account(self._exchange.account(self._number)))

    def clock(self) -> ClockReply:
        return self._ask("clock", lambda: replies.clock(self._exchange.clock()))

    def calendar(self, first: int, last: int) -> list[SessionReply]:
        return self._ask(
            "calendar", lambda: [replies.session(raw) for raw in self._exchange.sessions(first, last)]
        )

    def positions(self) -> Rows[PositionReply]:
        found = self._ask("positions", lambda: self._exchange.positions(self._number))
        return replies.rows("positions", replies.position, found)

    def open_orders(self) -> Rows[OrderReply]:
        found = self._ask("orders", lambda: self._exchange.orders(self._number, nested=True))
        return replies.open_orders(found)

    def quote(self, instrument: str) -> QuoteReply:
        return self._ask("quote", lambda: self._quote(instrument))

    def chain(self, query: ChainQuery) -> ChainReply:
        return self._ask("chain", lambda: self._chain(query))

    def submit(self, order: NewOrder) -> OrderReply:
        intent = position_intent(order)
        payload = {
            "symbol": order.instrument,
            "qty": order.qty,
            "side": order.side.value.lower(),
            "type": "market" if order.limit_price is None else "limit",
            "limit_price": order.limit_price,
            "time_in_force": order.time_in_force,
            "client_order_id": order.client_order_id,
            "position_intent": intent.value,
        }
        subject = order.client_order_id
        return self._ask(
            "submit", lambda: replies.order(self._exchange.submit(self._number, payload)), subject
        )

    def cancel(self, broker_order_id: str) -> None:
        self._ask("cancel", lambda: self._exchange.cancel(self._number, broker_order_id), broker_order_id)

    def cancel_instrument(self, instrument: str) -> int:
        return chains.cancel_each(self.open_orders(), instrument, self.cancel)

    def order(self, broker_order_id: str) -> OrderReply:
        return chains.rooted(self._order(broker_order_id), self._order)

    def order_by_client_id(self, client_order_id: str) -> OrderReply:
        found = self._ask(
            "order",
            lambda: replies.order(self._exchange.order_by_client_id(self._number, client_order_id)),
            client_order_id,
        )
        return chains.followed(found, self._order)

    def _order(self, broker_order_id: str) -> OrderReply:
        return self._ask(
            "order_by_id", lambda: replies.order(self._exchange.order(self._number, broker_order_id))
        )

    def activities(self, after: int) -> Rows[FillReply]:
        found = self._ask("activities", lambda: self._exchange.executions(self._number, after))
        return Rows(map(self._fill, found))

    def _fill(self, execution: Execution) -> FillReply:
        """One execution as it is listed; each is made once."""
        known = self._fills.get(execution.execution_id)
        if known is None:
            known = self._fills[execution.execution_id] = replies.fill(wire.activity(self._number, execution))
        return known

    def option_events(self, after: int) -> Rows[ActivityReply]:
        found = self._ask("option_activities", lambda: self._exchange.option_activities(self._number, after))
        return option_events.read(found)

    def _quote(self, instrument: str) -> QuoteReply:
        board, reply = self._exchange.board, None
        if is_option(instrument):
            told = self._exchange.option_snapshot(self._number, instrument)
            reply = None if told is None else direct.option_quote(told, board.origin, _FEEDS[1])
        elif (stock := board.stock(instrument, self._exchange.now)) is not None:
            reply = direct.quote(stock, board.quote_origin, _FEEDS[0])
        if reply is None:
            raise Refusal(404, 0, "the broker has no quote")
        return reply

    def _chain(self, query: ChainQuery) -> ChainReply:
        exchange = self._exchange
        found = direct.wanted(query, exchange.board.chain(query.underlying, exchange.now).values())
        return direct.chain(query, found, exchange.board.origin, _FEEDS[1])

    def _ask(self, operation: str, call: Callable[[], T], subject: str = "") -> T:
        """One call: what strikes before it, the exchange's own answer, and what strikes after it."""
        door, now = self._exchange.door, self._exchange.now
        early = door.enter(operation, self._number, now)
        if early is not None:
            self._note(operation, subject, 0, early.fault)
            raise _named(early)
        answer, refusal = None, None
        try:
            answer = call()
        except Refusal as error:
            refusal = error
        late = door.leave(operation, self._number)
        self._note(operation, subject, 200 if refusal is None else refusal.status, late and late.fault)
        if late is not None:
            raise _named(late)
        if refusal is not None:
            raise _refused(refusal)
        return cast(T, answer)

    def _note(self, operation: str, subject: str, outcome: int, told: Fault | None) -> None:
        if subject:
            entry = Entry(self._exchange.now, self._number, operation, subject, outcome, told)
            self._exchange.door.note(entry)


def _named(strike: Strike) -> RateLimited | Doubt:
    """A fault as the adapter would report it."""
    if strike.fault is Fault.RATE_LIMIT:
        limited = RateLimited("the broker did not take the call: too many requests")
        limited.wait_s = strike.seconds
        return limited
    if strike.fault in (Fault.MALFORMED_AFTER, Fault.NULL_AFTER):
        return NotUnderstood(f"the broker's answer was not understood: {strike.fault}")
    return Doubt(f"no answer from the broker: {strike.fault}")


def _refused(refusal: Refusal) -> NotFound | Refused:
    if refusal.status == 404:
        return NotFound(f"the broker does not know it: {refusal.message}")
    return Refused(refusal.message, status=refusal.status, code=refusal.code)
