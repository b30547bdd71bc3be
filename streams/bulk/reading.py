"""Rows of a block as columns and as log minutes: what every fold begins with."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapedeck.schemas.codec import decode
from tapedeck.schemas.columns import NULL, Columns, decode_columns
from tapedeck.schemas.columns.kernel import BOOLEAN
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Block, Bytes, Ints
from tapedeck.streams.bulk.arrays import RECORD, UNREADABLE, labels_of, raw_ids
from tapedeck.streams.bulk.rows import raw_id
from tapedeck.streams.shell import NO_WATERMARK
from tapedeck.topics.catalogue import topic

NEVER = RECORD
"""The log minute of what stands before the first watermark of its partition."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """A block's rows in time. ``rows`` int64: the places of records; ``minutes`` their log minutes;
    ``marks``: (place, label) of every watermark that counts; ``unreadable``: watermarks without a label."""

    rows: Ints
    minutes: Ints
    marks: list[tuple[int, int]]
    unreadable: int


def minutes_of(block: Block, last: int) -> Minutes:
    """``block`` after watermark(``last``), NEVER before the first."""
    labels = labels_of(block)
    is_mark = labels > UNREADABLE
    reached = np.maximum.accumulate(np.concatenate([[last], np.where(is_mark, labels, NEVER)]))[:-1]
    rows = np.flatnonzero(labels == RECORD)
    counts = np.flatnonzero(is_mark & (labels > reached))
    marks = list(zip(counts.tolist(), labels[counts].tolist(), strict=True))
    return Minutes(rows, reached[rows], marks, int((labels == UNREADABLE).sum()))


def placed(minutes: Minutes, counts: Counter[str]) -> tuple[Ints, Ints]:
    """(rows, their log minutes) without what stands before the first watermark, which is counted."""
    known = minutes.minutes != NEVER
    counts[NO_WATERMARK] += int((~known).sum())
    return minutes.rows[known], minutes.minutes[known]


def read_columns(block: Block, rows: Ints, counts: Counter[str]) -> tuple[Columns, Ints]:
    """The records at ``rows`` as columns, and the rows that could be decoded; others are counted by reason.

    What the batch reader leaves out is read by the codec: records of an earlier schema, and bad ones.
    """
    name = topic(block.topic).schema
    assert name is not None
    found, rejected = decode_columns(name, block.data, block.values[rows])
    if not len(rejected):
        return found, rows
    bodies, good = [], []
    bad = np.zeros(len(rows), dtype=bool)
    for each in rejected.tolist():
        try:
            body = decode(name, block.value(int(rows[each])))
            Columns.of(name, [body])  # a number that no column holds is refused
            bodies.append(body)
            good.append(each)
        except DeadLetter as error:
            counts[error.reason] += 1
            bad[each] = True
    if good:
        found = found.with_rows(np.array(good, dtype=np.int64), bodies)
    return (found.take(~bad), rows[~bad]) if bad.any() else (found, rows)


def ids_in(columns: Columns, field: str) -> Bytes:
    """The raw event_ids of a column of them, uint8 (n, 16)."""
    spans = columns.spans[field]
    found, odd = raw_ids(columns.data, spans)
    for row in odd.tolist():
        start, length = spans[row].tolist()
        text = columns.data[start : start + length].tobytes().decode()
        found[row] = np.frombuffer(raw_id(text), dtype=np.uint8)
    return found


def bodies_of(columns: Columns, fields: Sequence[str]) -> list[dict[str, Any]]:
    """``fields`` of every record as ``schemas.codec.decode`` gives them; none of them an array."""
    lists: list[Sequence[Any]] = []
    for name in fields:
        if name in columns.floats:
            numbers = columns.floats[name]
            lists.append([None if x != x else x for x in numbers.tolist()])  # noqa: PLR0124 - NaN is null
        elif name in columns.ints:
            field, integers = columns.layout.by_name[name], columns.ints[name].tolist()
            meant: Callable[[int], Any] = int
            if field.symbols:
                meant = field.symbols.__getitem__
            elif field.kind == BOOLEAN:
                meant = bool
            lists.append([None if x == NULL else meant(x) for x in integers])
        else:
            lists.append(columns.strings(name))
    return [dict(zip(fields, values, strict=True)) for values in zip(*lists, strict=True)]
