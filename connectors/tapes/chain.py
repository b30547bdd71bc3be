"""A synthetic option chain: Black-Scholes off a volatility smile, with spreads, volume and open interest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache, lru_cache, partial
from math import ceil, erf, exp, log, sqrt, tau
from typing import Any, NamedTuple
from zlib import crc32

from tapedeck.connectors.tapes.market import RESTATE_US, ContractQuote, quote_time
from tapedeck.streams.sessions import Calendar, Session, iso_date
from tapedeck.streams.stages.account.rules import occ

ORIGIN = "synthetic/chain"
_SQRT_2, _SQRT_TAU = sqrt(2.0), sqrt(tau)
_SESSIONS_A_YEAR = 252
_LONGEST_DAYS = 45
_GRID = 0.14  # strikes to 14 % either side: more than the 10 % that contract choice uses
_FRIDAY = 4
_SOME_DAY = 20_000  # for a symbol that is built only to check its name
_SIZE = 100
_MICRO, _CENT = 1_000_000, 10_000
"""A dollar and a cent in millionths of a dollar."""
_HUNDREDTH = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Underlying:
    """The basis of a chain. ``reference`` fixes the strikes for the day (the last close before it);
    ``volatility`` is annual; ``activity`` the contracts per day at the money in the nearest expiry."""

    reference: float
    volatility: float
    activity: float


class Listed(NamedTuple):
    """A contract as it is listed for the whole day. ``luck`` in [0.6, 1.4) varies its activity."""

    symbol: str
    expiry: int
    right: occ.Right
    strike: Decimal
    luck: float


class _Moment(NamedTuple):
    """``left``: the fraction of the session that remains, 0..1."""

    now: int
    spot: float
    left: float


class _Unpriced(ContractQuote):
    """A contract that is priced when somebody looks: of a chain's hundreds, few are ever looked at."""

    _PRICED = frozenset({"time", "bid", "ask", "volume", "open_interest", "delta", "theta"})

    def __init__(self, known: Mapping[str, Any], price: Callable[[], Mapping[str, Any]]) -> None:
        self.__dict__.update(known, _price=price)

    def __getattr__(self, name: str) -> Any:
        if name not in self._PRICED:
            raise AttributeError(name)
        self.__dict__.update(self.__dict__["_price"]())
        return self.__dict__[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContractQuote) and _told(self) == _told(other)

    def __hash__(self) -> int:
        return hash(_told(self))

    def __reduce__(self) -> tuple[Callable[..., ContractQuote], tuple[Any, ...]]:
        return _quoted, _told(self)


def _known_of(underlying: str, listed: Listed) -> dict[str, Any]:
    """The fields of a contract that have no price."""
    return {
        "symbol": listed.symbol,
        "underlying": underlying,
        "expiry": listed.expiry,
        "right": listed.right.value,
        "strike": listed.strike,
        "size": _SIZE,
    }


def _told(quote: ContractQuote) -> tuple[Any, ...]:
    return tuple(getattr(quote, each.name) for each in fields(ContractQuote))


def _quoted(*told: Any) -> ContractQuote:
    return ContractQuote(**dict(zip((each.name for each in fields(ContractQuote)), told, strict=True)))


class SyntheticChain:
    """Chains of one session. Pure: the same (underlying, spot, now) gives the same contracts."""

    def __init__(self, underlyings: Mapping[str, Underlying], session: Session, calendar: Calendar) -> None:
        self._session, self._calendar = session, calendar
        self._underlyings = underlyings
        self._nights = expiries(session, calendar)
        self._listed: dict[str, list[tuple[Listed, dict[str, Any]]]] = {}  # on demand: thousands a symbol

    def contracts(self, underlying: str, spot: float, now: int) -> list[ContractQuote]:
        """Every listed contract as of ``now``, sorted by symbol; ``spot`` is the stock's mid price."""
        if underlying not in self._underlyings:
            return []
        base, moment = self._underlyings[underlying], self._moment(spot, now)
        if underlying not in self._listed:
            listed = _list_contracts(underlying, base, self._nights)
            self._listed[underlying] = [(each, _known_of(underlying, each)) for each in listed]
        return [
            _Unpriced(known, partial(self._prices, base, each, moment))
            for each, known in self._listed[underlying]
        ]

    def contract(self, symbol: str, spot: float, now: int) -> ContractQuote | None:
        """One contract, listed today or on an earlier day; None past its expiry and for unknown names."""
        root, listed = _named(symbol)
        base = self._underlyings.get(root)
        if base is None or listed is None or listed.expiry < self._session.date:
            return None
        return ContractQuote(**_known_of(root, listed), **self._prices(base, listed, self._moment(spot, now)))

    def _moment(self, spot: float, now: int) -> _Moment:
        opened, close = self._session.open, self._session.close
        return _Moment(now, spot, min(1.0, max(0.0, (close - now) / (close - opened))))

    def _nights_to(self, expiry: int) -> int:
        if expiry not in self._nights:
            return len(self._calendar.between(self._session.date + 1, expiry))
        return self._nights[expiry]

    def _prices(self, base: Underlying, listed: Listed, moment: _Moment) -> dict[str, Any]:
        """The fields of a contract that have a price or a time."""
        now, spot, left = moment
        days = listed.expiry - self._session.date
        years = max(self._nights_to(listed.expiry) + left, 0.002) / _SESSIONS_A_YEAR
        strike = float(listed.strike)
        away = log(strike / spot)
        volatility = smile(base.volatility, away, days)
        price, delta, theta = black_scholes(listed.right, spot, strike, years, volatility)
        reach = max(0.02, 1.5 * volatility * sqrt(years))
        bid, ask = _around(price, abs(away) / reach)
        busy = base.activity * listed.luck * exp(-((away / reach) ** 2) - days / 20)
        return {
            "time": quote_time(listed.symbol, now - now % RESTATE_US),
            "bid": bid,
            "ask": ask,
            "volume": int(busy * (1.0 - left)),
            "open_interest": int(busy * 2.5),
            "delta": round(delta, 4),
            "theta": round(theta, 4),
        }


def expiries(session: Session, calendar: Calendar) -> dict[int, int]:
    """Listed expiry dates (days since the epoch) and the sessions from this one to each.

    Today, tomorrow if it has a session, and every week's last session up to 45 days ahead.
    """
    found = {}
    ahead, nights = session, 0
    while ahead.date - session.date <= _LONGEST_DAYS:
        after = calendar.next(ahead.date)
        if after is None:
            break
        to_friday = _FRIDAY - iso_date(ahead.date).weekday()
        if ahead.date - session.date <= 1 or after.date > ahead.date + to_friday:
            found[ahead.date] = nights
        ahead, nights = after, nights + 1
    return found


def smile(volatility: float, away: float, days: int) -> float:
    """Implied volatility at log-moneyness ``away``: skewed to puts, higher in the wings and near expiry."""
    return volatility * (1.0 - 0.35 * away + 3.0 * away**2) * (1.0 + 0.08 * exp(-days / 5))


def black_scholes(
    right: occ.Right, spot: float, strike: float, years: float, volatility: float
) -> tuple[float, float, float]:
    """(premium per share, delta, theta per session) of a European option without interest or dividends."""
    deviation = volatility * sqrt(years)
    d1 = (log(spot / strike) + deviation**2 / 2) / deviation
    near, far = _normal(d1), _normal(d1 - deviation)
    call = spot * near - strike * far
    density = exp(d1 * d1 / -2.0) / _SQRT_TAU
    theta = -spot * density * volatility / (2 * sqrt(years)) / _SESSIONS_A_YEAR
    return (call, near, theta) if right is occ.Right.CALL else (call - spot + strike, near - 1.0, theta)


def _normal(x: float) -> float:
    """The cumulative standard normal distribution."""
    return 0.5 * (1.0 + erf(x / _SQRT_2))


def _around(price: float, wing: float) -> tuple[Decimal | None, Decimal]:
    """(bid, ask) in whole cents around a fair price; ``wing`` widens the spread. No bid under a cent."""
    spread = max(1, ceil(100 * price * (0.008 + 0.012 * wing)))
    bid = (round(round(price, 6) * _MICRO) - spread * _CENT // 2) // _CENT
    return (_dollars(bid) if bid >= 1 else None), _dollars(max(bid, 0) + spread)


@lru_cache(maxsize=65_536)
def _dollars(cents: int) -> Decimal:
    return Decimal(cents) * _HUNDREDTH


def no_chain(name: str, reference: float) -> str | None:
    """Why a stock has no contracts, in words; None if it has some."""
    try:
        occ.build(occ.Occ(name, _SOME_DAY, occ.Right.CALL, Decimal(1)))
    except occ.OccError:
        return "an option symbol cannot hold this name"
    lowest, highest, step = _strikes(reference)
    if highest * step > float(occ.LARGEST_STRIKE):
        return f"an option symbol cannot hold a strike above {occ.LARGEST_STRIKE:,}"
    return f"it trades below the lowest strike, {step:g}" if highest < lowest else None


def _strikes(reference: float) -> tuple[int, int, float]:
    """The first and last strike in steps, and the step in dollars."""
    step = strike_step(reference)
    lowest, highest = (round(reference * (1 + sign * _GRID) / step) for sign in (-1, 1))
    return max(lowest, 1), highest, step


def _list_contracts(name: str, base: Underlying, nights: Mapping[int, int]) -> list[Listed]:
    if no_chain(name, base.reference) is not None:
        return []
    lowest, highest, step = _strikes(base.reference)
    listed, strikes = [], [Decimal(str(k * step)) for k in range(lowest, highest + 1)]
    some = [occ.build(occ.Occ(name, _SOME_DAY, occ.Right.CALL, strike)) for strike in strikes]
    ends = [symbol[-occ.STRIKE_DIGITS :] for symbol in some]
    for expiry in nights:
        for right in occ.Right:
            begins = occ.build(occ.Occ(name, expiry, right, Decimal(1)))[: -occ.STRIKE_DIGITS]
            for strike, ending in zip(strikes, ends, strict=True):
                symbol = begins + ending
                listed.append(Listed(symbol, expiry, right, strike, _luck(symbol)))
    return sorted(listed)


@lru_cache(maxsize=8192)
def _named(symbol: str) -> tuple[str, Listed | None]:
    """The root of a contract's symbol and the contract; None for a name that is none."""
    try:
        parsed = occ.parse(symbol)
    except occ.OccError:
        return symbol, None
    return parsed.root, Listed(symbol, parsed.expiry, parsed.right, parsed.strike, _luck(symbol))


def _luck(symbol: str) -> float:
    return 0.6 + 0.8 * (crc32(symbol.encode()) % 1000) / 1000


@cache
def strike_step(price: float) -> float:
    """The distance between strikes at a price level, in dollars."""
    for limit, step in ((40, 0.5), (120, 1.0), (300, 2.5), (700, 5.0)):
        if price < limit:
            return step
    return 10.0
