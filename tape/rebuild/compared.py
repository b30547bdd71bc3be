"""Whether verifying a task compared anything: two empty sides are equal and prove nothing.

A worker that never ran, inputs without records and inputs without watermarks each have their own message.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tapedeck.streams.blocks import Source
from tapedeck.streams.columnar.arrays import RECORD, UNREADABLE, labels_of
from tapedeck.streams.columnar.job import TaskId, inputs_of
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.verdict import Compared, Verdict
from tapedeck.topics.catalogue import WATERMARK_KEY

_AGAIN = "then verify again"


class Uncompared(NamedTuple):
    """A task without anything compared, or a whole stage with only watermarks compared."""

    task: TaskId
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.task}: {self.why}; {self.remedy}"


class _Held(NamedTuple):
    """What a task's trigger holds: the task's records, and the minutes that watermarks end there."""

    records: int
    minutes: int


def compared_in(source: Source, topology: Topology, found: Verdict) -> Compared:
    """What ``found`` compared: nothing if its table has no value, or none up to a watermark."""
    task = found.task
    keys = {place for place in (*found.live, *found.result.values) if place[1] != WATERMARK_KEY}
    outputs = sum(len(rebuilt) for _, rebuilt in found.outputs.values())
    marked = (task.home, WATERMARK_KEY) in found.live
    if keys and (marked or task.account_id is not None):
        return Compared(len(keys), outputs)
    if not found.live:
        why, remedy = _never_ran(topology, found, _held(source, task))
        return Compared(why=why, remedy=remedy, idle=_is_without_source(source, topology, found))
    held = _held(source, task)
    name = task.spec.trigger
    if not marked:
        return Compared(len(keys), outputs, *_no_watermark(task, name, held))
    if not held.records and not outputs:
        remedy = f"play a tape, or check the writer of {name}; {_AGAIN}"
        return Compared(why=f"{name} holds watermarks but no record", remedy=remedy, idle=True)
    return Compared(0, outputs)


def uncompared(found: Iterable[tuple[TaskId, Compared]]) -> list[Uncompared]:
    """The tasks without anything compared, in order. A task that had nothing to do, as those of news where
    there was none, counts only if no task had anything compared."""
    tasks = list(found)
    busy = any(not compared.why for _, compared in tasks)
    return [
        Uncompared(task, compared.why, compared.remedy)
        for task, compared in tasks
        if compared.why and not (compared.idle and busy)
    ]


def _is_without_source(source: Source, topology: Topology, found: Verdict) -> bool:
    """Whether nothing has ever been written into the source that a market stage goes back to."""
    spec = found.task.spec
    if spec.per_account or any(len(live) for live, _ in found.outputs.values()):
        return False
    return all(end <= low for low, end in source.ends([topology.root(spec)]).values())


def _held(source: Source, task: TaskId) -> _Held:
    own = task.account_id.encode() if task.account_id else None
    trigger = task.spec.trigger
    bounds = source.ends([trigger])
    records, minutes = 0, set[int]()
    for part in inputs_of(task, source.layout):
        if part[0] != trigger:
            continue
        for block in source.stream(part, *bounds[part]):
            labels = labels_of(block)
            places = np.flatnonzero(labels == RECORD)
            records += len(places) if own is None else sum(block.key(at) == own for at in places.tolist())
            minutes.update(labels[labels > UNREADABLE].tolist())
    return _Held(records, len(minutes))


def _never_ran(topology: Topology, found: Verdict, held: _Held) -> tuple[str, str]:
    """Why a task has no table at all, and what to do."""
    task, name = found.task, found.task.spec.trigger
    written = any(len(live) for live, _ in found.outputs.values())
    lacks = "it has no table" if written else "it has no output and no table"
    if task.account_id is not None:
        start = f"start it with `tape dispatch {task.account_id}`, {_AGAIN}; or name only the stages that run"
        if not held.records:
            return "its inbox is empty: its dispatcher never ran", start
        return (
            f"its dispatcher never finished a batch: {lacks}, although its inbox has {held.records} records",
            start,
        )
    if not held.records and not held.minutes:
        writer = topology.writer(name)
        none = "play a tape first, or name another --prefix"
        return f"{name} has no records", f"check the stage {writer.name} first" if writer else none
    if not held.minutes:
        return _no_watermark(task, name, held)
    counted = f"{name} holds {held.minutes} minutes and {held.records} records"
    remedy = f"start it with `tape worker {task.stage}` (its log says why it ended, if it did), {_AGAIN}"
    return f"its worker never ran, or never finished a batch: {lacks}, although {counted}", remedy


def _no_watermark(task: TaskId, name: str, held: _Held) -> tuple[str, str]:
    if held.minutes:
        remedy = f"wait until its worker has finished a minute, {_AGAIN}"
        return "its table has not reached a watermark", remedy
    remedy = f"a watermark ends a minute: the writer of {name}, or `tape watermark`, must write them"
    return f"{name} has {held.records} records but no watermark to compare up to", remedy
