"""What a dispatcher needs from a broker: one Protocol, typed replies, errors named by what they demand.

    BrokerError
    ├── Refused      a definite no: the call had no effect
        ├── NotFound     a definite "no such thing" (404)
        ├── RateLimited  the call was not accepted (429); it may be repeated later
        └── Doubt        timeout, 5xx, lost connection: it is unknown whether the call had an effect
            └── NotUnderstood  an answer came but cannot be read

Times are UTC microseconds, dates days since the epoch, money and quantities ``Decimal``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from tapedeck.schemas.errors import Retry, TapeError
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.orders import OrderState, PositionIntent, Side

T = TypeVar("T")

NOT_UNIQUE = "client_order_id must be unique"


class BrokerError(TapeError):
    """Base of what a broker call can raise."""


class Refused(BrokerError):
    """The broker said no. ``status`` is the HTTP status, ``code`` the broker's own number, if any."""

    def __init__(self, message: str, *, status: int, code: int | None = None) -> None:
        super().__init__(f"the broker refused: {message}", reason="BROKER_REFUSED")
        self.message = message
        self.status = status
        self.code = code

    @property
    def not_unique(self) -> bool:
        """True if the refusal proves that an order with this client id already exists."""
        return NOT_UNIQUE in self.message


class NotFound(BrokerError):
    """The broker answered that this does not exist."""


class RateLimited(BrokerError, Retry):
    """The broker did not accept the call: too many requests.

    ``wait_s``: the seconds that it asks to wait; None if it does not say.
    """

    wait_s: float | None = None


class Doubt(BrokerError, Retry):
    """The outcome of the call is unknown. A read may be repeated; a write must be asked about first."""


class NotUnderstood(Doubt):
    """The broker answered, and the answer cannot be read."""


@dataclass(frozen=True, kw_only=True)
class UnreadRow:
    """A row from the broker that cannot be read, kept raw. ``instrument`` is empty if it names none.

    ``listed`` is the list it came from: ``positions``, ``orders``, ``activities`` or ``trade_updates``.
    """

    listed: str
    instrument: str
    error: str
    raw: str
    client_order_id: str | None = None
    side: str | None = None


class Rows(list[T]):
    """The readable rows of a broker's list and, apart from them, the unreadable ones."""

    def __init__(self, read: Iterable[T] = (), unread: Iterable[UnreadRow] = ()) -> None:
        super().__init__(read)
        self.unread = list(unread)


@dataclass(frozen=True, kw_only=True)
class AccountReply:
    number: str
    status: str
    equity: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    options_buying_power: Decimal | None


@dataclass(frozen=True, kw_only=True)
class ClockReply:
    now: int
    is_open: bool
    next_open: int
    next_close: int


@dataclass(frozen=True, kw_only=True)
class SessionReply:
    """One session of the broker's calendar: date in days, open and close in microseconds."""

    date: int
    open: int
    close: int


@dataclass(frozen=True, kw_only=True)
class PositionReply:
    """``qty`` is signed: negative is short. ``qty_available`` is what of it no working order holds.

    It is signed too, and None if the broker does not say.
    """

    instrument: str
    qty: Decimal
    qty_available: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """An order to send. No ``limit_price`` makes it a market order."""

    client_order_id: str
    instrument: str
    side: Side
    intent: PositionIntent
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: str = "day"


@dataclass(frozen=True, kw_only=True)
class OrderReply:
    """An order at the broker. ``side`` is None if its word is unknown, ``qty`` None for an order by amount.

    Unknown words are kept: ``raw_side``, ``raw_status``. ``raw`` is the whole row, JSON. ``replaces`` and
    ``replaced_by`` are broker ids. ``part_of`` is that of the multi-leg order that is canceled as a whole.
    """

    broker_order_id: str
    client_order_id: str
    instrument: str
    side: Side | None
    qty: Decimal | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    state: OrderState
    raw_status: str
    created_at: int
    raw_side: str = ""
    notional: Decimal | None = None
    raw: str = ""
    replaces: str | None = None
    replaced_by: str | None = None
    part_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class QuoteReply:
    """The newest quote, and the last trade. ``origin``: where it came from, ``alpaca/...``,
    ``synthetic/...``.

    Of an option either may be unknown, and the last trade is read; of a stock it is not: bars have it.
    ``theta``: an option's, USD per share and day.
    """

    instrument: str
    feed: str
    origin: str
    time: int | None
    bid: Decimal | None
    ask: Decimal | None
    trade_price: Decimal | None = None
    trade_time: int | None = None
    theta: float | None = None


@dataclass(frozen=True, kw_only=True)
class ContractReply:
    symbol: str
    expiry: int
    right: Right
    strike: Decimal
    size: int
    bid: Decimal | None
    ask: Decimal | None
    time: int | None
    volume: int | None
    open_interest: int | None
    delta: float | None
    theta: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChainReply:
    underlying: str
    feed: str
    origin: str
    contracts: tuple[ContractReply, ...]


@dataclass(frozen=True, kw_only=True)
class ChainQuery:
    """Which contracts of an underlying: bounds are inclusive, ``right`` None asks for both."""

    underlying: str
    right: Right | None
    expiry_from: int
    expiry_to: int
    strike_from: Decimal
    strike_to: Decimal


@dataclass(frozen=True, kw_only=True)
class FillReply:
    """One execution, from the account's activities."""

    execution_id: str
    broker_order_id: str
    instrument: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    executed_at: int


@dataclass(frozen=True, kw_only=True)
class ActivityReply:
    """One leg of an expiry, an exercise or an assignment. ``qty`` is the signed change of the position.

    ``kind`` is the broker's word; ``date`` the New York date, in days, on which it took effect; ``price`` per
    share, 0 for the option's leg. A share leg names the ``contract`` behind it, if that is known.
    """

    activity_id: str
    kind: str
    date: int
    instrument: str
    qty: Decimal
    price: Decimal
    contract: str | None


@dataclass(frozen=True, kw_only=True)
class TradeUpdate:
    """One message of the trade-update stream. The execution fields are None if nothing was filled."""

    event: str
    order: OrderReply
    time: int
    execution_id: str | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    fee: Decimal = Decimal(0)


class Broker(Protocol):
    """A trading account at a broker. Every call may raise Doubt or RateLimited; others are noted per call."""

    base_url: str

    def account(self) -> AccountReply: ...

    def clock(self) -> ClockReply: ...

    def calendar(self, first: int, last: int) -> list[SessionReply]:
        """Sessions between two dates, inclusive."""
        ...

    def positions(self) -> Rows[PositionReply]: ...

    def open_orders(self) -> Rows[OrderReply]:
        """Every working order, including those that another program or a person placed, and ``held`` legs."""
        ...

    def quote(self, instrument: str) -> QuoteReply:
        """The newest quote of a stock or a contract. Raises NotFound if there is none."""
        ...

    def chain(self, query: ChainQuery) -> ChainReply:
        """Every page of the chain; contracts sorted by symbol."""
        ...

    def submit(self, order: NewOrder) -> OrderReply:
        """Send an order, once. Raises Refused; after a Doubt ask ``order_by_client_id``."""
        ...

    def cancel(self, broker_order_id: str) -> None:
        """Request a cancel. Raises NotFound, or Refused if the order can no longer be canceled."""
        ...

    def cancel_instrument(self, instrument: str) -> int:
        """Request a cancel of every working order of an instrument, whoever placed it; returns how many.

        It may be called again. Raises Doubt after all were asked, if the outcome of one is unknown.
        """
        ...

    def order(self, broker_order_id: str) -> OrderReply:
        """The order with the broker's id. One that replaced another has the first one's client id.

        Raises NotFound.
        """
        ...

    def order_by_client_id(self, client_order_id: str) -> OrderReply:
        """The order with our own id. If it was replaced: what replaced it, with what the chain has filled.

        Raises NotFound.
        """
        ...

    def activities(self, after: int) -> Rows[FillReply]:
        """Executions at or after a time, oldest first, every page."""
        ...

    def option_events(self, after: int) -> Rows[ActivityReply]:
        """What became of expired contracts since a time, all pages. An event may be listed a day late."""
        ...
