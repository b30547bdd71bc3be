"""A task at rest: its group has committed what its table has, and the table does not change meanwhile."""

import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.blocks import Source
from tapedeck.streams.changelog import Values
from tapedeck.streams.columnar.job import TaskId, inputs_of
from tapedeck.streams.logs import refuse_beyond, refuse_other_topics
from tapedeck.streams.merge import Part, broadcast_joins
from tapedeck.tape.rebuild.live import applied_by, read_changelog

PATIENCE_S = 30.0
_LOOK_S = 0.5

Committed = Mapping[Part, int | None]


class Groups(Protocol):
    """The consumer groups of a cluster, by whole name."""

    def members(self, group: str) -> list[str]: ...

    def committed(self, group: str, parts: Iterable[Part]) -> dict[Part, int | None]: ...


def at_rest(
    task: TaskId, source: Source, groups: Groups, group: str, patience_s: float = PATIENCE_S
) -> tuple[Values, Committed]:
    """The live table and the committed offsets that belong to it.

    Waits for a worker within a batch. Raises Retry, saying what is behind, if it does not come to rest;
    Fatal if the table was applied from another topic, and if no worker runs and the group is behind the
    table, because a worker died within a batch.
    """
    until = time.monotonic() + patience_s
    spec, parts = task.spec, inputs_of(task, source.layout)
    uncommitted = broadcast_joins(spec, {name: source.layout.partitions(name) for name in spec.inputs})
    while True:
        before = groups.committed(group, parts)
        live = read_changelog(source, task).values()
        refuse_other_topics(spec, live, source.topic_ids((*spec.inputs, spec.changelog)))
        refuse_beyond(spec, live, before, source.ends(dict.fromkeys(name for name, _ in parts)))
        cut = applied_by(source, task, live).cut
        committed = groups.committed(group, parts)
        grouped = {part: at for part, at in cut.items() if part[0] not in uncommitted}
        behind = {part: at for part, at in grouped.items() if live and (committed[part] or 0) < at}
        if not behind and committed == before:
            return live, committed
        if behind and not groups.members(group):
            raise within_batch(task, behind, committed)
        if time.monotonic() > until:
            raise Retry(
                f"the worker of {task} did not come to rest within {patience_s:g} s",
                value=_told(behind, committed) if behind else "its offsets keep moving",
                remedy="verify when there is less traffic, or stop the worker",
            )
        time.sleep(_LOOK_S)


def within_batch(task: TaskId, behind: Mapping[Part, int], committed: Committed) -> Fatal:
    """The error for a table that is ahead of its group's offsets while no worker runs."""
    return Fatal(
        f"the table of {task} is ahead of its consumer group: its worker died within a batch",
        value=_told(behind, committed),
        remedy=f"start the worker of {task}, which repeats the batch; then run this again",
    )


def _told(behind: Mapping[Part, int], committed: Committed) -> str:
    return ", ".join(
        f"{name}/{partition}: committed {committed[name, partition]}, applied {at}"
        for (name, partition), at in sorted(behind.items())
    )
