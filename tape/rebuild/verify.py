"""Verify one task: compare its live table and outputs with a rebuild.

1. The live table says how far it was applied: that is the cut.
2. The task is run again up to the cut. Every key must have the same body and cursors, the watermark value the
   same labels; the epoch is not compared.
3. Every output of the rebuild must be in its topic, once or with equal bodies. What only the topic
   has is EXTRA, unless it is after the last watermark that the rebuild forwarded, or was caused by an
   input beyond the cut: live writes outputs before state.
4. The group must not have committed an offset whose record the table does not have.
5. What was compared is counted: nothing on both sides is not equal (``compared``).
"""

from collections.abc import Iterator, Mapping
from tempfile import TemporaryFile

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Source
from tapedeck.streams.changelog import Values
from tapedeck.streams.columnar.job import Progress, TaskId, inputs_of, outputs_of
from tapedeck.streams.columnar.task import run_task
from tapedeck.streams.merge import Part
from tapedeck.streams.watermarks import readable_punctuation
from tapedeck.tape.rebuild.compared import compared_in
from tapedeck.tape.rebuild.live import applied_by, position_of, read_changelog, read_rows
from tapedeck.tape.rebuild.naming import value_difference
from tapedeck.tape.rebuild.outputs import Outputs
from tapedeck.tape.rebuild.verdict import MOST, OFFSET, STATE, Basis, Begin, Difference, Kind, Verdict
from tapedeck.topics.catalogue import Cleanup, topic


def verify_task(
    task: TaskId,
    basis: Basis,
    *,
    committed: Mapping[Part, int | None],
    live: Values | None = None,
    begin: Begin | None = None,
    since: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """Compare one task with live. ``committed``: the group's offset per input partition, None for none.

    ``live``: its table, if already read; ``begin``: a snapshot to start from; ``since``: differences
    of outputs before this time, micros, are left out. Raises Fatal if the changelog cannot be read.
    """
    if live is None:
        live = read_changelog(basis.source, task).values()
    applied = applied_by(basis.source, task, live)
    start = begin.start if begin else None
    result = run_task(task, *basis[:3], cut=applied.cut, start=start, progress=progress, spool=TemporaryFile)
    found = Verdict(task, result, live, applied.cut, begin)
    found.differences += table_differences(basis.source, found, applied.beyond, committed)
    found.differences += output_differences(basis, found, since)
    found.compared = compared_in(basis.source, basis.topology, found)
    if found.differences and begin is None:
        found.differences[:0] = _cuts(basis.source, task)
    return found


def _cuts(source: Source, task: TaskId) -> Iterator[Difference]:
    """Inputs whose first records are gone: no rebuild can recompute their outputs."""
    bounds = source.ends(sorted({name for name, _ in inputs_of(task, source.layout)}))
    for name, partition in inputs_of(task, source.layout):
        first = bounds[name, partition][0]
        if first and topic(name).cleanup is Cleanup.DELETE:
            detail = (
                f"it begins at offset {first}: it was truncated, or its retention has passed. Results of "
                "earlier records cannot be rebuilt; compare starting from a snapshot (`--from TIME`)"
            )
            yield Difference(Kind.CUT, OFFSET, partition, name, "", detail)


def table_differences(
    source: Source, found: Verdict, beyond: Mapping[Part, int], committed: Mapping[Part, int | None]
) -> list[Difference]:
    """Labels that the inputs lack, values that differ, offsets that skip records."""
    differences = []
    for (name, partition), label in beyond.items():
        detail = f"it knows watermark {label} of {name}/{partition}, which the topic does not have"
        home = found.task.home
        differences.append(Difference(Kind.LABEL_AHEAD, STATE, home, "~watermark", "", detail))
    differences += state_differences(found.task, found.live, found.result.values)
    differences += _offsets_ahead(source, found.task, found.cut, committed)
    return differences


def output_differences(basis: Basis, found: Verdict, since: int = 0) -> list[Difference]:
    """Where topics differ from the rebuild in ``found``; fills its ``outputs``."""
    outputs, differences = Outputs(basis, found, since), []
    for part in outputs_of(found.task, basis.source.layout):
        first = 0
        if found.begin is not None and topic(part[0]).watermarked:
            first = (position_of(basis.source, part, found.begin.label) or -1) + 1
        held = read_rows(basis.source, part, found.task, first)
        found.outputs[part] = (held.rows, found.result.outputs[part])
        differences += list(outputs.differences(part, held))
    return differences


def state_differences(task: TaskId, live: Values, rebuilt: Values) -> list[Difference]:
    """Where two tables of a task differ, in the order of partitions and keys."""
    found = []
    for partition, key in sorted(live.keys() | rebuilt.keys()):
        ours, other = live.get((partition, key)), rebuilt.get((partition, key))
        if ours is None or other is None:
            kind = Kind.MISSING if ours is None else Kind.EXTRA
            detail = "only the rebuild has it" if ours is None else "only the live table has it"
        else:
            told = value_difference(task, key, ours, other)
            if told is None:
                continue
            kind, detail = Kind.CHANGED, told
        found.append(Difference(kind, STATE, partition, key.decode(errors="replace"), "", detail))
    return found[:MOST]


def _offsets_ahead(
    source: Source, task: TaskId, cut: Mapping[Part, int], committed: Mapping[Part, int | None]
) -> Iterator[Difference]:
    """Committed offsets beyond the table that skip a record which the table should have."""
    ends = source.ends(sorted({name for name, _ in inputs_of(task, source.layout)}))
    for part, at in sorted(cut.items()):
        offset = committed.get(part)
        if offset is None or offset <= at:
            continue
        skipped = _first_applicable(source, task, part, at, min(offset, ends[part][1]))
        if offset > ends[part][1]:
            skipped = skipped or f"the topic ends at offset {ends[part][1]}"
        if skipped is not None:
            detail = f"the group has committed {offset}, but the table was applied up to {at}: {skipped}"
            yield Difference(Kind.OFFSET_AHEAD, OFFSET, part[1], part[0], "", detail)


def _first_applicable(source: Source, task: TaskId, part: Part, start: int, end: int) -> str | None:
    """The first record that a worker would skip; a dead letter leaves no trace in a table."""
    own = task.account_id.encode() if task.account_id else None
    schema = topic(part[0]).schema or ""
    for block in source.stream(part, start, end):
        for message in block.messages():
            if own is not None and message.key != own:
                continue
            found = readable_punctuation(message)
            if found is not None:
                what = type(found).__name__.lower()
                return f"{what} {found.label} at offset {message.offset} would be skipped"
            try:
                decode(schema, message.value)
            except DeadLetter:
                continue
            key = (message.key or b"").decode(errors="replace")
            return f"the record of {key} at offset {message.offset} would be skipped"
    return None
