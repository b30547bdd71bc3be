"""The engine of the paper exchange: what happens to orders and positions as time passes.

It has no I/O and no clock of its own. The same market, seed, accounts, calls and times give the same result,
down to the ids. Time stops at every moment at which something could change.
"""

import heapq
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from itertools import count
from typing import Any

from tapedeck.connectors.paper import expiry, fills, hands, hours, legs, wire
from tapedeck.connectors.paper.book import Book, PaperAccount
from tapedeck.connectors.paper.door import Door
from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.paper.ledger import Ledger
from tapedeck.connectors.paper.market import Board, Listing
from tapedeck.connectors.paper.orders import HELD, PENDING_CANCEL, SELL_TO_OPEN, Execution, Order, stable_uuid
from tapedeck.connectors.tapes.market import Market
from tapedeck.connectors.tapes.trades import OptionTrade
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.rules.orders import Side

Json = dict[str, Any]
Listener = Callable[[str, Json], None]
ZERO = Decimal(0)


class Engine:
    """See the module. Accounts are named by their numbers."""

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
        liquidates: hands.Liquidates = hands.Liquidates.NEVER,
        calls_per_minute: int | None = None,
        hard_to_borrow: Collection[str] = (),
    ) -> None:
        self.board = Board(market)
        self.calendar = calendar
        self.faults = faults or Faults()
        self.now = now
        self.seed = seed
        self.liquidates = liquidates
        self.hard_to_borrow = frozenset(hard_to_borrow)
        self.door = Door(self.faults, calls_per_minute)
        self._fees = fees or fills.Fees()
        self._listed = listed
        self._books = {account.number: Book(account, Ledger(account.cash)) for account in accounts}
        self._listeners: list[Listener] = []
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self.traded: dict[str, OptionTrade] = {}
        """The last trade here of each contract."""
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
        every = [(each, book.orders[each.order_id]) for book in books.values() for each in book.executions]
        for fill, order in sorted(every, key=lambda each: each[0].time):
            self._note_trade(order, fill)
        self.now, self.changes = now, self.changes + 1
        self._list(self.board.market)

    def _list(self, market: Market) -> None:
        held = [symbol for book in self._books.values() for symbol in book.ledger.positions]
        self.board = Board(market, [*held, *(order.listing.symbol for _, order in self._working())])

    def listen(self, listener: Listener) -> None:
        """Call ``listener(account number, trade update)`` as things happen."""
        self._listeners.append(listener)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` when so many seconds have passed. It is forgotten if the process ends."""
        at = self.now + max(1, round(seconds * SECOND_US))
        heapq.heappush(self._timers, (at, next(self._numbers), call))

    def advance(self, now: int) -> None:
        """Move the clock to ``now``, stopping wherever something could change. Never backwards."""
        while self.now < now:
            self.now = self._next_moment(now)
            self.changes += bool(self._working())
            self._settle()

    def _working(self) -> list[tuple[str, Order]]:
        return [(number, order) for number, book in sorted(self._books.items()) for order in book.working()]

    def _next_moment(self, now: int) -> int:
        """The earliest of ``now``, a timer, a moment of an order or a contract, and the next minute while an
        order waits.
        """
        working = self._working()
        moments = [now, *(at for at, _, _ in self._timers[:1])]
        for _, order in working:
            moments += [at for at in (order.due, order.expires_at, order.rests_until, order.ends_at) if at]
        for book in self._books.values():
            for listing in {at.listing for at in book.ledger.positions.values()}:
                if listing.expiry is not None:
                    moments.append(expiry.processed_at(listing, self.calendar))
                    moments += hands.liquidation_at(listing.expiry, self.calendar)
        if working:
            moments.append((self.now // MINUTE_US + 1) * MINUTE_US)
        return min(at for at in moments if at > self.now)

    def _settle(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()
        for _, book in sorted(self._books.items()):
            for at in expiry.due(book, self.calendar, self.now):
                expiry.expire(book, at, self.board, self.calendar, self._listed)
                self.changes += 1
        hands.liquidate(self)
        # A stop is looked at first: where a bar touches both legs of a pair, the stop is filled.
        for number, order in sorted(self._working(), key=lambda each: each[1].stop_price is None):
            if not order.is_open:
                continue
            if self.now >= order.expires_at:
                self.end(number, order, "expired", "expired")
            elif order.ends_at is not None and self.now >= order.ends_at:
                self.end(number, order, "canceled", "canceled")
            elif self.trades(order.listing):
                self.work(number, order)

    def place(self, number: str, order: Order, *, asked_for: bool = False) -> None:
        """Take an order into the book and say so; ``asked_for`` by the client, and not by another hand."""
        book = self._books[number]
        book.orders[order.id] = book.by_client_id[order.client_order_id] = order
        if order.status == HELD:
            self.say(number, "held", order, status=HELD)
        else:
            self.begin(number, order, asked_for=asked_for)

    def begin(self, number: str, order: Order, *, asked_for: bool = False) -> None:
        """Say that an order is new. It works at once if the market is open, and waits for it otherwise."""
        self.say(number, "new", order, status="new")
        order.due = self.now
        if self.trades(order.listing):
            if asked_for:
                hands.replace_by_hand(self, number, order)
            if order.is_open:
                self.work(number, order)

    def work(self, number: str, order: Order) -> None:
        """Fill what can be filled now, and schedule the next check."""
        asleep = order.status == PENDING_CANCEL or (order.status == HELD and order.stop_price is None)
        if asleep or not self._is_awake(order):
            return
        new_minute = self.now % MINUTE_US == 0
        was_due = order.due is not None and self.now >= order.due
        if not was_due and not new_minute:
            return
        if order.stop_price is not None and not order.triggered and not self._trigger(number, order):
            return
        quote = self.touch(order.listing)
        if quote is None:
            order.due = None
            return
        limit = order.limit_price
        price = fills.crossing_price(order.side, limit, quote)
        if price is not None:
            self._cross(number, order, price if order.attempts == 0 or limit is None else limit)
            return
        assert limit is not None
        eager = fills.eagerness(order.side, limit, quote)
        rng = self.rng(number, order)
        if was_due and order.attempts and eager is not None:
            self.fill(number, order, fills.part(rng, order.remaining), limit)
        if not order.is_open or (order.due is not None and not was_due):
            return
        order.attempts += 1
        wait = None if eager is None else fills.delay_us(rng, eager)
        order.due = None if wait is None else self.now + wait

    def _is_awake(self, order: Order) -> bool:
        """False while the fill model leaves the order alone. One that has waited is due at once."""
        if order.rests_until is None:
            return True
        if self.now < order.rests_until:
            return False
        order.rests_until, order.due = None, self.now
        return True

    def _trigger(self, number: str, order: Order) -> bool:
        """Whether a stop has been reached. Its pair is canceled then, and it goes to the market."""
        order.due = None
        quote, stop = self.touch(order.listing), order.stop_price
        if quote is None or stop is None or self._books[number].waits(order):
            return False
        if not (quote.bid <= stop if order.side is Side.SELL else quote.ask >= stop):
            return False
        order.triggered = True
        legs.cancel_others(self, number, order)
        if order.status == HELD:
            self.say(number, "new", order, status="new")
        return True

    def _cross(self, number: str, order: Order, price: Decimal) -> None:
        """Fill an order that the market meets: all of it, unless a fault leaves a part of it resting."""
        if order.remaining >= 2 and not order.executions:
            wait = self.faults.seconds(Fault.PARTIAL_FILL, "fill", number)
            if wait is not None:
                self.fill(number, order, self.a_part(number, order), price)
                order.attempts += 1
                order.due, order.rests_until = None, self.now + round(wait * SECOND_US)
                return
        self.fill(number, order, order.remaining, price)

    def fill(self, number: str, order: Order, qty: Decimal, price: Decimal) -> None:
        """Execute ``qty`` of an order at ``price``, and say so."""
        book = self._books[number]
        done = order.filled_qty + qty
        fill = Execution(
            execution_id=stable_uuid("execution", order.id, len(order.executions)),
            order_id=order.id,
            symbol=order.listing.symbol,
            side=order.side,
            qty=qty,
            price=price,
            fee=self._fees.of(
                is_option=order.listing.is_option,
                side=order.side,
                qty=qty,
                proceeds=qty * price * order.listing.multiplier,
            ),
            time=self.now,
            cumulative=done,
            leaves=order.qty - done,
        )
        order.executions.append(fill)
        book.executions.append(fill)
        book.ledger.apply(order.listing, fill, short=order.intent == SELL_TO_OPEN)
        self._note_trade(order, fill)
        if fill.leaves:
            status = PENDING_CANCEL if order.status == PENDING_CANCEL else "partially_filled"
            self.say(number, "partial_fill", order, status=status, fill=fill)
            legs.shrink_others(self, number, order, qty)
        else:
            self.end(number, order, "fill", "filled", fill=fill)
            hands.after_fill(self, number, order)

    def _note_trade(self, order: Order, fill: Execution) -> None:
        if order.listing.is_option:
            self.traded[order.listing.symbol] = OptionTrade(fill.price, int(fill.qty), fill.time)

    def end(self, number: str, order: Order, event: str, status: str, fill: Execution | None = None) -> None:
        """End an order, and its legs or its pair with it."""
        order.due = order.rests_until = order.ends_at = None
        order.ended_at = self.now
        self.say(number, event, order, status=status, fill=fill)
        legs.after_end(self, number, order)

    def say(
        self, number: str, event: str, order: Order, *, status: str, fill: Execution | None = None
    ) -> None:
        """Change an order's status and tell every listener."""
        self.changes += 1
        order.status, order.updated_at = status, self.now
        held = self._books[number].ledger.qty(order.listing.symbol)
        update = wire.update(event, order, self.now, fill, held)
        for listener in self._listeners:
            listener(number, update)

    def rng(self, number: str, order: Order) -> random.Random:
        """The chance of an order's next attempt."""
        return random.Random(f"{self.seed}|{number}|{order.client_order_id}|{order.attempts}")

    def a_part(self, number: str, order: Order) -> Decimal:
        """A seeded whole-numbered part of what remains, smaller than it."""
        return Decimal(self.rng(number, order).randint(1, int(order.remaining) - 1))

    def touch(self, listing: Listing) -> fills.Touch | None:
        """Both sides of the newest quote, or None if one is missing."""
        quote = self.board.quote(listing.symbol, self.now)
        return None if quote is None else fills.touch(quote.bid, quote.ask)

    def other_side(self, listing: Listing, side: Side) -> Decimal:
        """The price at which an order of this side would be filled now; 0 if there is none."""
        quote = self.touch(listing)
        return ZERO if quote is None else quote.ask if side is Side.BUY else quote.bid

    def mark(self, listing: Listing, fallback: Decimal) -> Decimal:
        quote = self.touch(listing)
        return fallback if quote is None else quote.mid

    def trades(self, listing: Listing) -> bool:
        """Whether ``listing`` is traded now."""
        return hours.trading_session(listing, self.calendar, self.now) is not None

    def day_ends(self, listing: Listing) -> int:
        """When a day order of this moment ends: as trading ends in this session, or in the next one."""
        today = self.calendar.session_date(self.now)
        session = self.calendar.session_on(today)
        if session is None or self.now >= hours.closes_at(listing, session):
            session = self.calendar.next(today)
        assert session is not None
        return hours.closes_at(listing, session)
