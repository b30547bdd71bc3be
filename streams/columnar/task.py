"""Rebuild tasks: a stage over one partition, a single stage, or one account, from recorded topics.

A task reads its inputs from a Source in log order and folds them. It returns the table as the shell would
have left it, and the outputs as rows for a digest. With a sink, the outputs are also passed on as log
records. Stages with a columnar fold use it; all others run in the shell, record by record.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO

from tapedeck.streams.blocks import Source
from tapedeck.streams.columnar.job import Job, Progress, Result, Sink, Start, TaskId
from tapedeck.streams.columnar.rows import Spool
from tapedeck.streams.columnar.shell import run_in_shell
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import definition_of
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import Layout


def tasks_of(stages: Iterable[StageSpec], layout: Layout, config: Config) -> list[TaskId]:
    """The tasks of ``stages``, in their order."""
    found: list[TaskId] = []
    for spec in stages:
        if spec.per_account:
            found += [account_task(spec, account.account_id, layout) for account in config.accounts]
        elif spec.scale == "single":
            found.append(TaskId(spec, 0))
        else:
            found += [TaskId(spec, home) for home in range(layout.partitions(spec.trigger))]
    return found


def account_task(spec: StageSpec, account_id: str, layout: Layout) -> TaskId:
    """The task of one account."""
    return TaskId(spec, layout.partition(spec.trigger, {"account_id": account_id}), account_id)


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
    spool: Spool = BytesIO,
) -> Result:
    """Rebuild one task.

    ``cut``: the offset to stop before, per input partition; the default is the current end. ``origin`` and
    ``ingest_us`` go into the headers of the sink's records. ``spool`` opens a file for rows beyond about a
    million, which otherwise stay in memory. Raises Fatal if the topics are missing or ``start`` has
    another format or configuration, Retry where the broker stops answering.
    """
    whence = origin or Origin("rebuild", "", config.digest)
    job = Job(
        task, source, cut=cut, start=start, sink=sink, progress=progress, origin=whence, ingest_us=ingest_us,
        spool=spool,
    )  # fmt: skip
    definition = definition_of(task.spec)
    stage = definition.make(config, calendar, task.account_id)
    if definition.columnar is None:
        return run_in_shell(job, stage)
    return definition.columnar.run(stage, job)
