"""A healthy pipeline is all green, whatever the hour; and what the checks and the plan must have."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import Phase, SessionKind, day_number, xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.doctor.check import Check, green
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.doctor.diagnose import check_named, diagnose
from tapedeck.tape.doctor.findings import Diagnosis, Severity
from tapedeck.tape.doctor.plan import EXCHANGE, expected
from tapedeck.tape.doctor.snapshot import Feed
from tapedeck.tape.local.live import LiveData
from tapedeck.tape.local.plan import workers
from tapedeck.topics.catalogue import Layout
from tests.support.doctor import CONFIG, IN_SESSION, at, healthy
from tests.unit.house.test_house_rules import impurities, texts

DAYS = (
    date(2026, 2, 17),  # a plain day
    date(2026, 3, 9),  # the Monday after the clock change in spring
    date(2026, 11, 2),  # and in autumn
    date(2025, 11, 28),  # a half day
    date(2026, 7, 3),  # a holiday
    date(2026, 3, 8),  # the Sunday of a clock change
)


def moments() -> list[tuple[int, int, int]]:
    """(seed, instant, seconds since the processes started), a hundred of them over all kinds of day."""
    found = []
    for seed in range(100):
        random = Random(seed)
        begins, _ = xnys().trading_hours(day_number(DAYS[seed % len(DAYS)]))
        now = begins + random.randrange(0, 18 * 60) * MINUTE_US + random.randrange(60) * SECOND_US
        found.append((seed, now, random.choice((5, 30, 110, 600, 90_000))))
    return found


@pytest.mark.parametrize("feed", Feed)
def test_a_hundred_healthy_snapshots_are_all_green(feed: Feed) -> None:
    phases, kinds = set(), set()
    for seed, now, up_s in moments():
        snap = healthy(now, feed, seed=seed, up_s=up_s)
        found = diagnose(snap)
        assert found.headline.startswith(f"all green: {len(CHECKS)} checks"), (seed, found.headline)
        assert found.exit_code == 0
        phases.add(xnys().phase(now))
        session = xnys().session_on(xnys().session_date(now))
        kinds.add(session.kind if session else None)
    assert phases == set(Phase) and kinds == {SessionKind.FULL, SessionKind.HALF, None}


def test_outside_a_session_nothing_stale_is_told_and_the_reason_is() -> None:
    holiday = xnys().trading_hours(day_number(date(2026, 7, 3)))[0] + 6 * 60 * MINUTE_US
    snap = healthy(holiday, newest=dict.fromkeys(("bars", "features", "watchlist", "news", "accounts"), 1))
    found = {each.check: each for each in diagnose(snap).findings}
    for name in ("feed", "staleness", "symbols"):
        assert found[name].severity is Severity.NOT_EXPECTED
        assert "holiday" in found[name].what
    assert "3 of them with nothing to expect now" in diagnose(snap).headline


def test_all_green_is_never_said_of_nothing() -> None:
    assert "all green" not in Diagnosis((), ()).headline
    assert Diagnosis((), ()).exit_code == 2
    partial = Diagnosis(("a", "b"), (replace(green("well"), check="a"),))
    assert partial.headline == "unknown: not every check was run"
    blind = Check(name="blind", rule="", steps=("", "", ""), look=lambda snap: [])
    (told,) = blind.run(healthy())
    assert (told.severity, told.what) == (Severity.UNKNOWN, "the check looked at nothing")


def test_a_stage_of_the_topology_and_a_process_of_the_plan_has_a_heartbeat_check() -> None:
    """A process of the local stack's plan or of a deployment that the doctor does not ask for fails here."""
    plan = workers(TOPOLOGY, CONFIG)
    started = {name for each in plan for name in (each.stages or (each.name,))}
    started |= {
        each.name for each in LiveData("https://data.example", {}, None).workers("http://127.0.0.1:1")
    }
    asked = {each.stage for each in expected(TOPOLOGY, Layout(), CONFIG, Feed.LIVE, posts=True)}
    assert started - asked == {EXCHANGE}, "it has no heartbeat, and a check of its own"
    assert asked <= started
    assert check_named(EXCHANGE).name == EXCHANGE
    for each in expected(TOPOLOGY, Layout(), CONFIG, Feed.LIVE):
        snap = healthy()
        gone = replace(snap, beats=tuple(beat for beat in snap.beats if beat.stage != each.stage))
        told = diagnose(gone, [check_named("heartbeats")]).headline
        assert told == f"red heartbeats: {each.stage} has never reported: it does not run"


def test_names_are_distinct_and_an_unknown_one_names_those_that_exist() -> None:
    names = [each.name for each in CHECKS]
    assert len(set(names)) == len(names) >= 25
    assert all(all(each.steps) and each.rule for each in CHECKS)
    with pytest.raises(Fatal, match=r"no such check.*heartbeats"):
        check_named("pulse")


def test_the_doctor_reads_no_clock_environment_or_file() -> None:
    broken = {path: found for path, text in texts("tape/doctor/*.py") if (found := impurities(text))}
    assert broken == {}
    assert Path(__file__).is_file() and len(list(texts("tape/doctor/*.py"))) > 8


def test_the_first_minutes_of_a_session_expect_nothing_of_the_night() -> None:
    opened = at(2026, 2, 17, 0)
    stale = dict.fromkeys(("bars", "features", "watchlist", "news", "accounts"), opened - 60 * MINUTE_US)
    assert diagnose(healthy(opened, newest=stale)).exit_code == 0
    assert diagnose(healthy(IN_SESSION, newest=stale)).exit_code == 2
