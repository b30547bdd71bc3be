"""Orders of the paper exchange: the request, its state, and refusals in Alpaca's words."""

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256

from tapedeck.connectors.paper.market import Listing
from tapedeck.streams.stages.account.rules.orders import Side

_TERMINAL = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
HELD, PENDING_CANCEL = "held", "pending_cancel"
BUY_TO_OPEN, SELL_TO_OPEN = "buy_to_open", "sell_to_open"
BUY_TO_CLOSE, SELL_TO_CLOSE = "buy_to_close", "sell_to_close"

NOT_READABLE = 40010000
BAD_REQUEST = 40010001
NOT_AUTHORISED = 40110000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
UNPROCESSABLE = 42210000
TOO_MANY = 42910000


class Refusal(Exception):
    """A definite no from the exchange: HTTP status, Alpaca's code, message and extra fields of the body."""

    def __init__(self, status: int, code: int, message: str, **extra: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra

    def body(self) -> dict[str, object]:
        return {**self.extra, "code": self.code, "message": self.message}


def stable_uuid(*parts: object) -> str:
    """The same id for the same parts: the ids of a seeded run are part of its result."""
    return str(uuid.UUID(sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]))


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One fill. ``before`` and ``after`` are the order's filled quantity."""

    execution_id: str
    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    time: int
    cumulative: Decimal
    leaves: Decimal


@dataclass(frozen=True, kw_only=True)
class Activity:
    """One leg of an expiry, an exercise or an assignment. ``visible_at``: when it is first listed."""

    activity_id: str
    group_id: str
    kind: str
    date: int
    symbol: str
    qty: Decimal
    price: Decimal
    visible_at: int

    @property
    def net_amount(self) -> Decimal:
        """Cash that came in, USD."""
        return -self.qty * self.price


@dataclass(kw_only=True)
class Order:
    """The current state of one order, times in UTC microseconds. ``due``: the fill model's next check.

    ``legs`` and ``parent`` are ids. ``rests_until``: the fill model leaves it alone until then. ``ends_at``:
    when a pending cancel is done.
    """

    id: str
    client_order_id: str
    listing: Listing
    side: Side
    intent: str
    qty: Decimal
    type: str
    limit_price: Decimal | None
    time_in_force: str
    created_at: int
    expires_at: int
    status: str = "pending_new"
    updated_at: int = 0
    ended_at: int | None = None
    due: int | None = None
    attempts: int = 0
    executions: list[Execution] = field(default_factory=list)
    order_class: str = "simple"
    stop_price: Decimal | None = None
    triggered: bool = False
    parent: str | None = None
    legs: list[str] = field(default_factory=list)
    replaces: str | None = None
    replaced_by: str | None = None
    rests_until: int | None = None
    ends_at: int | None = None

    @property
    def filled_qty(self) -> Decimal:
        return self.executions[-1].cumulative if self.executions else Decimal(0)

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled_qty

    @property
    def filled_avg_price(self) -> Decimal | None:
        if not self.executions:
            return None
        notional = sum((fill.qty * fill.price for fill in self.executions), Decimal(0))
        return (notional / self.filled_qty).quantize(Decimal("0.000001"))

    @property
    def opens(self) -> bool:
        """Whether it adds to a position, or makes one."""
        return self.intent in (BUY_TO_OPEN, SELL_TO_OPEN)

    @property
    def is_open(self) -> bool:
        return self.status not in _TERMINAL
