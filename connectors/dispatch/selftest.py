"""What must work before a dispatcher opens anything: account, address, calendar, a quote, a chain."""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from tapedeck.connectors.broker import Broker, BrokerError, ChainQuery, NotFound
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.sessions import Calendar, CalendarUnknown

_DAYS_AHEAD = 7
_FURTHEST_EXPIRY = 30
_STRIKES_AROUND = Decimal("0.10")
_MARKET = ("quote", "chain")


class Check(NamedTuple):
    """One check: what it looked at, whether it passed, and what it saw.

    ``early``: the broker answers and has nothing yet, as before a market's first quote.
    """

    name: str
    passed: bool
    detail: str
    early: bool = False


def self_test(
    broker: Broker,
    account: Account,
    calendar: Calendar,
    symbol: str,
    now: int,
    *,
    may: Callable[[], bool] = lambda: True,
) -> list[Check]:
    """Every check, none skipped for the failure of another; ``symbol`` is the one that is asked about.

    ``may``: whether the account may make a call at this moment. A check that may not ask has failed.
    """
    today = calendar.session_date(now)
    looks: dict[str, Callable[[], tuple[bool, str]]] = {
        "account": lambda: _account(broker, account),
        "calendar": lambda: _calendar(broker, calendar, today),
        "quote": lambda: _quote(broker, symbol),
        "chain": lambda: _chain(broker, symbol, today),
    }
    return [_checked(name, look, may) for name, look in looks.items()]


def _checked(name: str, look: Callable[[], tuple[bool, str]], may: Callable[[], bool]) -> Check:
    if not may():
        return Check(name, False, "not asked: the broker takes no calls of this account for now")
    try:
        return Check(name, *look())
    except BrokerError as error:
        return Check(name, False, str(error), early=isinstance(error, NotFound) and name in _MARKET)
    except CalendarUnknown as error:
        return Check(name, False, str(error))


def _account(broker: Broker, account: Account) -> tuple[bool, str]:
    if broker.base_url.rstrip("/") != account.base_url.rstrip("/"):
        return False, f"the broker is at {broker.base_url}, configured is {account.base_url}"
    reply = broker.account()
    if reply.number != account.broker_account_id:
        return (
            False,
            f"these credentials reach account {reply.number}, configured is {account.broker_account_id}",
        )
    return reply.status == "ACTIVE", f"account {reply.number} is {reply.status}"


def _calendar(broker: Broker, calendar: Calendar, today: int) -> tuple[bool, str]:
    """The next days, as far as the calendar knows them. Raises CalendarUnknown if it does not know today."""
    last_known = calendar.horizon()[1]
    days = range(today, max(today, min(today + _DAYS_AHEAD, last_known)) + 1)
    ours = {(day, s.open, s.close) for day in days if (s := calendar.session_on(day)) is not None}
    theirs = {(s.date, s.open, s.close) for s in broker.calendar(days[0], days[-1])}
    if ours == theirs:
        return True, f"{len(ours)} sessions agree"
    return False, f"{len(ours ^ theirs)} sessions of the next {_DAYS_AHEAD} days differ from the broker's"


def _quote(broker: Broker, symbol: str) -> tuple[bool, str]:
    quote = broker.quote(symbol)
    return True, f"{symbol} {quote.bid} / {quote.ask} from {quote.feed}"


def _chain(broker: Broker, symbol: str, today: int) -> tuple[bool, str]:
    quote = broker.quote(symbol)
    price = quote.ask or quote.bid
    if price is None:
        return False, f"{symbol} has no price to choose strikes by"
    query = ChainQuery(
        underlying=symbol,
        right=None,
        expiry_from=today,
        expiry_to=today + _FURTHEST_EXPIRY,
        strike_from=price * (1 - _STRIKES_AROUND),
        strike_to=price * (1 + _STRIKES_AROUND),
    )
    found = broker.chain(query)
    return bool(found.contracts), f"{len(found.contracts)} contracts of {symbol} from {found.feed}"
