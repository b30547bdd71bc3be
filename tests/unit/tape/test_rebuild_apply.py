"""An apply that is interrupted anywhere leaves the old table in force, and one that is not, the new one."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.columnar.task import tasks_of
from tapedeck.streams.frame import pack, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import make
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Wire
from tapedeck.tape.rebuild.apply import Plan, apply_group, last_watermark, plan_task
from tapedeck.tape.rebuild.live import read_changelog
from tapedeck.tape.rebuild.verdict import Basis
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY
from tests.support.paths import wire
from tests.support.rebuilds import LAYOUT, Recorded, recorded
from tests.support.sim_tapes import CONFIG

GROUP = "tapedeck-test"
POINTS = 20


class Interrupted(Exception):
    """The process dies here."""


class MemoryTarget:
    """A cluster in memory that an apply writes: it may die before any single record or commit."""

    def __init__(self, recording: Recorded, committed: Mapping[Part, int | None]) -> None:
        self.log = MemoryLog(LAYOUT)
        for part in sorted(recording.messages):
            for message in recording.messages[part]:
                self.log.append(wire(message))
        self.offsets = dict(committed)
        self.left: int | None = None
        self.effects = 0
        self.joined: list[str] = []

    @property
    def source(self) -> MemorySource:
        return MemorySource(LAYOUT, (m for each in CATALOGUE for m in self.log.messages(each.name)))

    def _effect(self) -> None:
        self.effects += 1
        if self.left is not None and self.effects > self.left:
            raise Interrupted

    def members(self, group: str) -> list[str]:
        return self.joined

    def committed(self, group: str, parts: Iterable[Part]) -> dict[Part, int | None]:
        return {part: self.offsets.get(part) for part in parts}

    def commit(self, group: str, offsets: Mapping[Part, int]) -> None:
        self._effect()
        self.offsets |= offsets

    def write(self, wires: Iterable[Wire]) -> None:
        for each in wires:
            self._effect()
            self.log.append(each)


class Live:
    """Reads through a target: its log grows while it is applied to."""

    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target.source, name)


def damaged(stage: str) -> Recorded:
    """The recording with one value of the stage's table changed."""
    held = {p: m for p, m in sorted(recorded().messages.items()) if p[0] == TOPOLOGY.stage(stage).changelog}
    part, place = max(
        (p, k) for p, found in held.items() for k, m in enumerate(found) if m.key != WATERMARK_KEY
    )
    messages = list(held[part])
    epoch, cursors, body, _ = unpack(messages[place].value or b"")
    messages[place] = messages[place]._replace(value=pack(epoch, cursors, body[:-2] + b"!!"))
    return recorded().with_messages(part, messages)


def tasks(stage: str) -> list[TaskId]:
    return tasks_of([TOPOLOGY.stage(stage)], LAYOUT, CONFIG)


def planned(recording: Recorded, stage: str) -> list[Plan]:
    basis = recording.basis()
    return [plan_task(task, basis, committed=recording.committed[task]) for task in tasks(stage)]


def target_of(recording: Recorded, stage: str) -> MemoryTarget:
    committed = {part: at for task in tasks(stage) for part, at in recording.committed[task].items()}
    return MemoryTarget(recording, committed)


def applied(target: MemoryTarget, plans: list[Plan]) -> None:
    apply_group(plans, Live(target), target, GROUP, now_ms=0)


def table(source: Any, task: TaskId) -> dict[tuple[int, bytes], tuple[object, bytes]]:
    values = read_changelog(source, task).values()
    return {at: unpack(value)[1:3] for at, value in values.items()}


def rest(target: MemoryTarget, stage: str) -> None:
    """A worker starts on an empty disk, from the group's offsets, and runs to the end of its inputs."""
    spec = TOPOLOGY.stage(stage)
    for task in tasks(stage):
        homes = tuple(range(LAYOUT.partitions(spec.trigger))) if spec.scale == "single" else (task.home,)
        sim = SimTask(spec, make(TOPOLOGY.stage(stage), CONFIG, xnys()), target.log, homes)
        sim.committed |= {part: target.offsets.get(part) or 0 for part in sim.committed}
        sim.restart(empty_disk=True)
        drain([sim])
        target.offsets |= sim.committed


@pytest.mark.parametrize("stage", ["features", "scores", "signals"])
def test_an_apply_repairs_a_damaged_table_and_the_worker_goes_on_from_it(stage: str) -> None:
    recording = damaged(stage)
    plans, target = planned(recording, stage), target_of(recording, stage)
    assert sum(len(plan.repairs) for plan in plans) == 1
    applied(target, plans)
    rest(target, stage)
    for task in tasks(stage):
        verdict = verify_task(task, Basis(CONFIG, xnys(), target.source, TOPOLOGY), committed=target.offsets)
        assert verdict.differences == []
        assert verdict.result.watermark is not None


@pytest.mark.parametrize("seed", range(POINTS))
def test_an_interrupted_apply_leaves_the_old_table_in_force(seed: int) -> None:
    stage = ("features", "scores")[seed % 2]
    recording = damaged(stage)
    plans, whole = planned(recording, stage), target_of(recording, stage)
    applied(whole, plans)
    target = target_of(recording, stage)
    target.left = seed * (whole.effects - 1) // (POINTS - 1)
    before = {task: table(target.source, task) for task in tasks(stage)}
    with pytest.raises(Interrupted):
        applied(target, plans)
    for task in tasks(stage):
        now = table(target.source, task)
        assert now in (before[task], table(whole.source, task))
        for part, at in recording.committed[task].items():
            assert (target.offsets[part] or 0) <= (at or 0)
    target.left = None
    applied(target, plans)
    for task in tasks(stage):
        assert table(target.source, task) == table(whole.source, task)
    assert target.offsets == whole.offsets


def test_a_worker_that_starts_after_an_interruption_loses_no_record() -> None:
    """At every point between the offsets and the switch of one partition and the next."""
    recording = damaged("features")
    plans, whole = planned(recording, "features"), target_of(recording, "features")
    applied(whole, plans)
    rest(whole, "features")
    for left in range(whole.effects - 8, whole.effects):
        target = target_of(recording, "features")
        target.left = left
        with suppress(Interrupted):
            applied(target, plans)
        target.left = None
        rest(target, "features")
        for task in tasks("features"):
            cursors = {at: value[0] for at, value in table(target.source, task).items()}
            assert cursors == {at: value[0] for at, value in table(whole.source, task).items()}


def test_an_apply_is_refused_while_the_group_has_members() -> None:
    target = target_of(recorded(), "scores")
    target.joined = ["faust-1 at here"]
    with pytest.raises(Fatal, match=r"has members.*faust-1.*tape down"):
        applied(target, planned(recorded(), "scores"))
    assert target.effects == 0


def test_an_apply_is_refused_where_an_output_differs() -> None:
    part = ("scores", 0)
    messages = list(recorded().messages[part])
    dropped = messages.pop(next(k for k, m in enumerate(messages) if m.value is not None))
    changed = recorded().with_messages(part, messages)
    with pytest.raises(Fatal, match=r"MISSING scores/0.*--into"):
        planned(changed, "scores")
    assert dropped.value is not None


def test_the_cut_is_the_last_watermark_of_all_outputs() -> None:
    (task,) = tasks("watchlist")
    part = ("memberships", 2)
    messages = list(recorded().messages[part])
    marks = [k for k, m in enumerate(messages) if readable_label(m) is not None]
    shorter = recorded().with_messages(part, messages[: marks[-2] + 1])
    label = last_watermark(shorter.basis().source, task)
    whole = last_watermark(recorded().basis().source, task)
    assert label is not None and whole is not None and label < whole
    plan = plan_task(task, shorter.basis(), committed=shorter.committed[task])
    assert plan.label == label
