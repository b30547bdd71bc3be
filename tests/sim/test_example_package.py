"""The example package in memory: a signal of its own becomes an order, and every tool knows its stages."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.task import tasks_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import market_tasks
from tapedeck.streams.topology import Topology
from tapedeck.tape.docs import render
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.funnel import funnel
from tapedeck.tape.rebuild.verdict import Basis
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.tape.recording import of_messages as recording_of
from tapedeck.tape.whatif.diff import Part
from tapedeck.tape.whatif.whatif import whatif_from
from tapedeck.tape.why.report import why_from
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.cases import few
from tests.support.example import FOLDER, bodies, played
from tests.support.paths import ACCOUNTS, CONFIG, copied
from tests.support.whatifs import SOURCES, recorded

STRATEGY = "relative_strength"
OWN = ("strength", "rsignals")


@pytest.fixture(scope="module")
def source(example: Topology) -> MemorySource:
    return MemorySource(played(example).log.layout, recorded(played(example).log), size=97)


@cache
def left(example: Topology) -> dict[str, str]:
    """The digests of what the run left."""
    return played(example).digests()


def first_order(example: Topology) -> str:
    """The client id of the first order that a signal of the package's own led to."""
    own = {body["signal_id"] for body in bodies(played(example), "rsignals")}
    orders = bodies(played(example), "orders")
    return next(str(order["client_order_id"]) for order in orders if order["signal_id"] in own)


def test_its_signals_reach_every_account_beside_the_shipped_ones_and_trade(example: Topology) -> None:
    run = played(example)
    own, shipped = bodies(run, "rsignals"), bodies(run, "signals")
    assert own and shipped and {body["strategy"] for body in own} == {STRATEGY}
    everything = {body["signal_id"] for body in (*own, *shipped)}
    for account in ACCOUNTS:
        proposed = [p["signal_id"] for p in bodies(run, "proposals") if p["account_id"] == account]
        assert sorted(proposed) == sorted(everything)
    assert {body["strategy"] for body in bodies(run, "positions")} == {STRATEGY}
    assert list(run.log.messages("dead_letters")) == []


def test_an_order_of_its_own_signal_is_explained_back_to_the_bars(
    example: Topology, source: MemorySource
) -> None:
    found = explain_from(example, source, CONFIG, first_order(example))
    assert found.verdict is Verdict.SAME, found.text()
    path = {node.found.topic for node in found if node.found}
    assert {"orders", "proposals", "account_inbox", "rsignals", "strengths", "universe_means", "features",
            "bars"} <= path  # fmt: skip
    assert {check.verdict for check in found.checks.values()} == {Verdict.SAME}
    signal = next(node.found for node in found if node.found and node.found.topic == "rsignals")
    again = explain_from(example, source, CONFIG, signal.body["signal_id"])
    assert (again.kind, again.verdict) == ("signal", Verdict.SAME)
    assert "as relative_strength: OUTPERFORMS" in again.text() and "figures  close" in again.text()


def test_why_and_the_funnel_and_the_documents_know_it(example: Topology, source: MemorySource) -> None:
    signal = min(bodies(played(example), "rsignals"), key=lambda body: body["bar_t"])
    why = why_from(example, source, CONFIG, signal["symbol"], at=signal["bar_t"], account="large")
    assert [each.stage for each in why.outcomes][-1] in ("executions", "proposals")
    assert why.signals == 1
    recording = recording_of(example, source.layout, [recorded(played(example).log)])
    lines = {line.name: line for line in funnel(example, recording, CONFIG, xnys())}
    signals = len(bodies(played(example), "rsignals")) + len(bodies(played(example), "signals"))
    assert lines["rsignals"].given == len(bodies(played(example), "rsignals"))
    assert lines["proposals large"].taken == signals
    assert all(line.balanced for line in lines.values())
    made = render("<!-- generated: words -->\n<!-- end -->", example)
    assert "| rsignals | `IN_LINE` | the symbol moves with the universe |" in made


def test_a_what_if_leaves_its_signals_as_recorded_and_says_where_they_could_differ(
    example: Topology, source: MemorySource
) -> None:
    base = Config(accounts=EXAMPLE_ACCOUNTS)
    own = {body["signal_id"] for body in bodies(played(example), "rsignals")}
    document = base.model_dump(mode="python")
    shipped = Config.model_validate(document | {"signal": document["signal"] | {"swing_min": 0.9}})
    diff = whatif_from(example, source, base, shipped)
    proposals = {each.subject for each in diff.differences if each.part is Part.PROPOSAL}
    assert proposals and not proposals & own
    assert not any("stay as recorded" in note for note in diff.notes if "rsignals" in note)
    mine = Config.model_validate(document | {"user": {"relative_strength": {"threshold": 0.006}}})
    diff = whatif_from(example, source, base, mine)
    assert [change.path for change in diff.changes] == ["user.relative_strength.threshold"]
    assert [note for note in diff.notes if "rsignals" in note] == [
        "Signals of rsignals stay as recorded: a what-if compares decisions."
    ]


@pytest.mark.parametrize("seed", few(range(4), 1))
def test_crashes_leave_what_the_run_left(example: Topology, seed: int) -> None:
    log = copied(played(example).log, *SOURCES)
    tasks = market_tasks(example, log, CONFIG, xnys())
    assert run_schedule(tasks, seed).crashes > 0
    for spec in example.only(OWN):
        mine = {key: value for task in tasks if task.spec == spec for key, value in task.disk.items()}
        assert of_state(mine) == left(example)[f"{spec.name} state"], spec.name
        for name in spec.outputs:
            assert of_messages(name, log.messages(name)).hexdigest() == left(example)[name], name


@pytest.mark.parametrize("name", OWN)
def test_a_rebuild_gives_what_the_run_left(example: Topology, source: MemorySource, name: str) -> None:
    spec = example.stage(name)
    expected = {each: left(example)[each] for each in spec.outputs} | {
        "state": left(example)[f"{name} state"]
    }
    assert rebuild_stage(spec, source, CONFIG, xnys()).digests() == expected


@pytest.mark.parametrize("name", ["features", *OWN])
def test_verify_finds_that_a_table_which_stands_behind_an_opening_is_what_comes_out(
    example: Topology, name: str
) -> None:
    run = played(example)
    messages = [m for each in CATALOGUE for m in run.log.messages(each.name)]
    basis = Basis(CONFIG, xnys(), MemorySource(run.log.layout, messages, size=97), example)
    for task in tasks_of([example.stage(name)], run.log.layout, CONFIG):
        mine = next(t for t in run.stages if (t.spec.name, t.home) == (name, task.home))
        found = verify_task(task, basis, committed=dict(mine.committed))
        assert found.differences == [], task


def test_its_own_tests_pass_where_it_is_installed(example_site: Path) -> None:
    path = os.pathsep.join([str(example_site), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / "tests")]
    found = os.environ | {"PYTHONPATH": path}
    told = subprocess.run(command, env=found, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
