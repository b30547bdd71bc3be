"""Activate a rebuilt table in place of the live one, in one step; the old one stays active until then.

Per consumer group, which must be empty:

1. an unfinished earlier apply is completed or undone, as the worker would do it;
2. every value is staged next to the table, in an epoch above all others, and acknowledged;
3. the group's offsets are set back to what both tables need; the broker refuses if the group has a member;
4. the commit record of each task switches it to the staged values (``streams.changelog``);
5. the offsets are set to the new table's, and the table is read back.

The cut is the last watermark that is in every output partition, so that state is never ahead of its outputs.
An account has one value and no watermark: its live cursor is the cut, and one record switches it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Protocol

import numpy as np

from tapedeck.connectors.kafka.groups import occupied
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Block, Source
from tapedeck.streams.changelog import (
    APPLIED_KEY,
    Changelog,
    Values,
    at_epoch,
    commit_of,
    settle,
    staged_records,
)
from tapedeck.streams.columnar.arrays import UNREADABLE, labels_of
from tapedeck.streams.columnar.job import Progress, TaskId, inputs_of, outputs_of
from tapedeck.streams.columnar.task import run_task
from tapedeck.streams.frame import pack, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.wire import Wire
from tapedeck.tape.rebuild.live import (
    Applied,
    applied_by,
    locate,
    position_of,
    read_changelog,
    read_rows,
    table_partitions,
)
from tapedeck.tape.rebuild.verdict import Basis, Begin, Difference, Verdict
from tapedeck.tape.rebuild.verify import output_differences, table_differences
from tapedeck.topics.catalogue import topic


class Target(Protocol):
    """How an apply writes to the cluster; each call returns when it is acknowledged."""

    def members(self, group: str) -> list[str]: ...

    def committed(self, group: str, parts: Iterable[Part]) -> dict[Part, int | None]: ...

    def commit(self, group: str, offsets: Mapping[Part, int]) -> None: ...

    def write(self, wires: Iterable[Wire]) -> None: ...


@dataclass(frozen=True)
class Plan:
    """The table to activate. ``offsets``: where the group resumes per input partition; ``label``: the table's
    watermark; ``repairs``: how the live table differs; ``whence``: its origin, for the logs."""

    task: TaskId
    values: Values
    offsets: Mapping[Part, int]
    label: int | None
    repairs: Sequence[Difference]
    whence: str = "rebuild"


def plan_task(
    task: TaskId,
    basis: Basis,
    *,
    committed: Mapping[Part, int | None],
    begin: Begin | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Rebuild a task up to where its outputs are complete.

    Raises Fatal, naming the first difference, if they differ.
    """
    live = read_changelog(basis.source, task).values()
    applied = applied_by(basis.source, task, live)
    label = None if task.account_id else _whole_label(basis.source, task)
    cut = _account_cut(task, basis, live, applied) if label is None else cut_at(basis.source, task, label)
    start = begin.start if begin else None
    result = run_task(task, *basis[:3], cut=cut, start=start, progress=progress, spool=TemporaryFile)
    found = Verdict(task, result, live, cut, begin)
    _refuse(task, output_differences(basis, found))
    if any(applied.cut[part] != at for part, at in cut.items()):
        at_live = run_task(task, *basis[:3], cut=applied.cut, start=start, spool=TemporaryFile)
        found = Verdict(task, at_live, live, applied.cut, begin)
    repairs = table_differences(basis.source, found, applied.beyond, committed)
    return Plan(task, result.values, result.applied, label, repairs)


def _refuse(task: TaskId, differences: Sequence[Difference]) -> None:
    if differences:
        raise Fatal(
            f"{task} has outputs that a rebuild does not produce, {len(differences)} in all; a table cannot "
            f"repair them, so nothing was changed. The first: {differences[0]}",
            remedy="use the release and configuration that wrote them, or a new pipeline (--into PREFIX)",
        )


def _whole_label(source: Source, task: TaskId) -> int:
    label = last_watermark(source, task)
    if label is None:
        raise Fatal(
            f"{task} has not finished a minute in all its outputs, so there is nothing to activate",
            remedy="start its worker: it builds a table without a watermark from the first record",
        )
    return label


def last_watermark(source: Source, task: TaskId) -> int | None:
    """The lowest, over the task's output partitions, of the last watermark there."""
    labels = []
    bounds = source.ends(task.spec.outputs)
    for part in outputs_of(task, source.layout):
        if topic(part[0]).watermarked:
            labels.append(_last_label(source, part, *bounds[part]))
    return None if None in labels else min((label for label in labels if label is not None), default=None)


_TAIL = 20_000


def _last_label(source: Source, part: Part, first: int, end: int) -> int | None:
    """Searches from the end in growing steps: every minute ends with a watermark."""
    reach = _TAIL
    while True:
        start = max(first, end - reach)
        found = None
        for block in source.stream(part, start, end):
            labels = labels_of(block)
            marks = labels[labels > UNREADABLE]
            found = int(np.max(marks)) if len(marks) else found
        if found is not None or start <= first:
            return found
        reach *= 4


def cut_at(source: Source, task: TaskId, label: int) -> dict[Part, int]:
    """The offsets after watermark(``label``) in the trigger's partitions; joins are read as far as needed."""
    cut = {}
    trigger = task.spec.trigger
    for part in inputs_of(task, source.layout):
        if part[0] == trigger:
            position = position_of(source, part, label)
            if position is None:
                raise Fatal(
                    f"{part[0]}/{part[1]} has no watermark {label}, which the outputs of {task} have",
                    remedy="its source topic was cut or replaced: restore it, or use --into PREFIX",
                )
            cut[part] = position + 1
    return cut


def _account_cut(task: TaskId, basis: Basis, live: Values, applied: Applied) -> dict[Part, int]:
    """Up to the live table's cursor, and before the first record with a missing output."""
    (part,) = inputs_of(task, basis.source.layout)
    end = basis.source.ends([part[0]])[part][1]
    cut = applied.cut[part] if live else end
    result = run_task(task, *basis[:3], cut={part: cut}, spool=TemporaryFile)
    missing: set[str] = set()
    for out, rows in result.outputs.items():
        odd = read_rows(basis.source, out, task).rows.differences(rows)
        missing |= {each.event_id for each in odd if each.ours is None}
    if missing:
        causes: list[int] = []

        def look(block: Block) -> None:
            causes.extend(each.cause[1] for each in locate(iter([block]), missing) if each.cause)

        run_task(task, *basis[:3], cut={part: cut}, sink=look, spool=TemporaryFile)
        cut = min([cut, *causes])
    return {part: cut}


def apply_group(
    plans: Sequence[Plan],
    source: Source,
    target: Target,
    group: str,
    *,
    now_ms: int,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Activate the tables of one group's tasks. Raises Fatal, with the old ones still active, if the group
    has members."""
    if members := target.members(group):
        raise occupied(group, members)
    changelogs = {plan.task: read_changelog(source, plan.task) for plan in plans}
    for plan in plans:
        _settle(plan.task, changelogs[plan.task], source, target, now_ms)
    epochs = {plan.task: changelogs[plan.task].epoch + 1 for plan in plans}
    for plan in plans:
        if plan.task.account_id is None:
            target.write(_staged(plan, epochs[plan.task], now_ms))
            say(f"{plan.task}: {len(plan.values)} values staged")
    offsets = {part: at for plan in plans for part, at in plan.offsets.items()}
    committed = target.committed(group, offsets)
    bounds = source.ends(sorted({name for name, _ in offsets}))
    before = {part: min(_at(committed[part], bounds[part][0]), at) for part, at in offsets.items()}
    target.commit(group, before)
    for plan in plans:
        target.write([_switch(plan, epochs[plan.task], now_ms)])
        say(f"{plan.task}: active at epoch {epochs[plan.task]}")
    if before != offsets and not target.members(group):
        target.commit(group, offsets)
    for plan in plans:
        _read_back(plan, source)
    for (name, partition), at in sorted(offsets.items()):
        say(f"{group} resumes at {name}/{partition}@{at}")


def _at(committed: int | None, first: int) -> int:
    return first if committed is None else committed


def _settle(task: TaskId, changelog: Changelog, source: Source, target: Target, now_ms: int) -> None:
    """What the worker would do first with an earlier apply's records."""
    settled = settle(changelog, task.home, table_partitions(task, source))
    name = task.spec.changelog
    promoted = [Wire(name, p, key, value, now_ms, []) for (p, key), value in settled.promoted.items()]
    target.write(promoted)
    nulls = [Wire(name, partition, key, None, now_ms, []) for partition, key in settled.nulls]
    target.write(nulls[:1])
    target.write(nulls[1:])


def _staged(plan: Plan, epoch: int, now_ms: int) -> list[Wire]:
    name = plan.task.spec.changelog
    return [Wire(name, p, key, value, now_ms, []) for p, key, value in staged_records(plan.values, epoch)]


def _switch(plan: Plan, epoch: int, now_ms: int) -> Wire:
    """The one record that activates the plan: a commit record, or an account's only value."""
    name, task = plan.task.spec.changelog, plan.task
    if task.account_id is not None:
        key = task.account_id.encode()
        value = at_epoch(plan.values.get((task.home, key), pack(0, {}, b"")), epoch)
        return Wire(name, task.home, key, value, now_ms, [])
    at = iso_time(plan.label) if plan.label is not None else "no watermark"
    commit = commit_of(plan.values, epoch, task.home, f"{plan.whence} at {at}")
    return Wire(name, task.home, APPLIED_KEY, commit.packed(), now_ms, [])


def _read_back(plan: Plan, source: Source) -> None:
    found = read_changelog(source, plan.task).values()
    if _told(found) != _told(plan.values):
        raise Fatal(
            f"the table of {plan.task} is not the one that was written: a worker started in between",
            remedy="the active table is complete; stop the worker and run `tape rebuild --apply` again",
        )


def _told(values: Values) -> dict[tuple[int, bytes], tuple[object, bytes]]:
    """Cursors and bodies; a value with neither counts as absent."""
    unpacked = {at: unpack(value) for at, value in values.items()}
    return {at: (each.cursors, each.body) for at, each in unpacked.items() if each.cursors or each.body}
