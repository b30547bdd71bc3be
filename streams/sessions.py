"""The exchange calendar: the only source for "is the market open".

Times are UTC microseconds, dates are days since the epoch. New York appears only in this module's
phase borders and in ``session_date``.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from tapedeck.schemas.errors import TapeError
from tapedeck.streams import closings
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = date(1970, 1, 1)
_HOUR_US = 60 * MINUTE_US
_PRE_OPENS_HOUR = 4
_POST_CLOSES_HOUR = 20
_OPENS_HOUR, _OPENS_MINUTE = 9, 30
_EARLY_CLOSE_HOUR, _FULL_CLOSE_HOUR = 13, 16
_SATURDAY = 5


class CalendarUnknown(TapeError):
    """CALENDAR_UNKNOWN: the calendar does not cover this date; nothing opens, closing asks the broker."""

    def __init__(self, day: int, horizon: tuple[int, int]) -> None:
        first, last = (str(iso_date(edge)) for edge in horizon)
        super().__init__(
            f"the calendar covers {first} to {last} only",
            value=str(iso_date(day)),
            remedy="check the record's time; a newer release covers more years",
            reason="CALENDAR_UNKNOWN",
        )


class SessionKind(StrEnum):
    FULL = "FULL"
    HALF = "HALF"


class Phase(StrEnum):
    """PRE is [04:00 ET, open), REGULAR [open, close), POST [close, 20:00 ET), all else CLOSED."""

    PRE = "PRE"
    REGULAR = "REGULAR"
    POST = "POST"
    CLOSED = "CLOSED"


class Session(NamedTuple):
    """One trading session: ``date`` in days, ``open`` and ``close`` in microseconds."""

    date: int
    open: int
    close: int
    kind: SessionKind

    def before_close(self, minutes: int) -> int:
        """The instant ``minutes`` before this session's close: every cut-off is one of these."""
        return self.close - minutes * MINUTE_US


def iso_date(day: int) -> date:
    """The date that is ``day`` days after the epoch."""
    return EPOCH + timedelta(days=day)


def day_number(day: date) -> int:
    """Days since the epoch."""
    return (day - EPOCH).days


def micros(moment: datetime) -> int:
    """UTC microseconds of an aware datetime, without float rounding."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def iso_utc(t: int) -> str:
    """``t`` as ISO 8601 in UTC with Z: whole seconds without a fraction."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t)
    return moment.isoformat().replace("+00:00", "Z")


def _new_york(day: int, hour: int) -> int:
    local = iso_date(day)
    return micros(datetime(local.year, local.month, local.day, hour, tzinfo=NEW_YORK))


def new_york_hour(t: int) -> tuple[int, int]:
    """The New York date and hour of day of an instant."""
    hour = t // _HOUR_US
    return _date_of_hour(hour), datetime.fromtimestamp(hour * 3600, tz=NEW_YORK).hour


def hour_in_new_york(day: int, hour: int) -> int | None:
    """The instant at which an hour of day begins on a New York date; None on a day that skips the hour.

    Of an hour that a day has twice it is the first.
    """
    t = _new_york(day, hour)
    return t if new_york_hour(t) == (day, hour) else None


@lru_cache(maxsize=4096)
def _date_of_hour(hour: int) -> int:
    moment = datetime.fromtimestamp(hour * 3600, tz=NEW_YORK)
    return day_number(moment.date())


class Calendar:
    """Sessions between two dates, inclusive. A date outside them raises CalendarUnknown."""

    def __init__(self, sessions: Iterable[Session], horizon: tuple[int, int]) -> None:
        self._sessions = sorted(sessions)
        self._horizon = horizon
        self._dates = [session.date for session in self._sessions]
        self._opens = [session.open for session in self._sessions]
        self._by_date = {session.date: session for session in self._sessions}

    def horizon(self) -> tuple[int, int]:
        """First and last date that the calendar knows."""
        return self._horizon

    def session_on(self, date: int) -> Session | None:
        """The session of a New York date; None on a holiday or weekend."""
        self._check(date)
        return self._by_date.get(date)

    def session_at(self, t: int) -> Session | None:
        """The session whose REGULAR phase contains ``t``."""
        at = bisect_right(self._opens, t) - 1
        if at >= 0 and t < self._sessions[at].close:
            return self._sessions[at]
        self._check(self.session_date(t))
        return None

    def session_date(self, t: int) -> int:
        """The New York date of an instant, whether or not it has a session."""
        return _date_of_hour(t // _HOUR_US)  # New York's midnight and clock changes fall on whole UTC hours

    def previous(self, date: int) -> Session | None:
        """The newest session before ``date``; None if the calendar has none."""
        self._check(date)
        at = bisect_left(self._dates, date) - 1
        return self._sessions[at] if at >= 0 else None

    def next(self, date: int) -> Session | None:
        """The first session after ``date``; None if the calendar has none."""
        self._check(date)
        at = bisect_right(self._dates, date)
        return self._sessions[at] if at < len(self._sessions) else None

    def between(self, first: int, last: int) -> list[Session]:
        """The sessions on the dates from ``first`` to ``last``, both inclusive."""
        self._check(first)
        self._check(last)
        return self._sessions[bisect_left(self._dates, first) : bisect_right(self._dates, last)]

    @staticmethod
    def trading_hours(date: int) -> tuple[int, int]:
        """04:00 and 20:00 in New York on ``date``: PRE begins and POST ends, on a session's date."""
        return _new_york(date, _PRE_OPENS_HOUR), _new_york(date, _POST_CLOSES_HOUR)

    def phase(self, t: int) -> Phase:
        """The phase of ``t`` on its New York date."""
        date = self.session_date(t)
        session = self.session_on(date)
        if session is None:
            return Phase.CLOSED
        if session.open <= t < session.close:
            return Phase.REGULAR
        if t < session.open:
            return Phase.PRE if t >= _new_york(date, _PRE_OPENS_HOUR) else Phase.CLOSED
        return Phase.POST if t < _new_york(date, _POST_CLOSES_HOUR) else Phase.CLOSED

    def minutes_to_close(self, t: int) -> float | None:
        """Minutes from ``t`` to the close of the session it is in; None outside the REGULAR phase."""
        session = self.session_at(t)
        return None if session is None else (session.close - t) / MINUTE_US

    def is_boundary(self, t: int, period_s: int) -> bool:
        """True where ``t`` is in a REGULAR phase, a whole number of periods after its open.

        Beyond the calendar there are no boundaries, so nothing is evaluated and nothing opens.
        """
        try:
            session = self.session_at(t)
        except CalendarUnknown:
            return False
        return session is not None and (t - session.open) % (period_s * SECOND_US) == 0

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(dates int32, opens int64, closes int64)``, one element per session, sorted: for kernels."""
        closes = [session.close for session in self._sessions]
        return (
            np.array(self._dates, dtype=np.int32),
            np.array(self._opens, dtype=np.int64),
            np.array(closes, dtype=np.int64),
        )

    def _check(self, date: int) -> None:
        if not self._horizon[0] <= date <= self._horizon[1]:
            raise CalendarUnknown(date, self._horizon)


@cache
def xnys() -> Calendar:
    """The New York Stock Exchange, in the years of ``streams.closings``."""
    first, last = date(closings.YEARS.start, 1, 1), date(closings.YEARS.stop - 1, 12, 31)
    horizon = day_number(first), day_number(last)
    closed, early = _days(closings.CLOSED), _days(closings.CLOSES_AT_13)
    sessions = []
    for day in range(horizon[0], horizon[1] + 1):
        if iso_date(day).weekday() >= _SATURDAY or day in closed:
            continue
        opened = _new_york(day, _OPENS_HOUR) + _OPENS_MINUTE * MINUTE_US
        if day in early:
            session = Session(day, opened, _new_york(day, _EARLY_CLOSE_HOUR), SessionKind.HALF)
        else:
            session = Session(day, opened, _new_york(day, _FULL_CLOSE_HOUR), SessionKind.FULL)
        sessions.append(session)
    return Calendar(sessions, horizon)


def _days(table: Mapping[int, str]) -> frozenset[int]:
    """The dates of a table of ``streams.closings``."""
    return frozenset(
        day_number(date(year, int(each[:2]), int(each[2:])))
        for year, days in table.items()
        for each in days.split()
    )
