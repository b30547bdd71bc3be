"""Why a position is still open: what each exit rule lacks at one moment (docs/explain.md)."""

from collections.abc import Callable
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Miss
from tapedeck.streams.stages.account.rules.exits import (
    ExitCase,
    ExitRule,
    RegimeName,
    failures,
    pnl_needed,
    tested,
    window,
)

R = ExitRule
Lacks = Miss | str | None
"""What a rule lacks: None if it is not for such a position."""
_PERCENT = 100


class Standing(NamedTuple):
    """One rule at one moment. ``miss``: how far it is from closing the position, where that is a number.

    ``words`` says it where it is none.
    """

    priority: int
    rule: ExitRule
    fires: bool
    miss: Miss | None
    words: str

    def text(self) -> str:
        """What the rule waits for."""
        if self.fires:
            return "wants it closed"
        return str(self.miss) if self.miss is not None else self.words


def standings(case: ExitCase, config: Config) -> list[Standing]:
    """Each rule that is for a position of this kind, by priority and name."""
    found = []
    for priority, rule, fires in tested(case, config):
        lacks = "" if fires else _LACKS[rule](case, config)
        if lacks is not None:
            miss, words = (lacks, "") if isinstance(lacks, Miss) else (None, lacks)
            found.append(Standing(priority, rule, fires, miss, words))
    return sorted(found, key=lambda each: (each.priority, each.rule))


def _gain(case: ExitCase, limit: float, *, above: bool) -> Miss | str:
    """How far the P&L is from a limit, in percent of the cost."""
    if case.pnl is None:
        return _unknown_pnl(case)
    side = "too low" if above else "too high"
    return Miss(name="P&L", value=float(case.pnl) * _PERCENT, limit=limit * _PERCENT, side=side, unit="%")


def _unknown_pnl(case: ExitCase) -> str:
    return "out of the session nothing is judged by price" if case.min_to_close is None else "P&L is unknown"


def _minutes(name: str, value: float, limit: float, side: str) -> Miss:
    return Miss(name=name, value=round(value, 1), limit=limit, side=side, unit="min")


def _left(case: ExitCase, limit: float) -> Miss | str:
    """How long it is until so many minutes before the close."""
    if case.min_to_close is None:
        return "the market is closed"
    return _minutes("time to the close", case.min_to_close, limit, "too early")


def _expiry(case: ExitCase, config: Config) -> Lacks:
    if not case.option or case.dte is None:
        return None
    if case.dte != 0:
        return f"days to expiry: {case.dte}" if case.dte > 0 else "it is expired"
    return _left(case, config.exit.expiry_min)


def _day_close(case: ExitCase, config: Config) -> Lacks:
    return None if case.swing else _left(case, config.exit.day_close_min)


def _fade_time(case: ExitCase, config: Config) -> Lacks:
    if not case.gap_fade or case.min_from_open is None:
        return None
    return _minutes("time since the open", case.min_from_open, config.gap_fade.out_min, "too early")


def _hard_stop(case: ExitCase, config: Config) -> Miss | str:
    rules = config.exit
    if case.held_min >= rules.min_hold_min:
        return f"it is for the first {rules.min_hold_min:g} minutes"
    return _gain(case, -float(rules.hard_stop), above=False)


def _settles(case: ExitCase, config: Config) -> Miss | None:
    held, least = case.held_min, config.exit.min_hold_min
    return _minutes("time held", held, least, "too short") if held < least else None


def _stop(case: ExitCase, config: Config) -> Miss | str:
    stop = config.gap_fade.stop if case.gap_fade else config.exit.stop
    return _settles(case, config) or _gain(case, -float(stop), above=False)


def _target(case: ExitCase, config: Config) -> Miss | str:
    target = config.gap_fade.target if case.gap_fade else config.exit.target
    return _gain(case, float(target), above=True)


def _trailing(case: ExitCase, config: Config) -> Lacks:
    rules = config.exit
    if not case.option:
        return None
    if case.peak < rules.trail_on:
        highest, limit = float(case.peak) * _PERCENT, float(rules.trail_on) * _PERCENT
        return Miss(name="highest P&L", value=highest, limit=limit, side="too low", unit="%")
    return _settles(case, config) or _gain(case, float(rules.trail_keep * case.peak), above=False)


def _far_from_expiry(case: ExitCase, config: Config) -> str:
    """Why it is too early for rules of the last days; empty if it is not."""
    if case.dte is not None and case.dte <= config.exit.theta_dte:
        return ""
    left = "unknown" if case.dte is None else str(case.dte)
    return f"days to expiry: {left}, it is for the last {config.exit.theta_dte}"


def _decay(case: ExitCase, config: Config) -> Lacks:
    if not case.swing:
        return None
    return _far_from_expiry(case, config) or _settles(case, config) or _gain(case, 0.0, above=False)


def _theta(case: ExitCase, config: Config) -> Lacks:
    if not case.swing:
        return None
    lacks = _far_from_expiry(case, config) or _before_window(case, config, 0)
    if lacks:
        return lacks
    if case.theta_score is None:
        return "theta is unknown"
    limit = config.eod.theta_score
    return Miss(name="theta per day / mark", value=case.theta_score, limit=limit, side="too low")


def _before_window(case: ExitCase, config: Config, number: int) -> Miss | str | None:
    """What is missing until window ``number`` near the close begins; None if it has begun."""
    at = window(case, config)
    return None if at is not None and at >= number else _left(case, config.eod.windows_min[number])


def _extreme(case: ExitCase, config: Config) -> Miss | str:
    return _before_window(case, config, 0) or f"the regime is {case.regime}, it is for {RegimeName.EXTREME}"


def _earnings(case: ExitCase, config: Config) -> Miss | str:
    known = "unknown whether there are any" if case.earnings is None else "none before the next open"
    return _before_window(case, config, 1) or f"earnings: {known}"


def _day_window(case: ExitCase, config: Config) -> Miss | str:
    at = window(case, config)
    limits = config.eod.day_limits
    if at is None or at >= len(limits):
        return _before_window(case, config, 0) or ""
    return _gain(case, float(limits[at]), above=False)


def _swing_window(case: ExitCase, config: Config) -> Miss | str:
    needed = pnl_needed(case, config)
    shown = "an unknown P&L" if needed is None else f"a P&L of {float(needed):+.1%}"
    return f"{failures(case, config)} of 3 criteria fail; to stay it needs {shown}, time and a small share"


def _aggregate(case: ExitCase, config: Config) -> Miss | str:
    return _before_window(case, config, 2) or "what stays overnight is within the account's limit"


def _longest(case: ExitCase, config: Config) -> Miss | str:
    rules = config.exit
    if case.swing:
        return f"session {case.session} of at most {rules.swing_sessions}"
    longest = config.gap_fade.hold_min if case.gap_fade else rules.max_hold_min
    return _minutes("time held", case.held_min, longest, "too short")


_LACKS: dict[ExitRule, Callable[[ExitCase, Config], Lacks]] = {
    R.KILL_SWITCH_FLATTEN: lambda case, config: "the account is not halted",
    R.MANUAL_CLOSE: lambda case, config: "nobody asked for it: `tape close`",
    R.EXPIRY_CLOSE: _expiry,
    R.DAY_TRADE_CLOSE: _day_close,
    R.GAP_FADE_TIME_EXIT: _fade_time,
    R.HARD_STOP: _hard_stop,
    R.STOP_LOSS: _stop,
    R.PROFIT_TARGET: _target,
    R.STOCK_STOP: lambda case, config: _gain(case, -float(config.exit.stock_stop), above=False),
    R.STOCK_TARGET: lambda case, config: _gain(case, float(config.exit.stock_target), above=True),
    R.SIGNAL_CLOSE: lambda case, config: "no SELL_STOCK signal was approved",
    R.TRAILING_STOP: _trailing,
    R.THETA_DECAY: _decay,
    R.EOD_EXTREME_REGIME: _extreme,
    R.EOD_EARNINGS: _earnings,
    R.EOD_THETA: _theta,
    R.EOD_DAY_W0: _day_window,
    R.EOD_DAY_W1: _day_window,
    R.EOD_DAY_W2: _day_window,
    R.EOD_DAY_W3: _day_window,
    R.EOD_SWING_W1: _swing_window,
    R.EOD_SWING_W2: _swing_window,
    R.EOD_SWING_W3: _swing_window,
    R.EOD_AGGREGATE_LIMIT: _aggregate,
    R.MAX_HOLD: _longest,
}
