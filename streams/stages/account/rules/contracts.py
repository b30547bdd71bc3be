"""Which option contract a signal buys: window, filters, score, choice (docs/domain.md#option-contracts)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from tapedeck.streams.config.groups import Contract
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.money import mid, spread, usable
from tapedeck.streams.stages.account.rules.occ import OccError, Right, parse
from tapedeck.streams.stages.account.rules.strategies import is_swing

STANDARD_SIZE = 100
_FULL_VOLUME = 1000
_SOME_VOLUME = 200
_DELTA_BANDS = ((0.30, 0.50, 20.0), (0.25, 0.60, 15.0), (0.20, 0.70, 10.0))
_DELTA_ELSE = 5.0
_SPREAD_FULL = 0.10
_STRIKE_FULL = 0.05


class ContractReason(StrEnum):
    """Why no contract, or this contract, is refused, in the order of the checks."""

    NON_STANDARD = "NON_STANDARD"
    EXPIRED = "EXPIRED"
    EXPIRY_CUTOFF = "EXPIRY_CUTOFF"
    NO_QUOTE = "NO_QUOTE"
    QUOTE_STALE = "QUOTE_STALE"
    WIDE_SPREAD = "WIDE_SPREAD"
    PREMIUM_TOO_LOW = "PREMIUM_TOO_LOW"
    LOW_VOLUME = "LOW_VOLUME"
    LOW_OPEN_INTEREST = "LOW_OPEN_INTEREST"
    QUALITY_TOO_LOW = "QUALITY_TOO_LOW"
    NO_CONTRACT = "NO_CONTRACT"


def _is_none(value: object) -> bool:
    return value is None


@dataclass(frozen=True, kw_only=True)
class ContractQuote:
    """One listed contract with its newest quote. Prices per share, times UTC microseconds, null = unknown."""

    symbol: str
    expiry: int
    right: Right
    strike: Decimal
    size: int
    bid: Decimal | None
    ask: Decimal | None
    quote_time: int | None
    volume: int | None
    open_interest: int | None
    delta: float | None
    theta: Annotated[float | None, Field(exclude_if=_is_none)] = None
    """USD per share and day."""


class Window(NamedTuple):
    """What to ask the chain for: expiry dates and strikes, both inclusive, and the target strike."""

    expiry_from: int
    expiry_to: int
    strike_from: Decimal
    strike_to: Decimal
    target: Decimal


class Moment(NamedTuple):
    """When a contract is judged: ``now``, the session's date, and the cutoff for expiring contracts."""

    now: int
    session_date: int
    expiry_cutoff: int | None


class Choice(NamedTuple):
    """The chosen contract with its score, or None with the reason; and how many each reason refused."""

    contract: ContractQuote | None
    score: float | None
    reason: ContractReason | None
    refused: dict[str, int]


def window(rules: Contract, strategy: str, right: Right, underlying: Decimal, session_date: int) -> Window:
    """The chain window of a strategy. ``underlying`` is the signal's close at 4 places."""
    swing = is_swing(strategy)
    first, last = rules.swing_dte if swing else rules.day_dte
    otm = Decimal(0) if swing else rules.day_otm
    target = underlying * (1 + otm if right is Right.CALL else 1 - otm)
    reach = underlying * rules.strike_range
    return Window(session_date + first, session_date + last, underlying - reach, underlying + reach, target)


def _adjusted(symbol: str) -> bool:
    try:
        return parse(symbol).adjusted
    except OccError:
        return True


def refusal(rules: Contract, quote_s: int, contract: ContractQuote, moment: Moment) -> ContractReason | None:
    """The first filter that ``contract`` fails, or None."""
    bid, ask = contract.bid, contract.ask
    if contract.size != STANDARD_SIZE or _adjusted(contract.symbol):
        return ContractReason.NON_STANDARD
    if contract.expiry < moment.session_date:
        return ContractReason.EXPIRED
    if contract.expiry == moment.session_date and (
        moment.expiry_cutoff is None or moment.now >= moment.expiry_cutoff
    ):
        return ContractReason.EXPIRY_CUTOFF
    if bid is None or ask is None or not usable(bid, ask):
        return ContractReason.NO_QUOTE
    if contract.quote_time is None or not 0 <= moment.now - contract.quote_time <= quote_s * SECOND_US:
        return ContractReason.QUOTE_STALE
    if spread(bid, ask) > rules.max_spread:
        return ContractReason.WIDE_SPREAD
    if mid(bid, ask) < rules.min_mid:
        return ContractReason.PREMIUM_TOO_LOW
    if contract.volume is None or contract.volume < rules.min_volume:
        return ContractReason.LOW_VOLUME
    interest = contract.open_interest
    if (interest is None and not rules.allow_unknown_oi) or (
        interest is not None and interest < rules.min_open_interest
    ):
        return ContractReason.LOW_OPEN_INTEREST
    return None


def _volume_points(volume: int | None) -> float:
    if volume is None or volume < _SOME_VOLUME:
        return 0.0
    if volume >= _FULL_VOLUME:
        return 30.0
    return 15.0 + 15.0 * (volume - _SOME_VOLUME) / (_FULL_VOLUME - _SOME_VOLUME)


def _delta_points(delta: float | None) -> float:
    if delta is None:
        return _DELTA_ELSE
    return next((points for low, high, points in _DELTA_BANDS if low <= abs(delta) <= high), _DELTA_ELSE)


def score(contract: ContractQuote, target: Decimal) -> float:
    """Quality 0..100, 6 decimals: tight spread 40, volume 30, delta 20, strike near ``target`` 10."""
    if contract.bid is None or contract.ask is None or not usable(contract.bid, contract.ask):
        return 0.0
    wide = float((contract.ask - contract.bid) / mid(contract.bid, contract.ask))
    away = float(abs(contract.strike - target) / target)
    points = 40.0 * max(0.0, 1.0 - wide / _SPREAD_FULL)
    points += _volume_points(contract.volume) + _delta_points(contract.delta)
    points += 10.0 * max(0.0, 1.0 - away / _STRIKE_FULL)
    return round(points, 6)


def _inside(contract: ContractQuote, right: Right, asked: Window) -> bool:
    return (
        contract.right is right
        and asked.expiry_from <= contract.expiry <= asked.expiry_to
        and asked.strike_from <= contract.strike <= asked.strike_to
    )


def choose(
    rules: Contract,
    quote_s: int,
    chain: Iterable[ContractQuote],
    *,
    right: Right,
    asked: Window,
    moment: Moment,
) -> Choice:
    """The best contract: highest score, then smaller spread, nearest strike, earlier expiry, symbol.

    Where every contract was refused for the same reason, that reason is returned, else NO_CONTRACT.
    """
    refused: Counter[str] = Counter()
    ranked = []
    for contract in chain:
        if not _inside(contract, right, asked):
            continue
        reason = refusal(rules, quote_s, contract, moment)
        points = score(contract, asked.target)
        if reason is None and points < rules.min_quality:
            reason = ContractReason.QUALITY_TOO_LOW
        if reason is not None or contract.bid is None or contract.ask is None:
            refused[reason or ContractReason.NO_QUOTE] += 1
            continue
        near = abs(contract.strike - asked.target)
        order = (-points, spread(contract.bid, contract.ask), near, contract.expiry, contract.symbol)
        ranked.append((order, contract, points))
    counts = dict(sorted(refused.items()))
    if ranked:
        _, best, points = min(ranked, key=lambda item: item[0])
        return Choice(best, points, None, counts)
    only = ContractReason(next(iter(counts))) if len(counts) == 1 else ContractReason.NO_CONTRACT
    return Choice(None, None, only, counts)
