"""Tables of tasks for a snapshot (live at rest, or verified), and restored from one."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.groups import occupied
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.changelog import Values
from tapedeck.streams.columnar.job import Progress, TaskId
from tapedeck.streams.frame import unpack
from tapedeck.streams.logs import TopicIds
from tapedeck.tape.rebuild.apply import Plan, apply_group, last_watermark
from tapedeck.tape.rebuild.compared import uncompared
from tapedeck.tape.rebuild.live import applied_by
from tapedeck.tape.rebuild.rebuild import KafkaTarget, differences_of, run
from tapedeck.tape.rebuild.rest import at_rest
from tapedeck.tape.rebuild.snapshot import Fits, Snapshot, Table, newest_before, told
from tapedeck.tape.rebuild.work import Place, Verify
from tapedeck.topics.catalogue import WATERMARK_KEY


@dataclass(frozen=True)
class ReadTable:
    """The live table of a task at rest."""

    place: Place

    def __call__(self, task: TaskId, progress: Progress) -> Table:
        place = self.place
        live, _ = at_rest(task, place.basis.source, place.groups, place.group(task))
        return Table(task, live, applied_by(place.basis.source, task, live).cut, label_of(task, live))


def fits_of(place: Place) -> Fits:
    """What snapshots taken here belong to."""
    return Fits(cluster_id_of(place.cluster), place.layout, place.config.digest)


def begun_at(
    place: Place, tasks: Sequence[TaskId], time_us: int, folder: Path, say: Callable[[str], None]
) -> Place:
    """``place`` with the newest snapshot at or before ``time_us`` to start from, if there is one."""
    found = newest_before(folder, time_us, fits_of(place), tasks)
    if found is None:
        at = iso_time(time_us)
        say(f"no snapshot of these stages is at or before {at}; state is built from the first record")
        return replace(place, since=time_us)
    found.refuse_other_topics(place.basis.source.topic_ids(found.topic_ids))
    tables = found.tables(place.topology, place.layout)
    begins = {table.task: table.begin for table in tables if table.task in tasks}
    say(f"starting from the snapshot {' '.join(told(found).split())}")
    for task in tasks:
        if task not in begins:
            say(f"it does not hold {task}, which is built from the first record")
    return replace(place, begins=begins, since=time_us)


def ids_of(place: Place, tasks: Iterable[TaskId]) -> TopicIds:
    """The ids of the topics that ``tasks`` read, as far as they are known."""
    names = dict.fromkeys(name for task in tasks for name in task.spec.inputs)
    return place.basis.source.topic_ids(names)


def label_of(task: TaskId, values: Values) -> int | None:
    """The watermark of a table: the lowest of its trigger's."""
    marked = values.get((task.home, WATERMARK_KEY))
    if marked is None:
        return None
    return min((at for (rank, _), at in unpack(marked).cursors.items() if rank == 0), default=None)


def live_tables(place: Place, tasks: Sequence[TaskId], workers: int) -> list[Table]:
    """The live tables."""
    return run(ReadTable(place), place, tasks, workers, "reading tables")


def verified_tables(place: Place, tasks: Sequence[TaskId], workers: int) -> list[Table]:
    """The rebuilt tables. Raises Fatal if live differs or there was nothing to compare."""
    reports = run(Verify(place), place, tasks, workers, "verifying")
    for task, each in differences_of(reports):
        raise Fatal(
            f"live differs from a rebuild, so nothing was saved; the first difference is in {task}: {each}",
            remedy="`tape rebuild --verify` shows everything",
        )
    for nothing in uncompared((report.task, report.compared) for report in reports):
        raise Fatal(
            f"nothing of {nothing.task} could be compared, so nothing was saved: {nothing.why}",
            remedy=nothing.remedy,
        )
    return [Table(r.task, r.values, r.applied, label_of(r.task, r.values)) for r in reports]


def restore(
    snapshot: Snapshot, place: Place, tasks: Iterable[TaskId], say: Callable[[str], None]
) -> list[Plan]:
    """Restore a snapshot's tables. Raises Fatal, with nothing changed, if it belongs elsewhere, a group
    has members, or the outputs end before the snapshot."""
    snapshot.refuse_unless(fits_of(place))
    snapshot.refuse_other_topics(place.basis.source.topic_ids(snapshot.topic_ids))
    source, wanted = place.basis.source, set(tasks)
    plans = []
    for table in snapshot.tables(place.topology, place.layout):
        if table.task in wanted:
            _refuse_ahead(snapshot, table, place)
            whence = f"snapshot {snapshot.name}"
            plans.append(Plan(table.task, table.values, table.offsets, table.label, (), whence))
    if not plans:
        held = ", ".join(snapshot.manifest["digests"])
        raise Fatal(f"the snapshot {snapshot.name} holds none of these stages", remedy=f"it holds {held}")
    groups = {plan.task: place.group(plan.task) for plan in plans}
    for group in dict.fromkeys(groups.values()):
        if members := place.groups.members(group):
            raise occupied(group, members)
    now_ms = SystemClock().now() // 1000
    with closing(KafkaTarget(place.cluster)) as target:
        for group in dict.fromkeys(groups.values()):
            mine = [plan for plan in plans if groups[plan.task] == group]
            apply_group(mine, source, target, group, now_ms=now_ms, say=say)
    return plans


def _refuse_ahead(snapshot: Snapshot, table: Table, place: Place) -> None:
    source = place.basis.source
    ends = source.ends(sorted({name for name, _ in table.offsets}))
    for part, at in table.offsets.items():
        first, end = ends[part]
        if not first <= at <= end:
            raise Fatal(
                f"the snapshot {snapshot.name} resumes at {part[0]}/{part[1]}@{at}, which is no longer kept",
                value=f"offsets {first} to {end}",
                remedy="the topic was recreated, or its retention has passed: rebuild instead",
            )
    if table.task.account_id is None and table.label is not None:
        reached = last_watermark(source, table.task)
        if reached is None or reached < table.label:
            raise Fatal(
                f"the outputs of {table.task} end before the snapshot {snapshot.name}",
                value=f"watermark {reached}, the snapshot is at {table.label}",
                remedy="a table must not be ahead of its outputs: rebuild instead",
            )
