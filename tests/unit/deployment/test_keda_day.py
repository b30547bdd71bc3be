"""The scaling of the chart over a recorded day of a real worker, and the session's floor over clock changes.

tests/data/chart/day.csv is what ``python -m tests.bench.record_delays`` wrote: own figures of one features
worker at 60x on two busy cores, behind by a quarter of an hour at the open and at the close.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple

import pytest

from tapedeck.streams.sessions import NEW_YORK, xnys
from tests.bench.record_delays import crowd
from tests.support.chart import GOLDEN
from tests.support.keda import Autoscaler, Query
from tests.support.keda_chart import (
    DAY_S,
    HOUR,
    MINUTE,
    POLL_S,
    autoscaler,
    changes,
    cron,
    felt_by,
    floor,
    play,
    query,
    trigger,
    turns,
)

SPEED = 60
BEGIN_S = 9 * HOUR + 27 * MINUTE
"""New York time of day at which the record begins."""
SPRING, FALL = date(2026, 3, 8), date(2026, 11, 1)
MONDAYS = (date(2026, 2, 23), SPRING + timedelta(days=1), FALL + timedelta(days=1))
REBALANCE_S = 30.0
"""A stage stands for so long after a change of its workers: docs/operations.md has 6 to 20 s measured."""


class Recorded(NamedTuple):
    """A minute: its bars, and when they and their features were there, in seconds of the market's clock."""

    bars: int
    written: float
    done: float


@cache
def recorded() -> list[Recorded]:
    lines = (GOLDEN / "day.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("#")]
    assert rows[0] == ["minute", "bars", "written_s", "done_s"]
    return [Recorded(int(n), SPEED * float(written), SPEED * float(done)) for _, n, written, done in rows[1:]]


@cache
def delays() -> list[float]:
    """The delay at each poll of a whole day in New York, as the metric has it: in whole minutes."""
    written, done = [each.written for each in recorded()], [each.done for each in recorded()]
    clocks = (poll * POLL_S - BEGIN_S for poll in range(int(DAY_S / POLL_S)))
    return [max(MINUTE * (bisect_right(written, clock) - bisect_right(done, clock)), 0.0) for clock in clocks]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK)


def within(begin: float, end: float) -> Iterable[int]:
    """Polls between two times of the day."""
    return range(int(begin / POLL_S), int(end / POLL_S))


def test_the_record_is_a_whole_session_with_bursts_at_both_ends() -> None:
    assert len(recorded()) > 390
    minutes = range(1, len(recorded()) + 1)  # the first one is played before, until the worker is ready
    assert [each.bars for each in recorded()] == [crowd(n, len(minutes) + 1) for n in minutes]
    early = [each for each in recorded() if each.done < each.written]
    assert len(early) < 10, "seen downstream before the player's flush returned"
    assert list(recorded()) == sorted(recorded(), key=lambda each: each.written)
    noon = [delays()[poll] for poll in within(11 * HOUR, 15 * HOUR)]
    ends = [delays()[poll] for poll in (*within(9.5 * HOUR, 9.75 * HOUR), *within(15.75 * HOUR, 16 * HOUR))]
    assert max(ends) >= 600 and 60 <= max(noon) <= 120


def bursts() -> list[list[float]]:
    """Runs of delays that ask for more workers than the floor has, with calm of a window between them."""
    found: list[list[float]] = []
    last = -math.inf
    for poll, delay in enumerate(delays()):
        if delay > 3 * query().delay_s:
            if (poll - last) * POLL_S > query().window_s:
                found.append([])
            found[-1].append(delay)
            last = poll
    return found


@pytest.mark.parametrize("day", MONDAYS, ids=str)
def test_the_recorded_day_does_not_make_the_stage_oscillate(day: date) -> None:
    seen = play(autoscaler(), delays(), least=floor(midnight(day)))
    assert len(bursts()) == 3, "at the open, at ten past three, and at the close"
    assert turns(seen) <= 2 * len(bursts()), changes(seen)  # each brings workers, which go afterwards
    assert max(seen) > 3, "the bursts brought workers"
    inside = within(9.5 * HOUR, 16 * HOUR)
    assert min(seen[poll] for poll in inside) >= 3, "the session has its floor"
    gone = [poll for poll, more in changes(seen) if more < 0]
    assert all(b - a >= 300 / POLL_S for a, b in itertools.pairwise(gone))
    assert seen[0] == 1 and seen[-1] == 1


def naive() -> Autoscaler:
    """One without windows and policies."""
    return Autoscaler(
        least=1, most=12, scale_in_window_s=0, scale_in_period_s=0, scale_out_window_s=0, scale_out_pods=12,
        fallback_replicas=1,
    )  # fmt: skip


def at_once() -> Query:
    """The chart's query, if it counted only what there is at the moment."""
    return replace(query(), window_s=0.0, lasts_s=0.0)


def test_the_same_day_without_windows_and_policies_would_make_it_oscillate() -> None:
    assert turns(play(naive(), delays(), asked=at_once())) > 50


def test_no_worker_goes_while_one_recovers_after_the_burst_at_the_open() -> None:
    restoring = within(10.5 * HOUR, 11.5 * HOUR)
    least = floor(midnight(MONDAYS[0]))
    free = play(autoscaler(), delays(), least=least)
    held = play(
        autoscaler(), delays(), least=least,
        ready=lambda poll, replicas: [True] * (replicas - 1) + [poll not in restoring],
    )  # fmt: skip
    first, last = restoring[0], restoring[-1]
    assert free[last] < free[first], "without the recovery, workers would go in this hour"
    assert {held[poll] for poll in restoring} == {free[first]}
    assert held[-1] == 1, "and they go afterwards"


def test_first_deployment_in_the_middle_of_the_day_does_not_start_the_most_workers() -> None:
    """A history of 400 days is worked off in an hour; then the day goes on as it was recorded."""
    begin, polls = int(12 * HOUR / POLL_S), int(HOUR / POLL_S)
    history = [400 * DAY_S * (1 - poll / polls) for poll in range(polls)]
    day = [*history, *delays()[begin + polls : int(15 * HOUR / POLL_S)]]
    least = floor(midnight(MONDAYS[0]) + timedelta(seconds=12 * HOUR))
    seen = play(autoscaler(), day, least=least)
    assert max(seen) == 3 == max(seen[:polls]), "the session's floor and no more"
    assert set(play(autoscaler(), history)) == {1}


# with feedback: more workers do more


def rate() -> float:
    """Bars that the recorded worker did in a second of the market's clock, while it was behind."""
    busy = recorded()[:15]
    assert all(after.written < before.done for before, after in itertools.pairwise(busy))
    return sum(each.bars for each in busy[1:]) / (busy[-1].done - busy[0].done)


def feedback(
    scaler: Autoscaler, *, times: float, asked: Query | None = None
) -> tuple[list[int], list[float]]:
    """Replicas and delays at each poll of a stage whose delay follows from its workers.

    The recorded bars, ``times`` as many, wait in one queue; each worker does ``rate`` of them. After each
    change of the workers the stage stands for REBALANCE_S.
    """
    asked, seen, felt = asked or query(), list[int](), list[float]()
    waiting: list[tuple[float, float]] = []  # (bars left, when they came)
    coming = [(each.written + BEGIN_S, times * each.bars) for each in recorded()]
    stands_until = 0.0
    for poll in within(9 * HOUR, 20 * HOUR):
        now = poll * POLL_S
        while coming and coming[0][0] <= now:
            at, bars = coming.pop(0)
            waiting.append((bars, at))
        able = 0.0 if now < stands_until else rate() * scaler.replicas * POLL_S
        while waiting and able >= waiting[0][0]:
            able -= waiting.pop(0)[0]
        if waiting:
            waiting[0] = (waiting[0][0] - able, waiting[0][1])
        felt.append(MINUTE * len(waiting))
        before = scaler.replicas
        value = asked.answer(*felt_by(asked, felt, len(felt) - 1), ready=[True] * before)
        seen.append(scaler.poll(now, [value, 1.0]))
        if seen[-1] != before:
            stands_until = now + REBALANCE_S
    return seen, felt


@pytest.mark.parametrize("times", [1.0, 2.0, 4.0])
def test_workers_that_help_do_not_make_the_stage_oscillate(times: float) -> None:
    seen, felt = feedback(autoscaler(), times=times)
    assert turns(seen) <= 2 * len(bursts()), changes(seen)
    assert max(seen) > 1 and max(felt) >= 120, "the bursts were felt"
    assert seen[-1] == 1 and felt[-1] == 0
    jumpy, _ = feedback(naive(), times=times, asked=at_once())
    assert turns(jumpy) > 3 * turns(seen)
    alone, behind = feedback(Autoscaler(**{**vars(autoscaler()), "most": 1}), times=times)
    assert set(alone) == {1} and max(behind) >= max(felt), "alone it is behind for as long or longer"


# the session's floor


def test_the_floor_begins_at_nine_in_new_york_before_and_after_both_clock_changes() -> None:
    metadata = trigger("cron")["metadata"]
    for sunday, hours in ((SPRING, (14, 13)), (FALL, (13, 14))):
        friday, monday = sunday - timedelta(days=2), sunday + timedelta(days=1)
        for day, hour in zip((friday, monday), hours, strict=True):
            begin = datetime.combine(day, time(hour), UTC)
            assert cron(metadata, begin - timedelta(seconds=1)) == 1
            assert cron(metadata, begin) == cron(metadata, begin + timedelta(hours=7)) == 3
            assert cron(metadata, begin + timedelta(hours=7, minutes=30)) == 1
        whole = [cron(metadata, midnight(sunday) + timedelta(minutes=5 * n)) for n in range(25 * 12)]
        assert set(whole) == {1}, "nobody trades on the day of the change"


def uncovered(metadata: dict[str, str], year: int) -> list[date]:
    """Sessions of a year in which the floor is not there from half an hour before the open to the close."""
    calendar = xnys()
    found = []
    for day in (date(year, 1, 1) + timedelta(days=n) for n in range(365)):
        session = calendar.session_on((day - date(1970, 1, 1)).days)
        if session is None:
            continue
        open_at, close_at = (
            datetime.fromtimestamp(each / 1e6, UTC) for each in (session.open, session.close)
        )
        times = (open_at - timedelta(minutes=30), open_at, close_at - timedelta(seconds=1), close_at)
        if min(cron(metadata, at) for at in times) < 3:
            found.append(day)
    return found


def test_the_floor_covers_every_session_of_a_year_and_one_in_utc_would_not() -> None:
    metadata = trigger("cron")["metadata"]
    assert uncovered(metadata, 2026) == []
    utc = {**metadata, "timezone": "Etc/UTC", "start": "0 14 * * 1-5", "end": "30 21 * * 1-5"}
    missed = uncovered(utc, 2026)
    assert len(missed) > 150 and all(SPRING < day < FALL for day in missed)
