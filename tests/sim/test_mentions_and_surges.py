"""Mentions and surges over a day: sim with crashes and rebuild agree, and records explain themselves."""

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import drain, market_tasks
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.funnel import funnel
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.tape.recording import of_messages as recording_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.mention_days import CONFIG, STAGES, clean, digests, log_of
from tests.support.whatifs import recorded

SEEDS = range(3)


def test_rebuild_gives_what_the_sim_left() -> None:
    log, expected = clean()
    source = MemorySource(log.layout, (m for each in CATALOGUE for m in log.messages(each.name)), size=97)
    found: dict[str, str] = {}
    for spec in STAGES.market:
        rebuilt = rebuild_stage(spec, source, CONFIG, xnys()).digests()
        found |= {name if name in spec.outputs else f"{spec.name} state": d for name, d in rebuilt.items()}
    assert found == expected


def test_crashes_between_any_two_effects_leave_the_same() -> None:
    crashes = 0
    for seed in SEEDS:
        log = log_of()
        tasks = market_tasks(STAGES, log, CONFIG, xnys())
        crashes += run_schedule(tasks, seed, crash_share=0.2).crashes
        drain(tasks)
        assert digests(log, tasks) == clean()[1], seed
    assert crashes > len(SEEDS)


@pytest.mark.parametrize("name", ["mentions", "surges"])
def test_every_record_is_computed_again_from_what_it_names(name: str) -> None:
    log = clean()[0]
    bodies = [decode(name, m.value) for m in log.messages(name) if m.value is not None]
    assert len(bodies) > 40
    source = MemorySource(Layout(), recorded(log))
    for body in bodies[:: len(bodies) // 15]:
        found = explain_from(STAGES, source, CONFIG, body["event_id"])
        checks = [each for each in found.checks.values() if each.topic != "sentiment"]
        assert {check.verdict for check in checks} == {Verdict.SAME}, found.text()
    if name == "surges":
        assert {body["level"] for body in bodies} >= {"NO_BASELINE", "LOW"}


def test_the_funnel_adds_up() -> None:
    recording = recording_of(STAGES, Layout(), [recorded(clean()[0])])
    lines = {line.stage: line for line in funnel(STAGES, recording, CONFIG, xnys())}
    for line in lines.values():
        assert line.balanced, line
    assert lines["mentions"].reasons.keys() >= {"DUPLICATE", "FOLDED", "UNCHANGED"}
    assert lines["surges"].reasons.keys() >= {"LATE"}
    assert lines["surges"].given > 40
