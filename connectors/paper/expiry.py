"""What happens to held contracts on their expiry day, as at Alpaca.

A few minutes after its last trade, a contract that expires in the money by a cent or more is exercised if it
is long and assigned if it is short: its shares change hands at the strike. Any other one expires worthless.
Positions and cash change at once. The activities that report it are listed at once, or at the next session's
open, as for Alpaca's paper accounts.
"""

from decimal import Decimal
from enum import StrEnum

from tapedeck.connectors.alpaca.option_events import ASSIGNED, EXERCISED, EXPIRED, SHARES
from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.hours import closes_at
from tapedeck.connectors.paper.ledger import Position
from tapedeck.connectors.paper.market import Board, Listing
from tapedeck.connectors.paper.orders import Activity, stable_uuid
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, Session
from tapedeck.streams.stages.account.rules import occ
from tapedeck.streams.stages.account.rules.money import ZERO

PROCESSED_AFTER_US = 5 * MINUTE_US
IN_THE_MONEY = Decimal("0.01")


class Listed(StrEnum):
    """When activities can be read: with the positions' change, or at the next session's open."""

    AT_ONCE = "AT_ONCE"
    NEXT_SESSION = "NEXT_SESSION"


def last_session(listing: Listing, calendar: Calendar) -> Session:
    """The session after which a contract is processed: that of its expiry date, or the next one."""
    assert listing.expiry is not None
    session = calendar.session_on(listing.expiry) or calendar.next(listing.expiry)
    assert session is not None  # the calendar ends years after any tape
    return session


def processed_at(listing: Listing, calendar: Calendar) -> int:
    """When a contract is processed, UTC microseconds: some minutes after its own last trade."""
    return closes_at(listing, last_session(listing, calendar)) + PROCESSED_AFTER_US


def due(book: Book, calendar: Calendar, now: int) -> list[Position]:
    """The held contracts that are due, by symbol."""
    held = (at for _, at in sorted(book.ledger.positions.items()))
    return [at for at in held if at.listing.expiry is not None and processed_at(at.listing, calendar) <= now]


def expire(book: Book, at: Position, board: Board, calendar: Calendar, listed: Listed) -> None:
    """Exercise, assign or let expire one held contract."""
    contract, listing = occ.parse(at.listing.symbol), at.listing
    processed = processed_at(listing, calendar)
    visible = processed
    if listed is Listed.NEXT_SESSION:
        coming = calendar.next(calendar.session_date(processed))
        assert coming is not None
        visible = coming.open
    closing = -at.qty
    kind = EXPIRED
    if _inside(contract, _settlement(board, listing.underlying, last_session(listing, calendar).close)):
        kind = EXERCISED if at.qty > 0 else ASSIGNED
    group = stable_uuid("expiry", book.account.number, listing.symbol)

    def tell(kind: str, symbol: str, qty: Decimal, price: Decimal) -> None:
        book.activities.append(
            Activity(
                activity_id=stable_uuid("activity", group, kind),
                group_id=group,
                kind=kind,
                date=calendar.session_date(processed),
                symbol=symbol,
                qty=qty,
                price=price,
                visible_at=visible,
            )
        )

    book.ledger.move(listing, closing, ZERO)
    tell(kind, listing.symbol, closing, ZERO)
    if kind != EXPIRED:
        right = 1 if contract.right is occ.Right.CALL else -1
        shares = -closing * listing.multiplier * right
        book.ledger.move(Listing(listing.underlying, listing.underlying, 1, None), shares, contract.strike)
        tell(SHARES, listing.underlying, shares, contract.strike)


def _settlement(board: Board, underlying: str, close: int) -> Decimal | None:
    """The underlying's price at the close: the mid of its quote, to the cent."""
    quote = board.stock(underlying, close)
    if quote is None or quote.bid is None or quote.ask is None:
        return None
    return ((quote.bid + quote.ask) / 2).quantize(IN_THE_MONEY)


def _inside(contract: occ.Occ, price: Decimal | None) -> bool:
    """True if exercise is automatic. It is not if the underlying's price is unknown."""
    if price is None:
        return False
    worth = price - contract.strike if contract.right is occ.Right.CALL else contract.strike - price
    return worth >= IN_THE_MONEY
