"""Windows over hours of news: crashes and a rebuild leave the same, and records explain themselves."""

import random
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.explain.tree import MOST
from tapedeck.tape.funnel import funnel
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.tape.recording import of_messages as recording_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.sentiment import T0, minute, score
from tests.support.whatifs import recorded

NAME = "sentiment_windows"
STAGE = Topology(TOPOLOGY.stage(NAME))
CONFIG = Config()
MINUTES, QUIET = 120, 65
SYMBOLS = ("AMD", "BAC", "NVDA", "WMT")
EXTRAS: tuple[dict[str, Any], ...] = (
    {}, {}, {"score": -0.4}, {"score": 0.01}, {"confidence": 0.5}, {"score": None}, {"folded": True},
    {"scope": "SOCIAL"},
)  # fmt: skip


def log_of() -> MemoryLog:
    """Articles with newer versions, some late, retracted, folded or of another scope; the writer repeats."""
    rng, log = random.Random(3), MemoryLog(Layout())
    writer = log.writer()
    writer.watermark("sentiment", T0 - MINUTE_US)
    items: list[tuple[str, str, int]] = []
    sent: list[dict[str, Any]] = []
    for n in range(MINUTES):
        if rng.random() < 0.4:
            ago = rng.choice((0, 0, 5, 45, 80, -2))
            items.append((rng.choice(SYMBOLS), f"{n}", minute(n - ago)))
            sent.append(score(items[-1][0], items[-1][1], at=items[-1][2], version=n, **rng.choice(EXTRAS)))
            writer.send("sentiment", sent[-1])
        if items and rng.random() < 0.2:
            symbol, item, at = rng.choice(items[-8:])
            sent.append(score(symbol, item, at=at, version=n, **rng.choice(EXTRAS)))
            writer.send("sentiment", sent[-1])
        if items and rng.random() < 0.1:
            symbol, item, at = items[-1]
            writer.send("sentiment", score(symbol, item, at=at, version=-1))
        if sent and rng.random() < 0.1:
            writer.send("sentiment", rng.choice(sent))
        if n % 10 != 7:  # labels may jump
            writer.watermark("sentiment", minute(n))
    for n in range(MINUTES, MINUTES + QUIET):
        writer.watermark("sentiment", minute(n))
    return log


def digests(log: MemoryLog, tasks: Iterable[SimTask]) -> dict[str, str]:
    state = of_state({key: value for task in tasks for key, value in task.disk.items()})
    return {NAME: of_messages(NAME, log.messages(NAME)).hexdigest(), "state": state}


@cache
def clean() -> tuple[MemoryLog, dict[str, str]]:
    log = log_of()
    tasks = market_tasks(STAGE, log, CONFIG, xnys())
    drain(tasks)
    return log, digests(log, tasks)


def windows() -> list[dict[str, Any]]:
    return [decode(NAME, m.value) for m in clean()[0].messages(NAME) if m.value is not None]


def test_rebuild_gives_what_the_sim_left() -> None:
    log, expected = clean()
    source = MemorySource(log.layout, (m for each in CATALOGUE for m in log.messages(each.name)), size=97)
    rebuilt = rebuild_stage(STAGE.stage(NAME), source, CONFIG, xnys())
    assert {NAME: rebuilt.outputs[NAME].hexdigest(), "state": rebuilt.state} == expected
    assert {body["symbol"] for body in windows()} == set(SYMBOLS) and len(windows()) > 50
    assert {0, 1, 2} <= {body["n_60"] for body in windows()}


@pytest.mark.parametrize("seed", range(4))
def test_crashes_and_redelivery_leave_what_a_run_without_them_leaves(seed: int) -> None:
    log = log_of()
    tasks = market_tasks(STAGE, log, CONFIG, xnys())
    faults = run_schedule(tasks, seed, crash_share=0.3)
    assert faults.crashes > 0 and faults.redelivered > 0
    assert digests(log, tasks) == clean()[1]


def test_every_record_is_computed_again_from_the_scores_that_it_names() -> None:
    source = MemorySource(Layout(), recorded(clean()[0]))
    for body in windows()[::7]:
        found = explain_from(STAGE, source, CONFIG, body["event_id"])
        assert found.verdict is Verdict.SAME, found.text()
        assert {node.found.topic for node in found if node.found} <= {NAME, "sentiment"}
        assert "no stage of this topology writes" not in found.text()


def test_of_many_scores_the_newest_are_shown_and_the_others_on_demand() -> None:
    log = MemoryLog(Layout())
    writer = log.writer()
    writer.watermark("sentiment", T0 - MINUTE_US)
    for n in range(MOST + 4):
        writer.send("sentiment", score(item=f"{n}", at=T0 - n * MINUTE_US))
    writer.watermark("sentiment", T0)
    drain(market_tasks(STAGE, log, CONFIG, xnys()))
    (body,) = (decode(NAME, m.value) for m in log.messages(NAME) if m.value is not None)
    source = MemorySource(Layout(), recorded(log))
    found = explain_from(STAGE, source, CONFIG, body["event_id"])
    (root,) = found.roots
    shown = [node.found.body["event_time"] for node in root.inputs if node.found]
    assert sorted(shown) == [T0 - n * MINUTE_US for n in reversed(range(MOST))]
    assert "4 more of sentiment" in found.text() and found.verdict is Verdict.SAME
    whole = explain_from(STAGE, source, CONFIG, body["event_id"], everything=True)
    assert len(whole.roots[0].inputs) == MOST + 4


def test_a_changed_score_makes_its_windows_different() -> None:
    counted = next(body for body in windows() if body["n_60"])

    def other(message: Message) -> Message:
        if message.topic != "sentiment" or message.value is None:
            return message
        body = decode("sentiment", message.value)
        return message._replace(value=encode("sentiment", body | {"score": 0.123, "label": "POSITIVE"}))

    source = MemorySource(Layout(), map(other, recorded(clean()[0])))
    check = explain_from(STAGE, source, CONFIG, counted["event_id"]).checks[counted["event_id"]]
    assert check.verdict is Verdict.DIFFERENT and "avg_60" in check.why


def test_the_funnel_says_why_each_score_counted_nowhere() -> None:
    recording = recording_of(STAGE, Layout(), [recorded(clean()[0])])
    (line,) = (each for each in funnel(STAGE, recording, CONFIG, xnys()) if each.stage == NAME)
    assert line.balanced and line.given > 20, line
    assert {"DUPLICATE", "RETRACTED", "FOLDED", "OUT_OF_SCOPE", "TOO_OLD", "SUPERSEDED"} <= set(line.reasons)
