"""A stage that a user adds: every tool knows it from its entry and its folder."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams import topology as topologies
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain, tasks_of
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology, make
from tapedeck.tape.docs import render
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.funnel import funnel
from tapedeck.tape.recording import of_messages
from tapedeck.tape.why.report import why_from
from tapedeck.topics.catalogue import CATALOGUE, Layout, topic
from tests.support.paths import CONFIG, bodies, morning
from tests.support.whatifs import recorded

ECHO = StageSpec(
    name="echo",
    folder="tests.support.toy_stages.echo",
    trigger="decisions",
    outputs=("echoes",),
    doc="an echo of what acts",
)


@pytest.fixture
def topology() -> Iterator[Topology]:
    with CATALOGUE.scratch():
        CATALOGUE.declare(
            replace(topic("revision_audit"), name="echoes", owner="echo", natural_key=("symbol", "bar_t"))
        )
        yield Topology(*TOPOLOGY, ECHO)


@pytest.fixture
def log(topology: Topology) -> MemoryLog:
    """The morning's decisions with their echoes."""
    log = MemoryLog(Layout())
    writer = log.writer()
    decisions = bodies(morning().log, "decisions")
    writer.watermark("decisions", decisions[0]["bar_t"] - 60_000_000)
    for body in decisions:
        writer.send("decisions", body)
    drain(tasks_of(ECHO, make(ECHO, CONFIG, xnys()), log))
    return log


def echoes(log: MemoryLog) -> list[dict[str, Any]]:
    return [decode("revision_audit", m.value) for m in log.messages("echoes") if m.value is not None]


def test_its_records_are_computed_again_and_a_tampered_one_is_different(
    topology: Topology, log: MemoryLog
) -> None:
    messages = recorded(log)
    echo = echoes(log)[0]
    asked = echo["event_id"]
    found = explain_from(topology, MemorySource(Layout(), messages), CONFIG, asked)
    assert found.checks[asked].verdict is Verdict.SAME
    assert [node.found.topic for node in found if node.found][:2] == ["echoes", "decisions"]
    tampered = [
        m._replace(value=encode("revision_audit", echo | {"old_action": "BUY_PUT"}))
        if m.topic == "echoes" and decode("revision_audit", m.value)["event_id"] == asked
        else m
        for m in messages
        if m.topic != "echoes" or m.value is not None
    ]
    found = explain_from(topology, MemorySource(Layout(), tampered), CONFIG, asked)
    assert [each.field for each in found.checks[asked].differences] == ["old_action"]


def test_it_has_a_line_in_the_funnel(topology: Topology, log: MemoryLog) -> None:
    lines = {
        line.stage: line
        for line in funnel(topology, of_messages(topology, Layout(), [recorded(log)]), CONFIG, xnys())
    }
    acted = [body for body in bodies(log, "decisions") if body["action"] != "HOLD"]
    assert (lines["echo"].taken, lines["echo"].given) == (len(bodies(log, "decisions")), len(acted))
    assert lines["echo"].balanced and acted


def test_why_shows_what_it_made_of_a_decision(topology: Topology, log: MemoryLog) -> None:
    acted = next(body for body in bodies(log, "decisions") if body["action"] != "HOLD")
    told = [*recorded(morning().log), *(m for m in recorded(log) if m.topic == "echoes")]
    source = MemorySource(Layout(), told)
    found = why_from(topology, source, CONFIG, acted["symbol"], at=acted["bar_t"])
    places = [each.stage for each in found.passed]
    assert places.index("decisions") < places.index("echo") == len(places) - 1
    assert f"new_action {acted['action']}" in found.passed[-1].text


def test_its_reasons_and_topic_are_in_the_documents(topology: Topology) -> None:
    made = {
        name: render(f"<!-- generated: {name} -->\n<!-- end -->", topology)
        for name in ("words", "reasons", "topics", "topology")
    }
    assert "| echo | `SILENT` | a decision that holds makes no sound |" in made["words"]
    assert "Why a decision gave no echo." in made["reasons"]
    assert "`echoes`" in made["topics"] and "stage_echo[echo]" in made["topology"]


def test_a_stage_that_does_not_say_how_is_not_evaluated(
    topology: Topology, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = replace(topologies.definition_of(ECHO), again=None)
    monkeypatch.setattr("tests.support.toy_stages.echo.definition.DEFINITION", silent)
    topologies._imported.cache_clear()
    asked = echoes(log)[0]["event_id"]
    check = explain_from(topology, MemorySource(Layout(), recorded(log)), CONFIG, asked).checks[asked]
    topologies._imported.cache_clear()
    assert check.verdict is Verdict.NOT_EVALUATED and "does not say how" in check.why
