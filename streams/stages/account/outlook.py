"""The volatility index and coming earnings, as an account was told of them.

Both are optional. An account that is told nothing of the index decides as in a calm market where the rules of
the regime are off, and fails closed where they are on. Unknown earnings close nothing.
"""

from typing import Any

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import CalendarUnknown
from tapedeck.streams.stages.account import fills
from tapedeck.streams.stages.account.rules.exits import RegimeName
from tapedeck.streams.stages.account.rules.gate_types import FEED_OFF, Regime
from tapedeck.streams.stages.account.rules.gates_signal import regime_index
from tapedeck.streams.stages.account.rules.positions import Kind, describe
from tapedeck.streams.stages.account.state import AccountDrop, IndexValue, Report
from tapedeck.streams.stages.account.turn import Turn

BEFORE_OPEN, AFTER_CLOSE, UNKNOWN, NEVER = "BEFORE_OPEN", "AFTER_CLOSE", "UNKNOWN", "NONE"
IN_SESSION = "IN_SESSION"
_BY_INDEX = tuple(RegimeName)


def on_regime(turn: Turn, payload: dict[str, Any]) -> None:
    """Keep the newest value of the index; one that is not available yet is not known yet."""
    known = turn.state.index
    if payload["available_at"] > turn.now or payload["measured_at"] > turn.now:
        return turn.drop(AccountDrop.FROM_THE_FUTURE)
    if known is None or payload["measured_at"] >= known.at:
        turn.state.index = IndexValue(event_id=turn.event, value=payload["value"], at=payload["measured_at"])
    return None


def on_earnings(turn: Turn, payload: dict[str, Any]) -> None:
    """Keep what is known of a symbol's next report; what comes later replaces it."""
    if payload["available_at"] is not None and payload["available_at"] > turn.now:
        return turn.drop(AccountDrop.FROM_THE_FUTURE)
    report = Report(event_id=turn.event, day=payload["report_date"], time=payload["report_time"])
    turn.state.reports[payload["symbol"]] = report
    return None


def regime(turn: Turn) -> Regime:
    """The regime as gates and sizes judge it."""
    if not turn.config.regime.enabled:
        return FEED_OFF
    index = turn.state.index
    if index is None:
        return Regime(on=True)
    return Regime(on=True, value=index.value, age_s=(turn.now - index.at) / SECOND_US)


def regime_name(turn: Turn) -> RegimeName:
    """The regime as exits judge it: UNKNOWN where the value is too old, as for gates."""
    found = regime(turn)
    if not found.on:
        return RegimeName.NORMAL
    if found.value is None or found.age_s is None or found.age_s > turn.config.regime.max_age_s:
        return RegimeName.UNKNOWN
    return _BY_INDEX[regime_index(found.value, turn.rules)]


def earnings_tonight(turn: Turn, symbol: str) -> bool | None:
    """Whether ``symbol`` reports after today's close or before the next open; None if that is not known."""
    report = turn.state.reports.get(symbol)
    if report is None:
        return None
    if report.day is None:
        return False if report.time == NEVER else None
    today = turn.session
    try:
        following = turn.calendar.next(today)
    except CalendarUnknown:
        return None
    if report.day < today or following is None:
        return None  # that one is over, and nobody has said when the next one is
    if today < report.day < following.date:
        return True  # on a day without a session
    if report.day > following.date:
        return False
    tonight = AFTER_CLOSE if report.day == today else BEFORE_OPEN
    return report.time == tonight if report.time in (BEFORE_OPEN, IN_SESSION, AFTER_CLOSE) else None


def inputs(turn: Turn, symbol: str | None = None) -> list[str]:
    """The inbox records that a decision rests on: of the index, and of the earnings of ``symbol``."""
    index = turn.state.index if turn.config.regime.enabled else None
    report = None if symbol is None else turn.state.reports.get(symbol)
    return [each.event_id for each in (index, report) if each is not None]


def warnings(turn: Turn) -> set[str]:
    """What a person should look at, in session: rules that are on and know nothing."""
    if not turn.regular:
        return set()
    found = {"REGIME_UNKNOWN:regime"} if regime_name(turn) is RegimeName.UNKNOWN else set()
    for instrument, _ in fills.open_positions(turn):
        known = describe(instrument)
        told = known.kind is not Kind.STOCK and known.underlying in turn.state.reports
        if told and earnings_tonight(turn, known.underlying) is None:
            found.add(f"EARNINGS_UNKNOWN:{known.underlying}")
    return found
