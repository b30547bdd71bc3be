"""What live wrote: a task's table from its changelog, how far it was applied, and a topic's rows."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np

from tapedeck.schemas.codec import PREFIX, Body, decode
from tapedeck.schemas.columns import supports
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.blocks import Block, Bytes, Ints, Source
from tapedeck.streams.changelog import Changelog, Values
from tapedeck.streams.columnar.arrays import OPENING, RECORD, labels_of, rows_of
from tapedeck.streams.columnar.block_columns import ids_in, read_columns
from tapedeck.streams.columnar.job import TaskId, inputs_of
from tapedeck.streams.columnar.rows import WIDTH, Rows, row_of
from tapedeck.streams.frame import OPENED, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import Opening, readable_punctuation
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

CAUSE = "tape-cause"


def group_of(task: TaskId, layout: Layout) -> str:
    """The consumer group of a task's worker."""
    return layout.group(f"dispatch-{task.account_id}" if task.account_id else task.stage)


def table_partitions(task: TaskId, source: Source) -> list[int]:
    """The table partitions of the task."""
    spec = task.spec
    if spec.scale == "single" and task.account_id is None:
        return list(range(source.layout.partitions(spec.changelog)))
    return [task.home]


def read_changelog(source: Source, task: TaskId) -> Changelog:
    """The task's part of its stage's changelog. Raises Fatal, naming the record, for another format."""
    spec = task.spec
    found = Changelog(single=spec.scale == "single" and task.account_id is None)
    own = task.account_id.encode() if task.account_id else None
    bounds = source.ends([spec.changelog])
    for partition in table_partitions(task, source):
        part = (spec.changelog, partition)
        for block in source.stream(part, *bounds[part]):
            for place in range(len(block)):
                key = block.key(place)
                if own is None or key == own:
                    _add(found, block, place, key)
    return found


def _add(found: Changelog, block: Block, place: int, key: bytes | None) -> None:
    try:
        found.add(block.partition, key, block.value(place))
    except Fatal as error:
        at = f"{block.topic}/{block.partition}@{block.offsets[place]}"
        what = f"the value of key {(key or b'').decode(errors='replace')} in the changelog cannot be read"
        raise Fatal(f"{what}: {error.what}", value=at, remedy=error.remedy) from error


def position_of(source: Source, part: Part, label: int) -> int | None:
    """The offset of the first watermark at or above ``label`` in ``part``; None if there is none."""
    first, end = source.ends([part[0]])[part]
    start = max(first, source.offset_at(part, label + MINUTE_US))
    # Search before that too: another producer's record times need not rise with its watermarks.
    for span in ((start, end), (first, start)):
        for block in source.stream(part, *span):
            found = np.flatnonzero(labels_of(block) >= label)
            if len(found):
                return int(block.offsets[found[0]])
    return None


@dataclass(frozen=True)
class Applied:
    """How far a table was applied: ``cut``: the offset after the last applied record per input partition.
    ``beyond``: input partitions with a watermark that the table knows and the topic lacks, with its label."""

    cut: Mapping[Part, int]
    beyond: Mapping[Part, int]


def applied_by(source: Source, task: TaskId, values: Values) -> Applied:
    """From cursors and watermark labels: whichever is later per input partition."""
    ranks = {name: rank for rank, name in enumerate(task.spec.inputs)}
    bounds = source.ends(sorted({name for name, _ in inputs_of(task, source.layout)}))
    cut, beyond = {}, {}
    for part in inputs_of(task, source.layout):
        at = (ranks[part[0]], part[1])
        cursors = [unpack(v).cursors.get(at, -1) for (_, key), v in values.items() if key != WATERMARK_KEY]
        cut[part] = max([bounds[part][0] - 1, *cursors]) + 1
        marked = values.get((task.home, WATERMARK_KEY))
        label = unpack(marked).cursors.get(at) if marked is not None else None
        if label is not None:
            position = position_of(source, part, label)
            if position is None:
                beyond[part] = label
            else:
                cut[part] = max(cut[part], position + 1)
        if marked is not None and part[0] == task.spec.trigger and part not in beyond:
            opened = unpack(marked).cursors.get((OPENED, part[1]))
            if opened is not None and opened == label:  # the table was applied beyond the watermark
                cut[part] = _after_opening(source, part, cut[part], opened)
    return Applied(cut, beyond)


def _after_opening(source: Source, part: Part, start: int, label: int) -> int:
    """The offset after the opening of ``label`` in ``part`` from ``start`` on; ``start`` if there is none."""
    for block in source.stream(part, start, source.ends([part[0]])[part][1]):
        for place in np.flatnonzero(labels_of(block) == OPENING).tolist():
            found = readable_punctuation(block.message(place))
            if isinstance(found, Opening) and found.label == label:
                return int(block.offsets[place]) + 1
    return start


class Read(NamedTuple):
    """Records of one block of an output topic: ``rows`` uint8 (n, 32), their ``places``, and the
    unreadable ones."""

    rows: Bytes
    places: Ints
    unreadable: Ints


def read_block(block: Block, own: bytes | None = None) -> Read:
    """The rows of a block; ``own`` keeps only one account's records."""
    places = np.flatnonzero(labels_of(block) == RECORD)
    if own is not None:
        keys = [(block.key(int(place)) or b"").split(b"|")[0] for place in places]
        places = places[np.array([key == own for key in keys], dtype=bool)]
    name = topic(block.topic).schema
    assert name is not None
    if not supports(name):
        return _read_singly(block, places, name)
    columns, good = read_columns(block, places, Counter())
    rows = rows_of(ids_in(columns, "event_id"), block.data, block.keys[good], block.values[good], PREFIX.size)
    return Read(rows, good, np.setdiff1d(places, good))


def _read_singly(block: Block, places: Ints, name: str) -> Read:
    rows, good, bad = [], [], []
    for place in places.tolist():
        value = block.value(place)
        try:
            body = decode(name, value)
        except DeadLetter:
            bad.append(place)
            continue
        assert value is not None
        rows.append(row_of(block.key(place) or b"", body["event_id"], value[PREFIX.size :]))
        good.append(place)
    made = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, WIDTH)
    return Read(made, np.array(good, dtype=np.int64), np.array(bad, dtype=np.int64))


@dataclass
class TopicRows:
    """What an output partition holds. ``unreadable``: offsets of records that cannot be read."""

    rows: Rows
    unreadable: list[int]
    records: int = 0


def read_rows(source: Source, part: Part, task: TaskId, start: int = 0) -> TopicRows:
    """The task's rows in an output partition, from offset ``start`` on."""
    found = TopicRows(Rows(TemporaryFile), [])
    own = task.account_id.encode() if task.account_id else None
    first, end = source.ends([part[0]])[part]
    for block in source.stream(part, max(first, start), end):
        read = read_block(block, own)
        found.rows.add(read.rows)
        found.records += len(read.places)
        found.unreadable += block.offsets[read.unreadable].tolist()
    return found


class Located(NamedTuple):
    """A record of an output partition. ``minute``: the label of the last watermark before it."""

    message: Message
    row_id: str
    body: Body
    minute: int | None

    @property
    def cause(self) -> tuple[Part, int] | None:
        """The input partition and offset that caused it; None if a watermark did."""
        for name, content in self.message.headers:
            if name == CAUSE and content is not None:
                where, _, offset = content.decode(errors="replace").rpartition("@")
                topic_name, _, partition = where.rpartition("/")
                if partition.isdecimal() and offset.isdecimal():
                    return (topic_name, int(partition)), int(offset)
        return None


def locate(blocks: Iterator[Block], wanted: Container[str], own: bytes | None = None) -> Iterator[Located]:
    """The records whose row id, 32 hex digits, is ``wanted``, in log order."""
    minute: int | None = None
    for block in blocks:
        labels = labels_of(block)
        read = read_block(block, own)
        for row, place in zip(read.rows, read.places.tolist(), strict=True):
            row_id = row[:16].tobytes().hex()
            if row_id in wanted:
                message = block.message(place)
                body = decode(topic(block.topic).schema or "", message.value)
                before = labels[:place][labels[:place] > RECORD + 1]
                yield Located(message, row_id, body, int(before[-1]) if len(before) else minute)
        marks = labels[labels > RECORD + 1]
        minute = int(marks[-1]) if len(marks) else minute
