"""What the account stage asks the shell to do: ``Out`` on ``REQUESTS``; answers come through the inbox.

Request ids are deterministic, so a request repeated after a crash is the same request. The shell appends
one answer per request, even if the call failed (then with ``error`` or ``doubt``).
"""

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from tapedeck.streams.identity import event_id
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side


@dataclass(frozen=True, kw_only=True)
class FetchAccount:
    """The broker account as it is now; answered by InboxAccount."""

    request_id: str
    kind: Literal["FETCH_ACCOUNT"] = "FETCH_ACCOUNT"


@dataclass(frozen=True, kw_only=True)
class FetchBroker:
    """Positions and open orders at the broker; answered by InboxBroker."""

    request_id: str
    kind: Literal["FETCH_BROKER"] = "FETCH_BROKER"


@dataclass(frozen=True, kw_only=True)
class FetchQuote:
    """The newest quote of a stock or of an option contract; answered by InboxQuote."""

    request_id: str
    instrument: str
    underlying: str
    kind: Literal["FETCH_QUOTE"] = "FETCH_QUOTE"


@dataclass(frozen=True, kw_only=True)
class FetchChain:
    """All pages of a chain; expiries are days since the epoch, bounds inclusive; answered by InboxChain."""

    request_id: str
    underlying: str
    right: Right
    expiry_from: int
    expiry_to: int
    strike_from: Decimal
    strike_to: Decimal
    kind: Literal["FETCH_CHAIN"] = "FETCH_CHAIN"


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Send one order, once; without a limit at market.

    Its INTENT is already in ``orders``; answered by InboxOrder.
    """

    client_order_id: str
    instrument: str
    underlying: str
    side: Side
    intent: PositionIntent
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: Literal["day"] = "day"
    kind: Literal["SUBMIT"] = "SUBMIT"


@dataclass(frozen=True, kw_only=True)
class FetchOrder:
    """Ask the broker for one order by client id, ``after_s`` seconds from now; answered by InboxOrder."""

    client_order_id: str
    after_s: int
    kind: Literal["FETCH_ORDER"] = "FETCH_ORDER"


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Cancel one order; answered by InboxOrder, with what the broker makes of it."""

    client_order_id: str
    broker_order_id: str | None
    kind: Literal["CANCEL"] = "CANCEL"


@dataclass(frozen=True, kw_only=True)
class Clear:
    """Cancel every order in an instrument, held legs included, whoever placed it; answered by InboxBroker."""

    request_id: str
    instrument: str
    kind: Literal["CLEAR"] = "CLEAR"


@dataclass(frozen=True, kw_only=True)
class Watch:
    """From now on bring the bars of ``symbols``, and a tick every ``every_s`` seconds, 0: none. No answer."""

    symbols: tuple[str, ...]
    every_s: int
    kind: Literal["WATCH"] = "WATCH"


Read = FetchAccount | FetchBroker | FetchQuote | FetchChain | Clear
Request = Read | Submit | FetchOrder | Cancel | Watch


def request_id(account_id: str, what: str, subject: str, cause: str) -> str:
    """The id of one request: 32 hex digits over account, question, subject and the event that caused it."""
    return event_id("request", (account_id, what, subject, cause))


def body(request: Request) -> dict[str, Any]:
    """The ``Out`` body of a request: ``kind`` and its arguments."""
    return asdict(request)
