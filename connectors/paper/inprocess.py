"""A Broker over a paper exchange in the same process, for the simulator: no sockets, the same answers."""

from collections.abc import Callable
from typing import Any, TypeVar

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
    OrderReply,
    PositionReply,
    QuoteReply,
    RateLimited,
    Refused,
    Rows,
    SessionReply,
    TradeUpdate,
)
from tapedeck.connectors.paper import wire
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault, UpdateGate
from tapedeck.connectors.paper.market import Board
from tapedeck.connectors.paper.orders import Refusal
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote

T = TypeVar("T")
_FEEDS = ("iex", "indicative")


class InProcessBroker:
    """One account of ``exchange``. Faults armed there appear here as the adapter would report them."""

    def __init__(self, exchange: PaperExchange, number: str, base_url: str) -> None:
        self.base_url = base_url
        self._exchange = exchange
        self._number = number

    def updates(self, listener: Callable[[TradeUpdate], None]) -> None:
        """Call ``listener`` with every trade update of this account that the faults let through."""
        gate = UpdateGate(self._exchange.faults, self._number)

        def heard(number: str, update: dict[str, Any]) -> None:
            if number == self._number:
                for each in gate.passed(update):
                    listener(replies.trade_update(each["data"]))

        self._exchange.listen(heard)

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
        return replies.open_orders(self._ask("orders", lambda: self._exchange.orders(self._number)))

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
        return self._ask("submit", lambda: replies.order(self._exchange.submit(self._number, payload)))

    def cancel(self, broker_order_id: str) -> None:
        self._ask("cancel", lambda: self._exchange.cancel(self._number, broker_order_id))

    def cancel_instrument(self, instrument: str) -> int:
        return chains.cancel_each(self.open_orders(), instrument, self.cancel)

    def order(self, broker_order_id: str) -> OrderReply:
        return chains.rooted(self._order(broker_order_id), self._order)

    def order_by_client_id(self, client_order_id: str) -> OrderReply:
        found = self._ask(
            "order", lambda: replies.order(self._exchange.order_by_client_id(self._number, client_order_id))
        )
        return chains.followed(found, self._order)

    def _order(self, broker_order_id: str) -> OrderReply:
        return self._ask(
            "order_by_id", lambda: replies.order(self._exchange.order(self._number, broker_order_id))
        )

    def activities(self, after: int) -> Rows[FillReply]:
        found = self._ask("activities", lambda: self._exchange.activities(self._number, after))
        return replies.rows("activities", replies.fill, found)

    def option_events(self, after: int) -> Rows[ActivityReply]:
        found = self._ask("option_activities", lambda: self._exchange.option_activities(self._number, after))
        return option_events.read(found)

    def _quote(self, instrument: str) -> QuoteReply:
        board, now = self._exchange.board, self._exchange.now
        found = board.quote(instrument, now)
        if found is None:
            raise Refusal(404, 0, "the broker has no quote")
        return replies.quote(instrument, _raw_quote(found, board), _FEEDS[is_option(instrument)])

    def _chain(self, query: ChainQuery) -> ChainReply:
        exchange = self._exchange
        found = [
            contract
            for contract in exchange.board.chain(query.underlying, exchange.now).values()
            if (query.right is None or contract.right == query.right)
            and query.expiry_from <= contract.expiry <= query.expiry_to
            and query.strike_from <= contract.strike <= query.strike_to
        ]
        origin, start = exchange.board.origin, exchange.day_start()
        snapshots = {contract.symbol: wire.snapshot(contract, origin, start) for contract in found}
        return replies.chain(query, [wire.contract(contract) for contract in found], snapshots, _FEEDS[1])

    def _ask(self, operation: str, call: Callable[[], T]) -> T:
        strikes = self._exchange.faults.take
        if strikes(Fault.RATE_LIMIT, operation, self._number):
            raise RateLimited("the broker did not take the call: too many requests")
        for before in (Fault.GATEWAY_TIMEOUT_BEFORE, Fault.DROP_BEFORE):
            if strikes(before, operation, self._number):
                raise Doubt(f"no answer from the broker: {before}")
        try:
            answer = call()
        except Refusal as refusal:
            if refusal.status == 404:
                raise NotFound(f"the broker does not know it: {refusal.message}") from refusal
            raise Refused(refusal.message, status=refusal.status, code=refusal.code) from refusal
        for after in (Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_AFTER, Fault.DELAY):
            if strikes(after, operation, self._number):
                raise Doubt(f"no answer from the broker: {after}")
        return answer


def _raw_quote(quote: StockQuote | ContractQuote, board: Board) -> dict[str, Any]:
    if isinstance(quote, StockQuote):
        return wire.stock_quote(quote, board.quote_origin)
    return wire.option_quote(quote, board.origin)
