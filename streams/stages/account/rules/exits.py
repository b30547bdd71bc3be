"""When a position is closed: every rule that wants it, judged on one moment (docs/domain.md#exits).

A comparison with an unknown value is false, so an unknown P&L fires no price rule. Near the close it is the
other way round: a swing option stays overnight only if what it needs is known.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.money import ZERO, money
from tapedeck.streams.stages.account.rules.strategies import StrategyName, is_gap_fade, is_swing

HALF = Decimal("0.5")


class ExitRule(StrEnum):
    """Why a position is closed."""

    KILL_SWITCH_FLATTEN = "KILL_SWITCH_FLATTEN"
    MANUAL_CLOSE = "MANUAL_CLOSE"
    EXPIRY_CLOSE = "EXPIRY_CLOSE"
    DAY_TRADE_CLOSE = "DAY_TRADE_CLOSE"
    GAP_FADE_TIME_EXIT = "GAP_FADE_TIME_EXIT"
    HARD_STOP = "HARD_STOP"
    STOP_LOSS = "STOP_LOSS"
    PROFIT_TARGET = "PROFIT_TARGET"
    STOCK_STOP = "STOCK_STOP"
    STOCK_TARGET = "STOCK_TARGET"
    SIGNAL_CLOSE = "SIGNAL_CLOSE"
    TRAILING_STOP = "TRAILING_STOP"
    THETA_DECAY = "THETA_DECAY"
    EOD_EXTREME_REGIME = "EOD_EXTREME_REGIME"
    EOD_EARNINGS = "EOD_EARNINGS"
    EOD_THETA = "EOD_THETA"
    EOD_DAY_W0 = "EOD_DAY_W0"
    EOD_DAY_W1 = "EOD_DAY_W1"
    EOD_DAY_W2 = "EOD_DAY_W2"
    EOD_DAY_W3 = "EOD_DAY_W3"
    EOD_SWING_W1 = "EOD_SWING_W1"
    EOD_SWING_W2 = "EOD_SWING_W2"
    EOD_SWING_W3 = "EOD_SWING_W3"
    EOD_AGGREGATE_LIMIT = "EOD_AGGREGATE_LIMIT"
    MAX_HOLD = "MAX_HOLD"


class RegimeName(StrEnum):
    """The volatility regime; UNKNOWN: its feed is on and says nothing."""

    COMPLACENT = "COMPLACENT"
    NORMAL = "NORMAL"
    ELEVATED = "ELEVATED"
    HIGH = "HIGH"
    EXTREME = "EXTREME"
    UNKNOWN = "UNKNOWN"


R = ExitRule
_DAY_WINDOWS = (R.EOD_DAY_W0, R.EOD_DAY_W1, R.EOD_DAY_W2, R.EOD_DAY_W3)
_SWING_WINDOWS = (None, R.EOD_SWING_W1, R.EOD_SWING_W2, R.EOD_SWING_W3)
_MAY_FAIL = (0, 1, 0, 0)
"""How many criteria of a swing option may fail in each window."""
MARKET_LAST = frozenset({R.EXPIRY_CLOSE, R.DAY_TRADE_CLOSE, R.KILL_SWITCH_FLATTEN})
"""Rules whose close goes to market after its last step."""


class ExitCase(NamedTuple):
    """One position at one moment. P&L, peak and thresholds are fractions of the average cost; None: unknown.

    ``min_to_close`` and ``min_from_open`` are minutes of the session, None outside of one. ``notional_pct``
    is what it is worth / equity; ``theta_score`` |theta per day| / mark. ``earnings``: whether they come
    before the next open. ``session`` counts sessions, the entry's is 1.
    """

    option: bool
    strategy: StrategyName
    held_min: float
    pnl: Decimal | None
    peak: Decimal
    dte: int | None = None
    min_to_close: float | None = None
    min_from_open: float | None = None
    session: int = 1
    eod_min_pnl: Decimal | None = Decimal("0.10")
    theta_score: float | None = 0.0
    notional_pct: Decimal | None = ZERO
    regime: RegimeName = RegimeName.NORMAL
    halted_flatten: bool = False
    manual: bool = False
    signal_close: bool = False
    earnings: bool | None = False
    over_limit: bool = False

    @property
    def swing(self) -> bool:
        return is_swing(self.strategy)

    @property
    def gap_fade(self) -> bool:
        return is_gap_fade(self.strategy)


class Trigger(NamedTuple):
    """A rule that wants the position closed; the lowest (priority, rule name) is executed."""

    priority: int
    rule: ExitRule


def window(case: ExitCase, config: Config) -> int | None:
    """The window near the close that has begun last: 0 to 3, None before the first."""
    left, windows = case.min_to_close, config.eod.windows_min
    if left is None or left > windows[0]:  # they fall
        return None
    return sum(left <= each for each in windows) - 1


def _commanded(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    yield R.KILL_SWITCH_FLATTEN, case.halted_flatten
    yield R.MANUAL_CLOSE, case.manual


def _ends(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    left, rules = case.min_to_close, config.exit
    if left is not None:
        yield R.EXPIRY_CLOSE, case.option and case.dte == 0 and left <= rules.expiry_min
        yield R.DAY_TRADE_CLOSE, not case.swing and left <= rules.day_close_min
    if case.min_from_open is not None:
        yield R.GAP_FADE_TIME_EXIT, case.gap_fade and case.min_from_open >= config.gap_fade.out_min


def _prices(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    yield R.SIGNAL_CLOSE, case.signal_close
    pnl, rules = case.pnl, config.exit
    if pnl is None:
        return
    if not case.option:
        yield R.STOCK_STOP, pnl <= -rules.stock_stop
        yield R.STOCK_TARGET, pnl >= rules.stock_target
        return
    settled = case.held_min >= rules.min_hold_min
    stop, target = rules.stop, rules.target
    if case.gap_fade:
        stop, target = config.gap_fade.stop, config.gap_fade.target
    yield R.HARD_STOP, case.held_min < rules.min_hold_min and pnl <= -rules.hard_stop
    yield R.STOP_LOSS, settled and pnl <= -stop
    yield R.PROFIT_TARGET, pnl >= target


def _trailing(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    rules = config.exit
    on = case.option and case.held_min >= rules.min_hold_min and case.peak >= rules.trail_on
    yield R.TRAILING_STOP, on and case.pnl is not None and case.pnl <= money(rules.trail_keep * case.peak)


def _decay(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    if not case.option:
        return
    at, rules = window(case, config), config.exit
    near = case.swing and case.dte is not None and case.dte <= rules.theta_dte
    losing = case.pnl is not None and case.pnl < 0
    yield R.THETA_DECAY, near and losing and case.held_min >= rules.min_hold_min
    yield R.EOD_EXTREME_REGIME, at is not None and case.regime is RegimeName.EXTREME
    yield R.EOD_EARNINGS, at is not None and at >= 1 and case.earnings is True
    high = case.theta_score is not None and case.theta_score > config.eod.theta_score
    yield R.EOD_THETA, at is not None and near and high


def _end_of_day(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    at = window(case, config) if case.option else None
    if at is None:
        return
    if case.swing:
        rule = _SWING_WINDOWS[at]
        if rule is not None:
            yield rule, failures(case, config) > _MAY_FAIL[at]
        yield R.EOD_AGGREGATE_LIMIT, case.over_limit
    elif at == len(_DAY_WINDOWS) - 1:
        yield _DAY_WINDOWS[at], True
    else:
        yield _DAY_WINDOWS[at], case.pnl is not None and case.pnl < config.eod.day_limits[at]


def pnl_needed(case: ExitCase, config: Config) -> Decimal | None:
    """The P&L that a swing option needs to stay overnight, None if the account's minimum is unknown."""
    if case.eod_min_pnl is None:
        return None
    eod, calm = config.eod, (RegimeName.COMPLACENT, RegimeName.NORMAL)
    wild = (RegimeName.HIGH, RegimeName.EXTREME)
    factor = eod.regime_factor[0 if case.regime in calm else 2 if case.regime in wild else 1]
    dear = case.theta_score is None or case.theta_score > eod.theta_score
    return money(case.eod_min_pnl * factor + (eod.theta_add if dear else ZERO))


def failures(case: ExitCase, config: Config) -> int:
    """How many of the three criteria fail that a swing option must meet to stay overnight."""
    eod, part = config.eod, HALF if case.regime is RegimeName.HIGH else Decimal(1)
    needed = pnl_needed(case, config)
    kept = (
        case.dte is not None and case.dte >= eod.min_dte,
        case.pnl is not None and needed is not None and case.pnl >= needed,
        case.notional_pct is not None and case.notional_pct <= money(eod.notional_pct * part),
    )
    return kept.count(False)


def _held(case: ExitCase, config: Config) -> Iterable[tuple[ExitRule, bool]]:
    rules = config.exit
    if case.swing:
        last = case.session == rules.swing_sessions and case.min_to_close is not None
        over = last and case.min_to_close is not None and case.min_to_close <= rules.expiry_min
        yield R.MAX_HOLD, case.session > rules.swing_sessions or over
        return
    longest = config.gap_fade.hold_min if case.gap_fade else rules.max_hold_min
    yield R.MAX_HOLD, case.held_min >= longest


_Tests = Callable[[ExitCase, Config], Iterable[tuple[ExitRule, bool]]]
_BY_PRIORITY: tuple[_Tests, ...] = (_commanded, _ends, _prices, _trailing, _decay, _end_of_day, _held)


class Tested(NamedTuple):
    """A rule that was tested, and whether it wants the position closed."""

    priority: int
    rule: ExitRule
    fires: bool


def tested(case: ExitCase, config: Config) -> list[Tested]:
    """Every rule that can be tested on a position of this kind at this moment, in no order."""
    return [
        Tested(priority, rule, fires)
        for priority, tests in enumerate(_BY_PRIORITY)
        for rule, fires in tests(case, config)
    ]


def triggers(case: ExitCase, config: Config) -> list[Trigger]:
    """Every rule that wants the position closed, by priority and name; the first is executed."""
    if _is_calm(case, config):
        return []
    return sorted(Trigger(each.priority, each.rule) for each in tested(case, config) if each.fires)


def _is_calm(case: ExitCase, config: Config) -> bool:
    """True only where no rule can fire, as for most positions at most moments: it spares testing each."""
    rules, left = config.exit, case.min_to_close
    if case.halted_flatten or case.manual or case.signal_close or case.over_limit or case.gap_fade:
        return False
    if left is not None and left <= max(config.eod.windows_min[0], rules.expiry_min, rules.day_close_min):
        return False
    if case.session > rules.swing_sessions if case.swing else case.held_min >= rules.max_hold_min:
        return False
    pnl = case.pnl
    if pnl is None:
        return True
    if not case.option:
        return -rules.stock_stop < pnl < rules.stock_target
    if case.peak >= rules.trail_on or not -rules.stop < pnl < rules.target:  # the hard stop is no nearer
        return False
    return pnl >= 0 or not case.swing or case.dte is None or case.dte > rules.theta_dte


class Overnight(NamedTuple):
    """A swing option that the other rules leave open: what it is worth in USD, and its P&L."""

    symbol: str
    notional: Decimal
    pnl: Decimal | None


def over_limit(kept: Iterable[Overnight], limit: Decimal) -> set[str]:
    """The symbols to close so that the rest is worth at most ``limit``: the lowest P&L first, ties by symbol.

    An unknown P&L is the lowest.
    """
    ordered = sorted(kept, key=lambda each: (each.pnl is not None, each.pnl or ZERO, each.symbol))
    total = sum((each.notional for each in ordered), ZERO)
    closed = set()
    for each in ordered:
        if total <= limit:
            break
        closed.add(each.symbol)
        total -= each.notional
    return closed
