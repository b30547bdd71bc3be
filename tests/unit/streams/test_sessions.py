"""The calendar's vectors C1..C7 and its borders."""

from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.sessions import (
    NEW_YORK,
    CalendarUnknown,
    Phase,
    SessionKind,
    day_number,
    iso_date,
    micros,
    xnys,
)
from tests import xnys as xnys_table
from tests.xnys import FILE, text

MINUTE = 60_000_000


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text))


def day(text: str) -> int:
    return day_number(date.fromisoformat(text))


@pytest.mark.parametrize("holiday", ["2026-02-16", "2025-01-09"], ids=["C1", "C5"])
def test_holiday_has_no_session(holiday: str) -> None:
    assert xnys().session_on(day(holiday)) is None
    assert xnys().phase(at(f"{holiday}T15:00Z")) is Phase.CLOSED


@pytest.mark.parametrize(
    ("date_text", "opened", "closed"),
    [("2026-03-06", "14:30", "21:00"), ("2026-03-09", "13:30", "20:00")],
    ids=["C2", "C3"],
)
def test_session_hours_follow_the_clock_change(date_text: str, opened: str, closed: str) -> None:
    session = xnys().session_on(day(date_text))
    assert session is not None
    assert (session.open, session.close) == (at(f"{date_text}T{opened}Z"), at(f"{date_text}T{closed}Z"))
    assert session.kind is SessionKind.FULL


def test_half_day_closes_early_and_moves_its_cut_offs_c4() -> None:
    session = xnys().session_on(day("2026-11-27"))
    assert session is not None
    assert session.kind is SessionKind.HALF
    assert (session.open, session.close) == (at("2026-11-27T14:30Z"), at("2026-11-27T18:00Z"))
    assert session.before_close(60) == at("2026-11-27T12:00-05:00")
    assert session.before_close(5) == at("2026-11-27T12:55-05:00")


def test_evening_in_new_york_belongs_to_the_day_before_utc_c6() -> None:
    t = at("2026-02-18T00:30Z")
    assert iso_date(xnys().session_date(t)) == date(2026, 2, 17)
    assert xnys().phase(t) is Phase.POST
    assert xnys().session_at(t) is None


def test_minutes_to_close_in_the_regular_phase_c7() -> None:
    t = at("2026-01-29T16:36Z")
    session = xnys().session_at(t)
    assert session is not None
    assert iso_date(session.date) == date(2026, 1, 29)
    assert xnys().phase(t) is Phase.REGULAR
    assert xnys().minutes_to_close(t) == 264


@pytest.mark.parametrize(
    ("clock", "phase"),
    [
        ("03:59:59.999999", Phase.CLOSED),
        ("04:00:00", Phase.PRE),
        ("09:29:59.999999", Phase.PRE),
        ("09:30:00", Phase.REGULAR),
        ("15:59:59.999999", Phase.REGULAR),
        ("16:00:00", Phase.POST),
        ("19:59:59.999999", Phase.POST),
        ("20:00:00", Phase.CLOSED),
    ],
)
def test_phase_borders_include_their_left_edge(clock: str, phase: Phase) -> None:
    t = micros(datetime.fromisoformat(f"2026-01-29T{clock}").replace(tzinfo=NEW_YORK))
    assert xnys().phase(t) is phase
    assert (xnys().minutes_to_close(t) is None) == (phase is not Phase.REGULAR)


@pytest.mark.parametrize("instant", ["2009-12-31T15:00Z", "2031-01-02T15:00Z"])
def test_date_beyond_the_calendar_is_unknown_not_closed(instant: str) -> None:
    t = at(instant)
    calendar = xnys()
    date_number = calendar.session_date(t)
    for ask in (calendar.session_on, calendar.previous, calendar.next):
        with pytest.raises(CalendarUnknown, match=instant[:10]) as caught:
            ask(date_number)
        assert caught.value.reason == "CALENDAR_UNKNOWN"
    for ask in (calendar.phase, calendar.session_at, calendar.minutes_to_close):
        with pytest.raises(CalendarUnknown):
            ask(t)


def test_neighbours_skip_weekends_and_holidays() -> None:
    calendar = xnys()
    before, after = calendar.previous(day("2026-02-17")), calendar.next(day("2026-02-13"))
    assert before is not None and iso_date(before.date) == date(2026, 2, 13)
    assert after is not None and iso_date(after.date) == date(2026, 2, 17)
    first, last = calendar.horizon()
    assert calendar.previous(first) is None
    assert calendar.next(last) is None


def test_tables_are_sorted_columns_of_the_sessions() -> None:
    dates, opens, closes = xnys().tables()
    assert (dates.dtype, opens.dtype, closes.dtype) == (np.int32, np.int64, np.int64)
    assert np.all(np.diff(dates) > 0) and np.all(opens < closes) and np.all(closes[:-1] < opens[1:])
    session = xnys().session_on(int(dates[100]))
    assert session is not None and (session.open, session.close) == (opens[100], closes[100])


@given(st.integers(at("2010-01-02T12:00Z"), at("2030-12-30T12:00Z")))
def test_every_instant_has_one_phase_and_new_yorks_date(t: int) -> None:
    calendar = xnys()
    assert iso_date(calendar.session_date(t)) == datetime.fromtimestamp(t // 1_000_000, tz=NEW_YORK).date()
    regular = calendar.phase(t) is Phase.REGULAR
    assert regular == (calendar.session_at(t) is not None)


def test_boundaries_are_whole_periods_after_the_open_of_a_regular_phase() -> None:
    calendar = xnys()
    opened, closed = at("2026-01-29T14:30Z"), at("2026-01-29T21:00Z")
    assert [calendar.is_boundary(opened + n * MINUTE, 300) for n in (-5, 0, 4, 5)] == [
        False,
        True,
        False,
        True,
    ]
    assert calendar.is_boundary(closed - 5 * MINUTE, 300) and not calendar.is_boundary(closed, 300)
    assert not calendar.is_boundary(at("2031-01-02T15:00Z"), 300)


@pytest.mark.filterwarnings("ignore:Series.values:pandas.errors.Pandas4Warning")
def test_the_table_of_closings_is_what_the_library_knows() -> None:
    assert FILE.read_text() == text(), "run `python -m tests.xnys`, and read the difference"


def test_a_session_with_hours_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = (date(2026, 3, 6), ("10:30", "16:00"))
    monkeypatch.setattr(xnys_table, "_schedule", lambda: iter([odd]))
    with pytest.raises(ValueError, match="2026-03-06 has hours of its own"):
        text()
