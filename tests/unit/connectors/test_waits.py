"""Waits before another try: one reading of Retry-After, and one back-off, for every server that is asked."""

from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.waits import asked_wait_s, equal_jitter_s, seconds_in
from tapedeck.streams.protocol import SECOND_US

NOW = 1_790_000_000 * SECOND_US


def dated(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(NOW // SECOND_US + seconds, tz=UTC), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7.5 ", 7.5),
        ("0", 0.0),
        (dated(90), 90.0),
        (dated(90).replace("GMT", "-0000"), 90.0),
        (dated(-90), 0.0),
        ("9" * 400, 1e12),
    ],
)
def test_a_wait_is_read_in_seconds_or_as_a_date(header: str, seconds: float) -> None:
    assert asked_wait_s(header, NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [None, "", "soon", "-5", "+5", "nan", "inf", "1e3", "1_000", "\u0667", "Fri, 99 Foo 2026 00:00:00 GMT"],
)
def test_what_names_no_wait_is_told_apart_from_none_at_all(header: str | None) -> None:
    assert asked_wait_s(header, NOW) is None
    assert seconds_in(header) is None


@given(st.text(max_size=40))
def test_whatever_a_server_sends_gives_a_wait_or_none(header: str) -> None:
    wait = asked_wait_s(header, NOW)
    assert wait is None or wait >= 0.0


@pytest.mark.parametrize(("attempt", "bound"), [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (10_000, 30.0)])
def test_a_pause_is_between_half_and_all_of_a_doubling_bound(attempt: int, bound: float) -> None:
    chance = Random(attempt)
    pauses = [equal_jitter_s(attempt, 1.0, 30.0, chance) for _ in range(200)]
    assert bound / 2 <= min(pauses) < 0.55 * bound
    assert 0.95 * bound < max(pauses) <= bound
