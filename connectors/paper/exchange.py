"""The paper exchange: accounts, orders and fills over a market. Time moves only when it is told to.

It has no I/O and no clock of its own. The same market, seed, accounts, calls and times give the same result,
down to the ids.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from tapedeck.connectors.paper import checks, expiry, fills, wire
from tapedeck.connectors.paper.book import Book, PaperAccount
from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.paper.ledger import Ledger
from tapedeck.connectors.paper.market import Board, Listing
from tapedeck.connectors.paper.orders import (
    NOT_FOUND,
    UNPROCESSABLE,
    Execution,
    Order,
    Refusal,
    stable_uuid,
)
from tapedeck.connectors.tapes.market import Market
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, Session
from tapedeck.streams.stages.account.rules.orders import Side

Json = dict[str, Any]
Listener = Callable[[str, Json], None]
ZERO = Decimal(0)


class PaperExchange:
    """See the module. Methods take an account number; the server maps credentials to it."""

    def __init__(
        self,
        market: Market,
        calendar: Calendar,
        accounts: Iterable[PaperAccount],
        *,
        now: int,
        seed: int = 0,
        fees: fills.Fees | None = None,
        faults: Faults | None = None,
        listed: expiry.Listed = expiry.Listed.AT_ONCE,
    ) -> None:
        self.board = Board(market)
        self.calendar = calendar
        self.faults = faults or Faults()
        self.now = now
        self._seed = seed
        self._fees = fees or fills.Fees()
        self._listed = listed
        self._books = {account.number: Book(account, Ledger(account.cash)) for account in accounts}
        self._listeners: list[Listener] = []
        self.changes = 0
        """Increases whenever an account may have changed: anything saved before is then out of date."""

    @property
    def books(self) -> Mapping[str, Book]:
        """The accounts by number."""
        return self._books

    def open_market(self, market: Market, first: int) -> None:
        """Continue with ``market`` from ``first`` on; accounts, orders and positions stay.

        The time until then passes under the old market. An exchange that was never used takes the market's
        own time, even an earlier one. What is held or ordered stays quoted.
        """
        if not self.changes:
            self.now = min(self.now, first)
        self.advance(first)
        self._list(market)

    def restore(self, books: Mapping[str, Book], now: int) -> None:
        """Restore accounts as they were at ``now``; accounts that are not in ``books`` stay."""
        self._books |= books
        self.now, self.changes = now, self.changes + 1
        self._list(self.board.market)

    def _list(self, market: Market) -> None:
        held = [symbol for book in self._books.values() for symbol in book.ledger.positions]
        self.board = Board(market, [*held, *(order.listing.symbol for _, order in self._working())])

    def listen(self, listener: Listener) -> None:
        """Call ``listener(account number, trade update)`` as things happen."""
        self._listeners.append(listener)

    def authenticate(self, key: str, secret: str) -> str | None:
        """The number of the account that the credentials belong to."""
        for number, book in self._books.items():
            if (book.account.key, book.account.secret) == (key, secret):
                return number
        return None

    def advance(self, now: int) -> None:
        """Move the clock to ``now``, stopping wherever an order could change. Never backwards."""
        while self.now < now:
            self.now = self._next_moment(now)
            self.changes += bool(self._working())
            self._settle()

    def submit(self, number: str, payload: Json) -> Json:
        """Accept an order in the form of Alpaca's POST body. Returns the accepted order. Raises Refusal."""
        book = self._books[number]
        asked = checks.ticket(payload, stable_uuid("client", self._seed, number, len(book.orders)))
        checks.unique(asked, book.by_client_id)
        session = self.calendar.session_at(self.now)
        listing = checks.instrument(
            asked, self.board.listing(asked.symbol, self.now), self.calendar, self.now
        )
        intent = checks.intent(asked, listing, book.ledger.qty(asked.symbol))
        price = asked.limit_price or self._other_side(listing, asked.side)
        checks.resources(asked, listing, asked.qty * price * listing.multiplier, self.spendable(number), book)
        order = Order(
            id=stable_uuid("order", self._seed, number, asked.client_order_id),
            client_order_id=asked.client_order_id,
            listing=listing,
            side=asked.side,
            intent=intent,
            qty=asked.qty,
            type="market" if asked.limit_price is None else "limit",
            limit_price=asked.limit_price,
            time_in_force=asked.time_in_force,
            created_at=self.now,
            updated_at=self.now,
            expires_at=self._day_ends(session),
            status="pending_new" if session else "accepted",
        )
        book.orders[order.id] = book.by_client_id[order.client_order_id] = order
        accepted = wire.order(order)
        if self.faults.take(Fault.REJECT, "submit", number):
            self._end(number, order, "rejected", "rejected")
            return accepted
        self._say(number, "new", order, status="new")
        order.due = self.now
        if session is not None:
            self._work(number, order)
        return accepted

    def cancel(self, number: str, order_id: str) -> None:
        """Cancel a working order. Raises Refusal: 404 unknown, 422 no longer cancelable."""
        order = self._order(number, order_id)
        if not order.is_open:
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{order.status}" state')
        self._end(number, order, "canceled", "canceled")

    def order(self, number: str, order_id: str) -> Json:
        return wire.order(self._order(number, order_id))

    def order_by_client_id(self, number: str, client_order_id: str) -> Json:
        order = self._books[number].by_client_id.get(client_order_id)
        if order is None:
            raise Refusal(404, NOT_FOUND, f"order not found for {client_order_id}")
        return wire.order(order)

    def orders(self, number: str, status: str = "open") -> list[Json]:
        """Orders, newest first: ``open``, ``closed`` or ``all``."""
        wanted = {"open": (True,), "closed": (False,), "all": (True, False)}[status]
        every = reversed(self._books[number].orders.values())
        return [wire.order(order) for order in every if order.is_open in wanted]

    def account(self, number: str) -> Json:
        book = self._books[number]
        cash = equity = book.ledger.cash
        for at in book.ledger.positions.values():
            equity += self._mark(at.listing, at.average) * at.qty * at.listing.multiplier
        shown = "WRONG-" + number if self.faults.take(Fault.WRONG_ACCOUNT, "account", number) else number
        spendable = self.spendable(number)
        return wire.account(shown, book.account.status, cash=cash, equity=equity, spendable=spendable)

    def positions(self, number: str) -> list[Json]:
        book = self._books[number]
        return [
            wire.position(at, self._mark(at.listing, at.average), at.qty - book.reserved(symbol))
            for symbol, at in sorted(book.ledger.positions.items())
        ]

    def activities(self, number: str, after: int = 0) -> list[Json]:
        """Executions at or after a time, oldest first."""
        account = stable_uuid("account", number)
        return [wire.activity(account, fill) for fill in self._books[number].executions if fill.time >= after]

    def option_activities(self, number: str, after: int = 0) -> list[Json]:
        """Expiries, exercises and assignments of a date or later that are already listed, oldest first."""
        account, first = stable_uuid("account", number), self.calendar.session_date(after) if after else 0
        told = (each for each in self._books[number].activities if each.visible_at <= self.now)
        return [wire.option_activity(account, each) for each in told if each.date >= first]

    def spendable(self, number: str) -> Decimal:
        """Cash that no working buy reserves."""
        book = self._books[number]
        free = book.ledger.cash
        for order in book.working():
            if order.side is Side.BUY:
                price = order.limit_price or self._other_side(order.listing, Side.BUY)
                free -= order.remaining * price * order.listing.multiplier
        return max(ZERO, free)

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
        order = self._books[number].orders.get(order_id)
        if order is None:
            raise Refusal(404, NOT_FOUND, f"order not found for {order_id}")
        return order

    def _day_ends(self, session: Session | None) -> int:
        if session is None:
            today = self.calendar.session_date(self.now)
            session = self.calendar.session_on(today)
            if session is None or self.now >= session.close:
                session = self.calendar.next(today)
        assert session is not None
        return session.close

    def _touch(self, listing: Listing) -> fills.Touch | None:
        quote = self.board.quote(listing.symbol, self.now)
        return None if quote is None else fills.touch(quote.bid, quote.ask)

    def _other_side(self, listing: Listing, side: Side) -> Decimal:
        quote = self._touch(listing)
        return ZERO if quote is None else quote.ask if side is Side.BUY else quote.bid

    def _mark(self, listing: Listing, fallback: Decimal) -> Decimal:
        quote = self._touch(listing)
        return fallback if quote is None else quote.mid

    def _working(self) -> list[tuple[str, Order]]:
        return [(number, order) for number, book in sorted(self._books.items()) for order in book.working()]

    def _next_moment(self, now: int) -> int:
        """The earliest of ``now``, a due time, an order's or a contract's expiry, and the next minute while
        an order waits.
        """
        working = self._working()
        moments = [now]
        for _, order in working:
            moments += [at for at in (order.due, order.expires_at) if at is not None and at > self.now]
        for book in self._books.values():
            expiries = {at.listing.expiry for at in book.ledger.positions.values()} - {None}
            moments += [expiry.processed_at(day, self.calendar) for day in expiries if day is not None]
        if working:
            moments.append((self.now // MINUTE_US + 1) * MINUTE_US)
        return min(at for at in moments if at > self.now)

    def _settle(self) -> None:
        for _, book in sorted(self._books.items()):
            for at in expiry.due(book, self.calendar, self.now):
                expiry.expire(book, at, self.board, self.calendar, self._listed)
                self.changes += 1
        is_open = self.calendar.session_at(self.now) is not None
        for number, order in self._working():
            if self.now >= order.expires_at:
                self._end(number, order, "expired", "expired")
            elif is_open:
                self._work(number, order)

    def _work(self, number: str, order: Order) -> None:
        """Fill what can be filled now, and schedule the next check."""
        new_minute = self.now % MINUTE_US == 0
        was_due = order.due is not None and self.now >= order.due
        if not was_due and not new_minute:
            return
        quote = self._touch(order.listing)
        if quote is None:
            order.due = None
            return
        price = fills.crossing_price(order.side, order.limit_price, quote)
        if price is not None:
            first_look = order.attempts == 0
            self._fill(number, order, order.remaining, price if first_look else order.limit_price or price)
            return
        assert order.limit_price is not None
        eager = fills.eagerness(order.side, order.limit_price, quote)
        rng = random.Random(f"{self._seed}|{number}|{order.client_order_id}|{order.attempts}")
        if was_due and order.attempts and eager is not None:
            self._fill(number, order, fills.part(rng, order.remaining), order.limit_price)
        if not order.is_open or (order.due is not None and not was_due):
            return
        order.attempts += 1
        wait = None if eager is None else fills.delay_us(rng, eager)
        order.due = None if wait is None else self.now + wait

    def _fill(self, number: str, order: Order, qty: Decimal, price: Decimal) -> None:
        book = self._books[number]
        done = order.filled_qty + qty
        fill = Execution(
            execution_id=stable_uuid("execution", order.id, len(order.executions)),
            order_id=order.id,
            symbol=order.listing.symbol,
            side=order.side,
            qty=qty,
            price=price,
            fee=self._fees.of(is_option=order.listing.is_option, side=order.side, qty=qty),
            time=self.now,
            cumulative=done,
            leaves=order.qty - done,
        )
        order.executions.append(fill)
        book.executions.append(fill)
        book.ledger.apply(order.listing, fill)
        if fill.leaves:
            self._say(number, "partial_fill", order, status="partially_filled", fill=fill)
        else:
            self._end(number, order, "fill", "filled", fill=fill)

    def _end(self, number: str, order: Order, event: str, status: str, fill: Execution | None = None) -> None:
        order.due, order.ended_at = None, self.now
        self._say(number, event, order, status=status, fill=fill)

    def _say(
        self, number: str, event: str, order: Order, *, status: str, fill: Execution | None = None
    ) -> None:
        self.changes += 1
        order.status, order.updated_at = status, self.now
        held = self._books[number].ledger.qty(order.listing.symbol)
        update = wire.update(event, order, self.now, fill, held)
        for listener in self._listeners:
            listener(number, update)
