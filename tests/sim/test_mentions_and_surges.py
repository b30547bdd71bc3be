"""Mentions and surges over a day: sim with crashes and rebuild agree, and records explain themselves."""

import random
from functools import cache

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.funnel import funnel
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.tape.recording import of_messages as recording_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.sentiments import HOUR_US, sentiment
from tests.support.whatifs import recorded

STAGES = Topology(*TOPOLOGY.only(("mentions", "surges")))
CONFIG = from_dict({"surge": {"days": 1, "min_days": 1}})
T0 = 1_770_202_800_000_000
HOURS = 30
EVERY_MIN = 9
SYMBOLS = ("AMD", "BAC", "NVDA", "WMT")
SEEDS = range(3)


def log_of() -> MemoryLog:
    """Items with newer versions, some of them folded, retracted or late; the writer repeats."""
    rng, log = random.Random(5), MemoryLog(Layout())
    writer = log.writer()
    writer.watermark("sentiment", T0 - MINUTE_US)
    items: list[tuple[str, str, int, str]] = []
    for label in range(T0, T0 + HOURS * HOUR_US, EVERY_MIN * MINUTE_US):
        minute = []
        for n in range(rng.randint(0, 3)):
            late = rng.choice((0, 0, 20, 90)) * MINUTE_US
            item = (rng.choice(SYMBOLS), f"{label}-{n}", label - late, rng.choice(("NEWS", "SOCIAL")))
            items.append(item)
            minute.append(item)
        minute += rng.sample(items, min(2, len(items)))
        bodies = [
            sentiment(
                symbol, name, t, scope=scope, version=label, score=rng.choice((-0.7, 0.0, 0.4)),
                author=rng.choice("xyz") if scope == "SOCIAL" else None,
                folded=scope == "NEWS" and rng.random() < 0.3,
                reason=rng.choice(("SCORED", "SCORED", "SCORED", "RETRACTED", "EMPTY_TEXT")),
            )
            for symbol, name, t, scope in minute
        ]  # fmt: skip
        for body in (*bodies, *bodies[:1]):
            writer.send("sentiment", body)
        writer.watermark("sentiment", label)
    return log


def digests(log: MemoryLog, tasks: list[SimTask]) -> dict[str, str]:
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in ("mentions", "surges")}
    for spec in STAGES.market:
        mine = [task for task in tasks if task.spec == spec]
        found[f"{spec.name} state"] = of_state({k: v for task in mine for k, v in task.disk.items()})
    return found


@cache
def clean() -> tuple[MemoryLog, dict[str, str]]:
    log = log_of()
    tasks = market_tasks(STAGES, log, CONFIG, xnys())
    drain(tasks)
    return log, digests(log, tasks)


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
