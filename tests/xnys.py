"""Writes streams/closings.py: what the library exchange_calendars knows of the New York Stock Exchange.

    python -m tests.xnys

Run it after a new version of the library, or to extend the years. The library and the pandas under it take
1.5 s of CPU to load, which each process of a pipeline would pay at its start.
"""

import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from importlib.metadata import version

from exchange_calendars.calendar_utils import get_calendar

from tapedeck.streams.sessions import NEW_YORK
from tests.support.cases import REPOSITORY

YEARS = range(2010, 2031)
FILE = REPOSITORY / "streams" / "closings.py"
_HEAD = '''\
"""Days on which the New York Stock Exchange does not open, or closes early: month and day, by year.

Made by `python -m tests.xnys` from exchange_calendars {version}. Every other weekday is a session.
"""

YEARS = range({first}, {last})
'''
_REGULAR, _EARLY = ("09:30", "16:00"), ("09:30", "13:00")


def text() -> str:
    """The file's content. Raises ValueError for hours that it cannot say."""
    hours = {day: times for day, times in _schedule()}
    closed, early = [], []
    day = date(YEARS.start, 1, 1)
    while day.year in YEARS:
        if day in hours and hours[day] not in (_REGULAR, _EARLY):
            raise ValueError(f"{day} has hours of its own: {hours[day]}")
        if day in hours and day.weekday() > 4:
            raise ValueError(f"{day} is a session on a weekend")
        if day not in hours and day.weekday() <= 4:
            closed.append(day)
        if hours.get(day) == _EARLY:
            early.append(day)
        day += timedelta(days=1)
    head = _HEAD.format(version=version("exchange_calendars"), first=YEARS.start, last=YEARS.stop)
    return f"{head}\n{_table('CLOSED', closed)}\n{_table('CLOSES_AT_13', early)}"


def _schedule() -> Iterator[tuple[date, tuple[str, str]]]:
    """Date, and opening and closing in New York, of every session."""
    calendar = get_calendar("XNYS", start=date(YEARS.start, 1, 1), end=date(YEARS.stop - 1, 12, 31))
    for row in calendar.schedule.itertuples():
        yield row.Index.date(), (_clock(row.open), _clock(row.close))


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%H:%M}"


def _table(name: str, days: list[date]) -> str:
    lines = (
        f'    {year}: "{" ".join(f"{day:%m%d}" for day in days if day.year == year)}",\n' for year in YEARS
    )
    return f"{name} = {{\n{''.join(lines)}}}\n"


def main() -> int:
    """Write the file."""
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
