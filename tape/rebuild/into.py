"""A second pipeline next to the live one: sources copied, stages rebuilt with outputs, tables and offsets.

The prefix's topics must be empty. Everything that no rebuilt stage writes is copied unchanged. Then the
stages run in the topology's order, each over the topics of the prefix. Workers that are started with this
TAPE_PREFIX continue from there.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from tempfile import TemporaryFile

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.dispatch.inputs import routed
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.columnar.job import Progress, TaskId
from tapedeck.streams.columnar.task import run_task
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import Origin, Wire
from tapedeck.tape.rebuild.pool import run_all
from tapedeck.tape.rebuild.progress import Told
from tapedeck.tape.rebuild.rebuild import KafkaTarget, run
from tapedeck.tape.rebuild.work import Place, Report
from tapedeck.topics.catalogue import CATALOGUE

_LEFT_OUT = ("heartbeats", "dead_letters")


@dataclass(frozen=True)
class Write:
    """Rebuild one task of the prefix and write its outputs."""

    place: Place

    def __call__(self, task: TaskId, progress: Progress) -> Report:
        place = self.place
        origin = Origin("rebuild", code_version(), place.config.digest)
        with BulkWriter(place.cluster) as writer:
            result = run_task(
                task, *place.basis[:3], sink=writer.write, progress=progress, origin=origin,
                ingest_us=SystemClock().now(), spool=TemporaryFile)  # fmt: skip
        return place.report(result, 0.0)


@dataclass(frozen=True)
class Copy:
    """Copy one topic partition from the live pipeline into the prefix."""

    live: Cluster
    into: Cluster

    def __call__(self, task: tuple[Part, int, int], progress: Progress) -> int:
        part, first, end = task
        copied = 0
        with (
            KafkaSource(self.live) as source,
            BulkWriter(self.into) as writer,
        ):
            for block in source.stream(part, first, end):
                writer.write(block)
                copied += len(block)
                progress(len(block))
        return copied


def copied_topics(topology: Topology, stages: Iterable[StageSpec]) -> tuple[str, ...]:
    """The topics that no stage of ``stages`` writes: sources, and outputs of the other stages."""
    written = {name for spec in stages for name in spec.outputs}
    left_out = {*written, *topology.changelogs, *_LEFT_OUT}
    return tuple(each.name for each in CATALOGUE if each.name not in left_out)


def rebuild_into(
    live: Place, prefix: str, tasks: Sequence[TaskId], workers: int, say: Callable[[str], None]
) -> list[Report]:
    """Write a pipeline under ``prefix``.

    Raises Fatal for the live prefix and for topics that are not empty.
    """
    place = replace(live, cluster=live.cluster.under(prefix))
    if prefix == live.layout.prefix:
        raise Fatal("this is the prefix of the live pipeline", value=prefix, remedy="choose another")
    ensure(place.cluster)
    ends = place.basis.source.ends([each.name for each in CATALOGUE])
    if full := sorted(f"{name}/{part}" for (name, part), (_, end) in ends.items() if end):
        raise Fatal(
            f"the prefix {prefix} is not empty: {len(full)} partitions hold records",
            value=full[0],
            remedy="choose another prefix, or delete its topics",
        )
    stages = list(dict.fromkeys(task.stage for task in tasks))
    written = {task.spec for task in tasks}
    _copy(live, place.cluster, copied_topics(live.topology, written), workers)
    say(f"sources copied into {prefix}")
    reports = []
    for stage in stages:
        mine = [task for task in tasks if task.stage == stage]
        reports += run(Write(place), place, mine, workers, stage)
        say(f"{stage} written")
    with closing(KafkaTarget(place.cluster)) as target:
        for report in reports:
            target.write(_table(report))
            target.commit(place.group(report.task), report.applied | _routed(place, report.task))
    return reports


def _routed(place: Place, task: TaskId) -> dict[Part, int]:
    """A dispatcher has also read the signals and controls in its inbox."""
    if task.account_id is None:
        return {}
    return {part: end for part, (_, end) in place.basis.source.ends(routed(place.topology)).items()}


def _copy(live: Place, into: Cluster, names: Sequence[str], workers: int) -> None:
    bounds = live.basis.source.ends(names)
    parts = [(part, first, end) for part, (first, end) in bounds.items() if end > first]
    parts.sort(key=lambda each: each[1] - each[2])
    with Told(sum(end - first for _, first, end in parts), "copying") as told:
        for _ in run_all(Copy(live.cluster, into), parts, workers, told.advance):
            pass


def _table(report: Report) -> list[Wire]:
    """The values as a worker would have written them, the ``~watermark`` value last."""
    name, now_ms = report.task.spec.changelog, SystemClock().now() // 1000
    values = sorted(report.values.items(), key=lambda each: (each[0][1].startswith(b"~"), each[0]))
    return [Wire(name, partition, key, value, now_ms, []) for (partition, key), value in values]
