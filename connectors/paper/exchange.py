"""The paper exchange: what its accounts can ask for, in Alpaca's words. See ``engine`` for what time does."""

from bisect import bisect_left
from decimal import Decimal
from typing import Any, NamedTuple

from tapedeck.connectors.paper import cancels, checks, hands, legs, margin, views, wire
from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.engine import Engine
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import (
    BUY_TO_OPEN,
    HELD,
    NOT_FOUND,
    SELL_TO_OPEN,
    UNPROCESSABLE,
    Execution,
    Order,
    Refusal,
    stable_uuid,
)
from tapedeck.connectors.tapes.market import ContractQuote
from tapedeck.connectors.tapes.trades import OptionTrade
from tapedeck.streams.protocol import SECOND_US

Json = dict[str, Any]
ZERO = Decimal(0)
_PARTS = {
    Fault.QUOTE_NULL: "latestQuote",
    Fault.TRADE_NULL: "latestTrade",
    Fault.GREEKS_NULL: "greeks",
}
"""What of a contract's snapshot a fault takes away."""


class Snapshot(NamedTuple):
    """What is told of one contract. The parts ``gone``, by Alpaca's names, are null."""

    quote: ContractQuote
    trade: OptionTrade | None
    gone: frozenset[str]


class PaperExchange(Engine):
    """Methods take an account number; the server maps credentials to it."""

    def authenticate(self, key: str, secret: str) -> str | None:
        """The number of the account that the credentials belong to."""
        for number, book in self.books.items():
            if (book.account.key, book.account.secret) == (key, secret):
                return number
        return None

    def submit(self, number: str, payload: Json) -> Json:
        """Accept an order in the form of Alpaca's POST body. Returns the accepted order. Raises Refusal."""
        book = self.books[number]
        asked = checks.ticket(payload, stable_uuid("client", self.seed, number, len(book.orders)))
        checks.unique(asked, book.by_client_id)
        listing = checks.instrument(
            asked, self.board.listing(asked.symbol, self.now), self.calendar, self.now
        )
        checks.refused_anyway(self.faults, number, asked)
        intent = checks.intent(asked, listing, book.ledger.qty(asked.symbol), self._no_short(book, listing))
        price = asked.limit_price or asked.stop_price
        cost = margin.cost(self, listing, intent, price, asked.qty)
        power = margin.power(self, book, is_option=listing.is_option)
        opens = intent in (BUY_TO_OPEN, SELL_TO_OPEN)
        checks.resources(asked, listing, book, opens=opens, cost=cost, power=power)
        order = Order(
            id=stable_uuid("order", self.seed, number, asked.client_order_id),
            client_order_id=asked.client_order_id,
            listing=listing,
            side=asked.side,
            intent=intent,
            qty=asked.qty,
            type=asked.type,
            limit_price=asked.limit_price,
            stop_price=asked.stop_price,
            order_class=asked.order_class,
            time_in_force=asked.time_in_force,
            created_at=self.now,
            updated_at=self.now,
            expires_at=self.day_ends(listing),
            status="pending_new" if self.trades(listing) else "accepted",
        )
        accepted = wire.order(order)
        if self.faults.take(Fault.REJECT, "submit", number):
            book.orders[order.id] = book.by_client_id[order.client_order_id] = order
            self.end(number, order, "rejected", "rejected")
            return accepted
        wait = self.faults.seconds(Fault.NO_FILL, "submit", number)
        if wait is not None:
            order.rests_until = self.now + round(wait * SECOND_US)
        if order.order_class == "simple":
            self.place(number, order, asked_for=True)
            return accepted
        return self._place_with_legs(number, order, asked)

    def _place_with_legs(self, number: str, order: Order, asked: checks.Ticket) -> Json:
        """The legs are in the book before anything can happen to their parent."""
        book = self.books[number]
        book.orders[order.id] = book.by_client_id[order.client_order_id] = order
        legs.place(self, number, order, asked)
        accepted = wire.order(order, [wire.order(book.orders[each]) for each in order.legs])
        self.begin(number, order)
        return accepted

    def cancel(self, number: str, order_id: str) -> None:
        """Request a cancel. Raises Refusal: 404 unknown, 422 no longer cancelable."""
        cancels.cancel(self, number, self._order(number, order_id))

    def cancel_all(self, number: str) -> list[Json]:
        """Request a cancel of every working order; for each its id and the status of the request."""
        told = []
        for order in self.books[number].working():
            try:
                cancels.cancel(self, number, order)
                told.append({"id": order.id, "status": 200})
            except Refusal as refusal:
                told.append({"id": order.id, "status": refusal.status})
        return told

    def replace(self, number: str, order_id: str, payload: Json) -> Json:
        """Replace a working order; returns the new one. Raises Refusal."""
        order, book = self._order(number, order_id), self.books[number]
        power = margin.power(self, book, is_option=order.listing.is_option)

        def cost(qty: Decimal, limit: Decimal) -> Decimal:
            return margin.cost(self, order.listing, order.intent, limit, qty)

        changes = checks.changes(order, payload, book, power, cost)
        if self.faults.take(Fault.REPLACE_REFUSED, "replace", number):
            raise checks.insufficient(order.listing.symbol, order.qty, ZERO)
        fresh = hands.succeed(self, number, order, **changes)
        if self.faults.take(Fault.REPLACE_DONE_BUT_REFUSED, "replace", number):
            raise Refusal(422, UNPROCESSABLE, "order is not sent to exchange yet")
        return wire.order(fresh)

    def close_position(self, number: str, symbol: str, qty: str | None = None) -> Json:
        """Sell what is held, or a part of it, at the market. Raises Refusal: 404 without a position."""
        held = self.books[number].ledger.positions.get(symbol)
        if held is None:
            raise Refusal(404, NOT_FOUND, f"position not found: {symbol}")
        side = "sell" if held.qty > 0 else "buy"
        asked = {"symbol": symbol, "qty": qty or str(abs(held.qty)), "side": side, "type": "market"}
        return self.submit(number, {**asked, "time_in_force": "day"})

    def order(self, number: str, order_id: str) -> Json:
        return self._wired(number, self._order(number, order_id))

    def order_by_client_id(self, number: str, client_order_id: str) -> Json:
        order = self.books[number].by_client_id.get(client_order_id)
        if order is None or self.faults.take(Fault.NOT_FOUND, "order", number):
            raise Refusal(404, NOT_FOUND, f"order not found for {client_order_id}")
        return self._wired(number, order)

    def orders(self, number: str, status: str = "open", *, nested: bool = False) -> list[Json]:
        """Orders, newest first: ``open``, ``closed`` or ``all``.

        ``nested`` rolls legs up under their parents: a parent is listed if it or one of its legs is wanted.
        Without it a ``held`` leg is not among the open orders.
        """
        wanted = {"open": (True,), "closed": (False,), "all": (True, False)}[status]
        lag = self.faults.seconds(Fault.LAGGING_ORDERS, "orders", number)
        book = views.as_of(self.books[number], self.now, lag)
        every = book.families() if status == "open" else list(reversed(book.orders.values()))
        if nested:
            roots = [order for order in every if order.parent is None]
            return [
                self._wired(number, order, book)
                for order in roots
                if any(each.is_open in wanted for each in (order, *views.legs_of(book, order)))
            ]
        hidden = (HELD,) if status == "open" else ()
        return [
            wire.order(order) for order in every if order.is_open in wanted and order.status not in hidden
        ]

    def _wired(self, number: str, order: Order, book: Book | None = None) -> Json:
        below = views.legs_of(book or self.books[number], order)
        return wire.order(order, [wire.order(each) for each in below])

    def account(self, number: str) -> Json:
        book = self.books[number]
        shown = "WRONG-" + number if self.faults.take(Fault.WRONG_ACCOUNT, "account", number) else number
        powers = (margin.power(self, book, is_option=is_option) for is_option in (False, True))
        return wire.account(shown, book.account.status, margin.worth(self, book), *powers)

    def positions(self, number: str) -> list[Json]:
        lag = self.faults.seconds(Fault.LAGGING_POSITIONS, "positions", number)
        book = self.books[number]
        held = views.positions(book, self.now, lag)
        return [
            wire.position(at, self.mark(at.listing, at.average), views.available(book, at))
            for _, at in sorted(held.items())
        ]

    def position(self, number: str, symbol: str) -> Json:
        """One position. Raises Refusal: 404 if there is none."""
        found = [each for each in self.positions(number) if each["symbol"] == symbol]
        if not found:
            raise Refusal(404, NOT_FOUND, "position does not exist")
        return found[0]

    def activities(self, number: str, after: int = 0) -> list[Json]:
        """Executions at or after a time, oldest first."""
        account = stable_uuid("account", number)
        return [wire.activity(account, fill) for fill in self.executions(number, after)]

    def executions(self, number: str, after: int = 0) -> list[Execution]:
        """What ``activities`` lists."""
        lag = self.faults.seconds(Fault.LAGGING_ACTIVITIES, "activities", number)
        last = self.now - round((lag or 0.0) * SECOND_US)
        done = self.books[number].executions
        first = bisect_left(done, after, key=lambda fill: fill.time)
        return [fill for fill in done[first:] if fill.time <= last]

    def option_activities(self, number: str, after: int = 0) -> list[Json]:
        """Expiries, exercises and assignments of a date or later that are already listed, oldest first."""
        account, first = stable_uuid("account", number), self.calendar.session_date(after) if after else 0
        told = (each for each in self.books[number].activities if each.visible_at <= self.now)
        return [wire.option_activity(account, each) for each in told if each.date >= first]

    def option_snapshot(self, number: str, symbol: str) -> Snapshot | None:
        """A contract's newest quote, last trade and greeks; None for a contract that is not quoted."""
        quote = self.board.quote(symbol, self.now)
        if not isinstance(quote, ContractQuote):
            return None
        newest = [each for each in (self.board.trade(quote, self.now), self.traded.get(symbol)) if each]
        trade = max(newest, key=lambda each: each.time, default=None)
        gone = {part for fault, part in _PARTS.items() if self.faults.take(fault, "option_snapshot", number)}
        return Snapshot(quote, trade, frozenset(gone))

    def _no_short(self, book: Book, listing: Listing) -> Refusal | None:
        may = book.account.margin and margin.worth(self, book).margin
        return checks.no_short(listing.symbol, margin=may, borrowable=self.borrowable(listing.symbol))

    def borrowable(self, symbol: str) -> bool:
        """Whether a stock can be sold short here."""
        return symbol not in self.hard_to_borrow

    def clock(self) -> Json:
        session = self.calendar.session_at(self.now)
        today = self.calendar.session_date(self.now)
        coming = self.calendar.session_on(today)
        if coming is None or self.now >= coming.open:
            coming = self.calendar.next(today)
        assert coming is not None  # the calendar ends years after any tape
        return wire.clock(self.now, session is not None, coming.open, (session or coming).close)

    def sessions(self, first: int, last: int) -> list[Json]:
        found = (self.calendar.session_on(date) for date in range(first, last + 1))
        return [wire.session(session) for session in found if session]

    def day_start(self) -> int:
        """The open of the newest session that has begun: daily volumes count from there."""
        session = self.calendar.session_on(self.calendar.session_date(self.now))
        return session.open if session else self.now

    def _order(self, number: str, order_id: str) -> Order:
        order = self.books[number].orders.get(order_id)
        if order is None:
            raise Refusal(404, NOT_FOUND, f"order not found for {order_id}")
        return order
