"""Moments as people write them."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.notebook import times

NY = ZoneInfo("America/New_York")
NEWEST = times.micros(datetime(2024, 3, 12, 20, tzinfo=UTC))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    "given, moment",
    [
        (datetime(2024, 3, 8, 9, 30, tzinfo=NY), utc(2024, 3, 8, 14, 30)),
        ("2024-03-08T09:30-05:00", utc(2024, 3, 8, 14, 30)),
        ("2024-03-08 14:30:00.000001Z", utc(2024, 3, 8, 14, 30, 0, 1)),
        (date(2024, 3, 8), utc(2024, 3, 8, 5)),
        ("2024-03-08", utc(2024, 3, 8, 5)),
        ("2h", utc(2024, 3, 12, 18)),
        ("90s", utc(2024, 3, 12, 19, 58, 30)),
        ("30min", utc(2024, 3, 12, 19, 30)),
        ("30m", utc(2024, 3, 12, 19, 30)),
        ("1.5h", utc(2024, 3, 12, 18, 30)),
        ("1d", utc(2024, 3, 11, 20)),
        ("1w", utc(2024, 3, 5, 20)),
        (timedelta(hours=2), utc(2024, 3, 12, 18)),
    ],
    ids=str,
)
def test_a_moment_is_what_it_says(given, moment):
    assert times.moment(given, "since", lambda: NEWEST) == times.micros(moment)


@pytest.mark.parametrize("day, hours", [((2024, 3, 10), 23), ((2024, 11, 3), 25), ((2024, 3, 11), 24)])
def test_a_session_date_is_as_long_as_new_yorks_day(day, hours):
    first = date(*day)
    span = [times.moment(each, "since", lambda: None) for each in (first, first + timedelta(days=1))]
    assert span[1] - span[0] == hours * 3_600_000_000


def test_the_hour_that_comes_twice_is_told_apart_by_its_offset():
    early, late = "2024-11-03T01:30-04:00", "2024-11-03T01:30-05:00"
    assert (
        times.moment(late, "since", lambda: None) - times.moment(early, "since", lambda: None)
        == 3_600_000_000
    )


@pytest.mark.parametrize(
    "given, what",
    [
        ("2024-03-08T09:30", "give a zone"),
        (datetime(2024, 3, 8, 9, 30), "give a zone"),  # noqa: DTZ001 - that is the fault
        ("yesterday", "is not a time"),
        ("2 fortnights", "is not a time"),
        (1_700_000_000, "is not a time"),
    ],
)
def test_what_is_no_moment_is_refused_with_how_to_write_one(given, what):
    with pytest.raises(Fatal, match=what):
        times.moment(given, "since", lambda: NEWEST)


def test_counting_back_from_nothing_is_refused():
    with pytest.raises(Fatal, match="there is none"):
        times.moment("2h", "since", lambda: None)


def test_an_unknown_zone_is_refused_with_the_nearest():
    with pytest.raises(Fatal, match="America/New_York"):
        times.known_zone("America/NewYork")


@pytest.mark.parametrize("given, name", [(NY, "America/New_York"), (UTC, "UTC"), (timezone.utc, "UTC"),  # noqa: UP017
                                         (ZoneInfo("UTC"), "UTC"), ("Asia/Tokyo", "Asia/Tokyo")])  # fmt: skip
def test_a_zone_is_a_name_or_an_object_with_one(given, name):
    assert times.known_zone(given) == name


@pytest.mark.parametrize("given", [timezone(timedelta(hours=-5)), None, 5], ids=str)
def test_a_zone_without_a_name_is_refused_with_how_to_give_one(given):
    with pytest.raises(Fatal, match="name a zone as text"):
        times.known_zone(given)


@pytest.mark.parametrize("given", ["soon", 5, None])
def test_a_length_of_time_that_is_none_is_refused(given):
    with pytest.raises(Fatal, match="not a duration"):
        times.duration(given, "late")
