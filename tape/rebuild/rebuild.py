"""A whole rebuild: the tasks of some stages in worker processes, and their results, stage by stage."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups, occupied
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.columnar.job import TaskId, inputs_of
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import tasks_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import of_state
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import Wire
from tapedeck.tape.rebuild.apply import Plan, apply_group
from tapedeck.tape.rebuild.pool import Work, run_all
from tapedeck.tape.rebuild.progress import Told
from tapedeck.tape.rebuild.verdict import STATE, Difference
from tapedeck.tape.rebuild.work import Place, Prepare, Report
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

A = TypeVar("A")


@dataclass(frozen=True, kw_only=True)
class Line:
    """An output topic, or the table, of one stage or account: how many rows or keys, and their digest."""

    stage: str
    what: str
    records: int
    digest: str


class KafkaTarget(KafkaGroups):
    """How an apply writes to the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._outbox = Outbox(cluster, "rebuild", linger_ms=5)

    def write(self, wires: Iterable[Wire]) -> None:
        """Append and wait for the acknowledgements. Raises Retry if they do not come."""
        self._outbox.write(wires)

    def close(self) -> None:
        self._outbox.close()


@contextmanager
def spooled(place: Place) -> Iterator[Place]:
    """``place`` with a folder for rows, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="tape-rebuild-") as folder:
        yield replace(place, spool=Path(folder))


def tasks_for(
    topology: Topology, stages: Sequence[str], layout: Layout, config: Config, account: str | None
) -> list[TaskId]:
    """The tasks of ``stages``, by default all, of every account or one. Raises Fatal for unknown names."""
    of_accounts = topology.accounts
    wanted = topology.only(stages) if stages else of_accounts if account else topology.stages
    names = ", ".join(spec.name for spec in wanted)
    if account is not None and not set(of_accounts).intersection(wanted):
        remedy = f"add the stage {of_accounts[0].name}, or leave out --account"
        raise Fatal("--account does not apply to these stages", value=names, remedy=remedy)
    if account is not None:
        config.account(account)
    found = tasks_of(wanted, layout, config)
    if account is not None:
        found = [task for task in found if task.account_id in (None, account)]
    if not found:
        remedy = "configure an account, or name another stage"
        raise Fatal("there is nothing to rebuild", value=names, remedy=remedy)
    return found


def run(work: Work[TaskId, A], place: Place, tasks: Sequence[TaskId], workers: int, what: str) -> list[A]:
    """The results of ``work`` for ``tasks``, in their order; the largest starts first."""
    names = sorted({name for task in tasks for name, _ in inputs_of(task, place.layout)})
    ends = place.basis.source.ends(names)
    sizes = {task: sum(ends[p][1] - ends[p][0] for p in inputs_of(task, place.layout)) for task in tasks}
    largest = sorted(tasks, key=lambda task: -sizes[task])
    found = {}
    with Told(sum(sizes.values()), what) as told:
        for task, answer in run_all(work, largest, workers, told.advance):
            found[task] = answer
    return [found[task] for task in tasks]


def lines_of(reports: Sequence[Report]) -> Iterator[Line]:
    """A line per output topic and table, of every stage or account, in the order of ``reports``."""
    stages: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        stages[stage_of(report.task)].append(report)
    for stage, mine in stages.items():
        outputs: dict[str, Rows] = {}
        for report in mine:
            for (name, _), saved in report.outputs.items():
                outputs.setdefault(name, Rows(tempfile.TemporaryFile)).absorb(saved.load())
        for name, rows in outputs.items():
            yield Line(stage=stage, what=name, records=len(rows), digest=rows.hexdigest())
        values = {key: value for report in mine for (_, key), value in report.values.items()}
        keys = {key for report in mine for _, key in report.values if key != WATERMARK_KEY}
        yield Line(stage=stage, what=STATE, records=len(keys), digest=of_state(values))


def stage_of(task: TaskId) -> str:
    """The display name of a task's stage or account."""
    return f"{task.stage} {task.account_id}" if task.account_id else task.stage


def differences_of(reports: Iterable[Report]) -> list[tuple[TaskId, Difference]]:
    """Every difference, in the topology's order: a fault shows first in the earliest stage."""
    return [(report.task, each) for report in reports for each in report.differences]


def apply(place: Place, tasks: Sequence[TaskId], workers: int, say: Callable[[str], None]) -> list[Plan]:
    """Rebuild and activate. Raises Fatal, with nothing changed, if a group has members or an output
    differs."""
    groups = {task: place.group(task) for task in tasks}
    for group in dict.fromkeys(groups.values()):
        if members := place.groups.members(group):
            raise occupied(group, members)
    plans = run(Prepare(place), place, tasks, workers, "rebuilding")
    now_ms = SystemClock().now() // 1000
    with closing(KafkaTarget(place.cluster)) as target:
        for group in dict.fromkeys(groups.values()):
            mine = [plan for plan in plans if groups[plan.task] == group]
            apply_group(mine, place.basis.source, target, group, now_ms=now_ms, say=say)
    return plans
