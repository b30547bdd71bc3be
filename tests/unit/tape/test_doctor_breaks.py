"""What is broken is what the first line names: one case per kind of break."""

from dataclasses import replace

import pytest

from tapedeck.connectors.tapes.writers import LIVE
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules import gates
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.doctor.diagnose import diagnose
from tapedeck.tape.doctor.findings import Severity
from tapedeck.tape.doctor.plan import expected
from tapedeck.tape.doctor.snapshot import Feed, GroupSeen, Snapshot
from tapedeck.topics.catalogue import Layout
from tests.support.breaks import BREAKS, Break, broker_away, lagging, letters, order
from tests.support.doctor import CONFIG, DAY_US, IN_SESSION, behind, healthy, with_beats, without

PROCESSES = [each.stage for each in expected(TOPOLOGY, Layout(), CONFIG, Feed.LIVE)]


@pytest.mark.parametrize("name", BREAKS)
def test_the_first_line_names_the_cause(name: str) -> None:
    broken, check, words = BREAKS[name]
    snap = healthy()
    after = broken(snap)
    assert after != snap, "the fault happened"
    found = diagnose(after)
    assert found.faults[0].check == check, found.headline
    assert words in found.headline
    assert found.exit_code in (1, 2) and found.exit_code == max(
        each.severity.exit_code for each in found.faults
    )
    assert found.faults[0].severity is Severity.AMBER or found.exit_code == 2


def test_every_check_fires_somewhere() -> None:
    fired = {check for _, check, _ in BREAKS.values()} | {"gates"}
    assert fired == {each.name for each in CHECKS}


@pytest.mark.parametrize("stage", PROCESSES)
def test_a_killed_process_is_named_before_what_follows(stage: str) -> None:
    found = diagnose(without(healthy(), stage))
    assert found.headline.startswith(f"red heartbeats: {stage} has been silent for 40 s"), found.headline
    assert found.faults[0].stage == stage and found.faults[0].since is not None


@pytest.mark.parametrize("stage", PROCESSES)
def test_a_frozen_process_of_a_local_stack_is_named_as_frozen(stage: str) -> None:
    snap = without(healthy(), stage, ago_s=30)
    found = diagnose(snap)
    assert stage in found.headline and "is alive: it is frozen" in found.headline
    assert ("waits for Postgres" in found.headline) == (stage == "sink")
    assert found.faults[0].remedy == f"tape logs {stage}"


@pytest.mark.parametrize("stage", [*TOPOLOGY.names[:-1], "scorer", "dispatch-tiny"])
def test_a_slow_process_is_the_one_that_is_named(stage: str) -> None:
    found = diagnose(behind(healthy(), stage, 7, later=True))
    assert found.faults[0].check == "delay", found.headline
    first = {each.stage for each in found.faults if each.check == "delay" and not each.follows}
    assert first == {stage}


@pytest.mark.parametrize(
    "broken", [lambda snap: behind(snap, LIVE, 300), lagging, letters(5, ago=DAY_US), order("UNKNOWN", 1)]
)
def test_what_is_no_fault_outside_the_session_or_by_age_is_green_on_a_tape(broken: Break) -> None:
    assert diagnose(broken(healthy(feed=Feed.TAPE))).exit_code == 0


def test_a_stale_feed_outside_the_session_is_no_fault() -> None:
    night = healthy(IN_SESSION + 10 * 60 * MINUTE_US)
    assert diagnose(behind(night, LIVE, 300)).exit_code == 0
    assert diagnose(behind(healthy(), LIVE, 300)).exit_code == 2


def test_a_dispatcher_that_started_after_the_last_minute_is_well_until_there_is_something_to_read() -> None:
    """It has no watermark of its own before the next minute; unread are the openings, one per partition."""
    stage = "dispatch-tiny"
    snap = with_beats(healthy(IN_SESSION + 10 * 60 * MINUTE_US), stage, watermark=None)

    def unread(number: int | None) -> Snapshot:
        group = GroupSeen(1, {"signals": number, "account_inbox": 0})
        return replace(snap, groups={**snap.groups, stage: group})

    assert diagnose(unread(snap.layout.partitions("signals"))).exit_code == 0
    for number in (None, snap.layout.partitions("signals") + 1):
        headline = diagnose(unread(number)).headline
        assert headline.startswith(f"red delay: {stage} is the first without a watermark"), headline


def test_a_jump_over_the_night_is_no_delay_once_the_stage_has_followed() -> None:
    """The trigger's label jumps hours ahead; a second look shows that the stage came after it."""
    snap = healthy()
    label = snap.marks["bars"].label
    early = behind(snap, "features", 480)
    assert diagnose(early).exit_code == 2
    followed = {
        name: mark._replace(later=label) if mark.label != label else mark
        for name, mark in early.marks.items()
    }
    assert "delay" not in {
        each.check for each in diagnose(replace(early, marks=followed, newest=snap.newest)).faults
    }


def test_a_tape_that_plays_fast_is_no_delay_and_one_that_stands_is() -> None:
    snap = healthy(feed=Feed.TAPE)
    assert diagnose(behind(snap, "features", 30, later=True)).exit_code == 0
    assert "features is 30 min behind its input, and stands still" in diagnose(
        behind(snap, "features", 30, later=False)
    ).headline  # fmt: skip


def test_a_broker_away_is_told_once_and_the_rest_is_unknown() -> None:
    found = diagnose(broker_away(healthy()))
    told = {each.check: each.severity for each in found.faults}
    assert told["broker"] is Severity.RED
    assert told["heartbeats"] is told["delay"] is told["accounts"] is Severity.UNKNOWN
    assert "store" not in told and "disk" not in told


def test_a_gate_that_lets_the_unknown_pass_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = next(gate for gate in gates.GATES if gate.name == "spread")
    open_gate = spread._replace(test=lambda inputs, rules: _pass())
    broken = tuple(open_gate if gate is spread else gate for gate in gates.GATES)
    monkeypatch.setattr(gates, "GATES", broken)
    assert "red gates: gates let pass what they know nothing of: spread" in diagnose(healthy()).headline


def _pass() -> object:
    from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
    from tapedeck.streams.stages.account.rules.gate_types import Check

    return Check(GateReason.OK)


def test_heartbeats_of_an_older_release_are_read_without_their_new_fields() -> None:
    old = {"rules": "", "process": "", "started_at": None, "ready": None, "restored": None}
    snap = healthy()
    aged = replace(snap, beats=tuple(replace(each, **old) for each in snap.beats))
    assert diagnose(aged).exit_code == 0
