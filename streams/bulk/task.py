"""Rebuild tasks: a stage over one partition, a single stage, or one account, from recorded topics.

A task reads its inputs from a Source in log order, folds them, and gives the table as the shell would have
left it and the outputs as rows for a digest. With a sink the outputs are handed on as records of the log.
Stages with a columnar fold go through it; every other runs in the shell, record by record.
"""

from collections.abc import Iterable, Mapping

from tapedeck.streams.blocks import Source
from tapedeck.streams.bulk.job import Job, Progress, Result, Sink, Start, TaskId
from tapedeck.streams.bulk.shell import run_in_shell
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.features.bulk import FeaturesFold
from tapedeck.streams.stages.features.stage import FeaturesStage
from tapedeck.streams.stages.scores.bulk import ScoresFold
from tapedeck.streams.stages.scores.stage import ScoresStage
from tapedeck.streams.stages.signals.bulk import SignalsBulk
from tapedeck.streams.stages.signals.stage import SignalsStage
from tapedeck.streams.topology import TOPOLOGY, make_account, make_stage, spec_of
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import Layout

ACCOUNT = "account"


def tasks_of(stages: Iterable[str], layout: Layout, config: Config) -> list[TaskId]:
    """The tasks of ``stages`` in the topology's order. Raises Fatal for a stage that is not there."""
    wanted = {spec_of(name).name for name in stages}
    found: list[TaskId] = []
    for spec in TOPOLOGY:
        if spec.name not in wanted:
            continue
        if spec.name == ACCOUNT:
            for account in config.accounts:
                home = layout.partition(spec.trigger, {"account_id": account.account_id})
                found.append(TaskId(spec.name, home, account.account_id))
        elif spec.scale == "single":
            found.append(TaskId(spec.name, 0))
        else:
            found += [TaskId(spec.name, home) for home in range(layout.partitions(spec.trigger))]
    return found


def run_task(
    task: TaskId,
    config: Config,
    calendar: Calendar,
    source: Source,
    *,
    cut: Mapping[Part, int] | None = None,
    start: Start | None = None,
    sink: Sink | None = None,
    progress: Progress | None = None,
    origin: Origin | None = None,
    ingest_us: int = 0,
) -> Result:
    """Rebuild one task.

    ``cut``: the offset to stop before, per input partition; by default all that is there now. ``origin`` and
    ``ingest_us`` go into the headers of what a sink takes. Raises Fatal where the topics are not there or
    ``start`` is of another format or configuration, Retry where the broker goes silent.
    """
    whence = origin or Origin("rebuild", "", config.digest)
    job = Job(
        task, source, cut=cut, start=start, sink=sink, progress=progress, origin=whence, ingest_us=ingest_us
    )
    if task.account_id is not None:
        return run_in_shell(job, make_account(task.account_id, config, calendar))
    stage = make_stage(task.stage, config, calendar)
    if isinstance(stage, FeaturesStage):
        return FeaturesFold(stage, job).run()
    if isinstance(stage, ScoresStage):
        return ScoresFold(stage, job).run()
    if isinstance(stage, SignalsStage):
        return SignalsBulk(stage, job).run()
    return run_in_shell(job, stage)
