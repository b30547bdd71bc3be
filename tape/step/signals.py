"""``tape step signals``: the decision rule on one case a line."""

from collections.abc import Iterable, Iterator
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Session, xnys
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.signals.rule import Case, Decision, GapCase, decide
from tapedeck.tape.step.common import (
    BadLine,
    Line,
    fields_of,
    flag,
    judged,
    number,
    refuse_unknown,
    time,
    whole,
)

HELP = """Judge one bar a line with the decision rule; each line is judged alone.

A line is an object with these keys:
  symbol          text
  t, as_of, now   the bar's left edge, its close time, the log's now
  close, distance_sma20, trend_state, vol_ratio, volume_ratio
  ready           true or false
  sentiment       {"avg", "n"}, null when there is none
  on_watchlist    true or false
  last_signal_t   the bar time of the symbol's last signal, null when there is none
and, if wanted: feed, sma20, sma50, suspect_split, gap_pct, prev_move.

An absent key is not tested; a null one is unknown, which never opens anything. The four figures that
the rule computes with (distance_sma20, trend_state, vol_ratio, volume_ratio) must be there, or null,
once the rule comes to them. Times are ISO 8601, UTC.

Example:
  {"symbol": "NVDA", "distance_sma20": 0.012, "trend_state": 1, "vol_ratio": 1.0, "volume_ratio": 2.1}
gives
  {"symbol": "NVDA", "action": "BUY_CALL", "strategy": "day_trade", "reason": "OPTION_DAY_TRADE",
   "confidence": 1.0, "direction": "BULL", "factors": {...}}"""

_TREND_STATES = (-1, 0, 1)
_KEYS = fields_of("features") | {"now", "sentiment", "on_watchlist", "last_signal_t"}
"""A line may be a feature record with the rule's other inputs."""


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(line, config)], _KEYS)


def _judge(line: Line, config: Config) -> dict[str, Any]:
    decision = decide(_case(line, config), config, _untested(line))
    _refuse_absent(line, decision)
    echoed = {key: line[key] for key in ("symbol", "t") if key in line}
    return echoed | {
        "action": decision.action,
        "strategy": decision.strategy,
        "reason": decision.reason,
        "confidence": decision.confidence,
        "direction": decision.direction,
        "factors": decision.factors._asdict(),
    }


def _case(line: Line, config: Config) -> Case:
    t, as_of, now, last = (time(line, key) for key in ("t", "as_of", "now", "last_signal_t"))
    session = None if t is None else xnys().session_at(t)
    avg, n = _sentiment(line)
    return Case(
        feed_selected=line.get("feed", config.bars.feed) == config.bars.feed,
        in_session=session is not None,
        on_watchlist=flag(line, "on_watchlist"),
        ready=flag(line, "ready"),
        suspect_split=bool(flag(line, "suspect_split")),
        prices=tuple(number(line, key) for key in _prices(line)),
        distance=number(line, "distance_sma20"),
        trend=_trend(line),
        vol_ratio=number(line, "vol_ratio"),
        volume_ratio=number(line, "volume_ratio"),
        bar_age=None if now is None or as_of is None else now - as_of,
        since_signal=None if t is None or last is None else t - last,
        sentiment_n=n,
        sentiment_avg=avg,
        gap=_gap(line, as_of, session),
    )


def _prices(line: Line) -> list[str]:
    return [key for key in ("close", "sma20", "sma50") if key in line]


def _untested(line: Line) -> frozenset[SignalReason]:
    """The checks whose keys are absent. NO_FEATURES is left out unless a given value is null."""
    needs = {
        SignalReason.OUTSIDE_SESSION: ("t",),
        SignalReason.NOT_ON_WATCHLIST: ("on_watchlist",),
        SignalReason.NOT_READY: ("ready",),
        SignalReason.STALE_BAR: ("as_of", "now"),
    }
    untested = {reason for reason, keys in needs.items() if any(key not in line for key in keys)}
    figures = [*_prices(line), "distance_sma20", "trend_state", "vol_ratio"]
    if all(line.get(key, 0) is not None for key in figures):
        untested.add(SignalReason.NO_FEATURES)
    return frozenset(untested)


def _refuse_absent(line: Line, decision: Decision) -> None:
    """Unknown and absent differ: if the rule needs a figure that was not given, there is no decision."""
    needed = {
        SignalReason.NO_FEATURES: ("distance_sma20", "trend_state", "vol_ratio"),
        SignalReason.VOLUME_UNKNOWN: ("volume_ratio",),
    }.get(decision.reason, ())
    absent = [key for key in needed if key not in line]
    if absent:
        raise BadLine(
            f"{', '.join(absent)} must be given: the rule computes with it", remedy="null means unknown"
        )


def _trend(line: Line) -> int | None:
    trend = whole(line, "trend_state")
    if trend is not None and trend not in _TREND_STATES:
        raise BadLine("trend_state is not -1, 0 or 1", value=trend)
    return trend


def _sentiment(line: Line) -> tuple[float, int]:
    """(signed average, number of items), if any."""
    window = line.get("sentiment")
    if window is None:
        return 0.0, 0
    if not isinstance(window, dict):
        raise BadLine('sentiment is neither {"avg", "n"} nor null', value=window)
    for key in window:
        refuse_unknown(key, ("avg", "n"))
    avg, n = number(window, "avg") or 0.0, whole(window, "n") or 0
    if not -1 <= avg <= 1 or n < 0:
        raise BadLine("sentiment needs avg in [-1, 1] and n >= 0", value=window)
    return avg, n


def _gap(line: Line, as_of: int | None, session: Session | None) -> GapCase | None:
    if "gap_pct" not in line or as_of is None or session is None:
        return None
    return GapCase(
        minutes_in=(as_of - session.open) / MINUTE_US,
        gap_pct=number(line, "gap_pct"),
        prev_move=number(line, "prev_move"),
        done=False,
    )
