"""Clocks: what ``now`` is while a tape plays, and that none runs backwards."""

import pytest

from tapedeck.connectors.clock import ManualClock, RunningClock, SystemClock, TapeClock
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US

LABEL = 1_771_338_600_000_000


class Wall:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_tape_clock_stands_at_zero_before_the_first_label() -> None:
    assert TapeClock(None).now() == 0


def test_tape_clock_starts_at_the_end_of_the_labelled_minute() -> None:
    wall = Wall()
    clock = TapeClock(None, monotonic=wall)
    clock.advance(LABEL)
    assert clock.now() == LABEL + MINUTE_US


@pytest.mark.parametrize(("speed", "elapsed"), [(None, 2_000_000), (1.0, 2_000_000), (20.0, 40_000_000)])
def test_tape_clock_runs_with_the_wall_times_its_speed(speed: float | None, elapsed: int) -> None:
    wall = Wall()
    clock = TapeClock(speed, monotonic=wall)
    clock.advance(LABEL)
    wall.seconds += 2.0
    assert clock.now() == LABEL + MINUTE_US + elapsed


def test_tape_clock_stops_just_short_of_the_next_minute() -> None:
    wall = Wall()
    clock = TapeClock(60.0, monotonic=wall)
    clock.advance(LABEL)
    wall.seconds += 3_600
    assert clock.now() == LABEL + MINUTE_US + 59_999_000
    clock.advance(LABEL + MINUTE_US)
    assert clock.now() == LABEL + 2 * MINUTE_US


def test_tape_clock_ignores_an_old_label() -> None:
    wall = Wall()
    clock = TapeClock(1.0, monotonic=wall)
    clock.advance(LABEL)
    wall.seconds += 30
    before = clock.now()
    clock.advance(LABEL - MINUTE_US)
    clock.advance(LABEL)
    assert clock.now() == before


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_tape_clock_refuses_a_speed_that_is_not_positive(speed: float) -> None:
    with pytest.raises(Fatal, match="positive"):
        TapeClock(speed)


def test_manual_clock_refuses_the_past() -> None:
    clock = ManualClock(5)
    clock.set(7)
    with pytest.raises(Fatal, match="backwards"):
        clock.set(6)
    assert clock.now() == 7


def test_system_clock_counts_microseconds_of_this_century() -> None:
    assert 1_700_000_000_000_000 < SystemClock().now() < 4_000_000_000_000_000


def test_running_clock_runs_by_itself_and_goes_on_from_a_later_minute() -> None:
    wall = Wall()
    clock = RunningClock(LABEL, 60.0, monotonic=wall)
    assert clock.now() == LABEL
    wall.seconds += 2.0
    assert clock.now() == LABEL + 2 * MINUTE_US
    clock.advance(LABEL)
    assert clock.now() == LABEL + 2 * MINUTE_US
    clock.advance(LABEL + 9 * MINUTE_US)
    wall.seconds += 1.0
    assert clock.now() == LABEL + 11 * MINUTE_US
