"""Converts moments as written in notebooks to UTC microseconds."""

import difflib
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import NEW_YORK

When = datetime | date | timedelta | str
"""A moment: an aware datetime, a session's date, an ISO 8601 text with a zone, or how long before the newest
record ("2h", "1d", a timedelta)."""

Zone = str | tzinfo
"""The zone of a frame's times: a name, a ZoneInfo, or timezone.utc."""


class NoNewest(Fatal):
    """A duration counts back from the newest record, but there is none."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_AGO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*")
_UNIT = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WAYS = 'write "2024-03-08T09:30-05:00", a date, "2h" before the newest record, or a datetime with a zone'


def micros(moment: datetime) -> int:
    """UTC microseconds of an aware datetime."""
    return (moment - _EPOCH) // _US


def as_utc(at_us: int) -> datetime:
    """The aware datetime, UTC, of ``at_us``."""
    return _EPOCH + at_us * _US


def shown(at_us: int) -> str:
    """``at_us`` as messages show it, ready to paste."""
    return as_utc(at_us).isoformat().replace("+00:00", "Z")


def duration(given: Any, what: str) -> timedelta:
    """A duration: a timedelta or a text such as "90s", "30min", "2h", "7d". Raises Fatal otherwise."""
    if isinstance(given, timedelta):
        return given
    found = _AGO.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise Fatal(f"{what} is not a duration", value=given, remedy='write "90s", "30min", "2h" or "7d"')
    return float(found[1]) * _UNIT[found[2]]


def moment(given: Any, what: str, newest: Callable[[], int | None]) -> int:
    """UTC microseconds of ``given``; a duration counts back from ``newest()`` (microseconds).

    A date is its midnight in New York: a session is between two of these, and ``until`` is exclusive.
    Raises Fatal for a time without a zone and for values that are not times.
    """
    if isinstance(given, timedelta) or (isinstance(given, str) and _AGO.fullmatch(given)):
        last = newest()
        if last is None:
            remedy = "name a moment, or wait for the first record"
            raise NoNewest(f"{what} counts back from the newest record, but there is none", value=given,
                           remedy=remedy)  # fmt: skip
        return last - duration(given, what) // _US
    if isinstance(given, str):
        given = _parsed(given, what)
    if isinstance(given, datetime):
        if given.tzinfo is None or given.utcoffset() is None:
            remedy = 'give a zone: "2024-03-08T09:30-05:00", or tzinfo=ZoneInfo("America/New_York")'
            raise Fatal(f"{what} has no time zone", value=given.isoformat(), remedy=remedy)
        return micros(given)
    if isinstance(given, date):
        return micros(datetime.combine(given, time(), tzinfo=NEW_YORK))
    raise Fatal(f"{what} is not a time", value=given, remedy=_WAYS)


def _parsed(text: str, what: str) -> datetime | date:
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            return parse(text.strip())
        except ValueError:
            continue
    raise Fatal(f"{what} is not a time", value=text, remedy=_WAYS)


def known_zone(given: object) -> str:
    """The name of the zone ``given``. Raises Fatal, with the nearest name, if it is not a time zone, and for
    an object without a name."""
    zone = "UTC" if given is UTC else given.key if isinstance(given, ZoneInfo) else given
    if not isinstance(zone, str):
        remedy = 'name a zone as text, such as "America/New_York"'
        raise Fatal("a frame's zone must have a name", value=given, remedy=remedy)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(zone, sorted(available_timezones()), n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]!r}?" if near else 'write "UTC" or "America/New_York"'
        raise Fatal("no such time zone", value=zone, remedy=remedy) from None
    return zone
