"""What a worker process does with one task, and the report that it returns."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.streams.changelog import Values
from tapedeck.streams.columnar.job import Progress, Result, TaskId, inputs_of
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import run_task
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part
from tapedeck.streams.sessions import xnys
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.apply import Plan, plan_task
from tapedeck.tape.rebuild.live import group_of
from tapedeck.tape.rebuild.rest import at_rest
from tapedeck.tape.rebuild.verdict import Basis, Begin, Compared, Difference
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.topics.catalogue import Layout


class Saved(NamedTuple):
    """The rows of an output partition in a file: ``load`` reads them back, however many there are."""

    path: Path
    bounds: list[int]

    def load(self) -> Rows:
        return Rows.load(self.path.open("rb"), self.bounds)


@dataclass
class Report:
    """The result of one task. ``cpu_s``: its CPU time; ``outputs``: rebuilt rows by output partition."""

    task: TaskId
    values: Values
    outputs: dict[Part, Saved]
    watermark: int | None
    applied: dict[Part, int]
    cpu_s: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    begin: Begin | None = None
    compared: Compared = field(default_factory=Compared)


@dataclass(frozen=True)
class Place:
    """The cluster and the work to do. ``spool``: a folder for rows; ``begins``: snapshots by task;
    ``since``: micros, earlier outputs are not compared."""

    cluster: Cluster
    topology: Topology
    config: Config
    spool: Path
    begins: Mapping[TaskId, Begin] = field(default_factory=dict)
    since: int = 0

    @property
    def layout(self) -> Layout:
        return self.cluster.layout

    @cached_property
    def basis(self) -> Basis:
        return Basis(self.config, xnys(), KafkaSource(self.cluster), self.topology)

    @cached_property
    def groups(self) -> KafkaGroups:
        return KafkaGroups(self.cluster)

    def __getstate__(self) -> dict[str, Any]:
        """Connections stay in the process that made them."""
        return {k: v for k, v in self.__dict__.items() if k not in ("basis", "groups")}

    def group(self, task: TaskId) -> str:
        """The full name of the task's consumer group."""
        return group_of(task, self.layout)

    def report(self, result: Result, began: float) -> Report:
        """The result with its rows in the spool."""
        outputs = {}
        for (name, partition), rows in result.outputs.items():
            path = self.spool / f"{result.task.stage}-{result.task.home}-{name}-{partition}.rows"
            if result.task.account_id is not None:
                path = path.with_name(f"{result.task.account_id}-{path.name}")
            with path.open("wb") as file:
                outputs[name, partition] = Saved(path, rows.save(file))
        cpu_s = time.process_time() - began
        begin = self.begins.get(result.task)
        return Report(
            result.task, result.values, outputs, result.watermark, result.applied, cpu_s, begin=begin
        )


@dataclass(frozen=True)
class Compute:
    """Rebuild only."""

    place: Place

    def __call__(self, task: TaskId, progress: Progress) -> Report:
        began, begin = time.process_time(), self.place.begins.get(task)
        start = begin.start if begin else None
        return self.place.report(
            run_task(task, *self.place.basis[:3], start=start, progress=progress, spool=TemporaryFile), began
        )


@dataclass(frozen=True)
class Verify:
    """Rebuild and compare with live."""

    place: Place

    def __call__(self, task: TaskId, progress: Progress) -> Report:
        began, place = time.process_time(), self.place
        live, committed = at_rest(task, place.basis.source, place.groups, place.group(task))
        verdict = verify_task(
            task, place.basis, committed=committed, live=live, begin=place.begins.get(task),
            since=place.since, progress=progress,
        )  # fmt: skip
        report = place.report(verdict.result, began)
        report.differences, report.compared = verdict.differences, verdict.compared
        return report


@dataclass(frozen=True)
class Prepare:
    """Rebuild up to where outputs are complete, for an apply."""

    place: Place

    def __call__(self, task: TaskId, progress: Progress) -> Plan:
        place = self.place
        committed = place.groups.committed(place.group(task), inputs_of(task, place.layout))
        begin = place.begins.get(task)
        return plan_task(task, place.basis, committed=committed, begin=begin, progress=progress)
