"""The rows of a block as columns, with their log minutes: the first step of every fold."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tapedeck.schemas.codec import decode
from tapedeck.schemas.columns import NULL, Columns, decode_columns
from tapedeck.schemas.columns.kernel import BOOLEAN
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Block, Bytes, Ints
from tapedeck.streams.columnar.arrays import OPENING, RECORD, UNREADABLE, labels_of, raw_ids
from tapedeck.streams.columnar.rows import raw_id
from tapedeck.streams.watermarks import Opening, readable_punctuation
from tapedeck.topics.catalogue import topic

NEVER = RECORD
"""The log minute, and the time, of records before the first watermark of their partition."""


class Points(NamedTuple):
    """Watermarks and openings that count, in order: their times, indices in their blocks, and offsets.

    int64 (n) each. An opening's time is odd, see ``time_of``.
    """

    times: Ints
    places: Ints
    offsets: Ints

    def then(self, more: "Points") -> "Points":
        """These, followed by ``more``."""
        return Points(*map(np.concatenate, zip(self, more, strict=True)))

    def after(self, n: int) -> "Points":
        """All but the first ``n``."""
        return Points(*(each[n:] for each in self))


@dataclass(frozen=True, slots=True)
class Times:
    """A block in time. ``due`` int64 (n), never decreasing: the time of each record, for a point its own;
    ``rows`` int64: the indices of records; ``absent``: the names in each opening among the points, by
    time."""

    due: Ints
    rows: Ints
    points: Points
    absent: dict[int, tuple[str, ...]]


def time_of(label: int) -> int:
    """The time of watermark(label): doubled, so that its opening can have the next time."""
    return label if label == NEVER else 2 * label


def label_at(time: int) -> int:
    """The label of the last watermark at ``time``."""
    return time if time == NEVER else time >> 1


def labels_at(times: Ints) -> Ints:
    """The labels of the last watermarks at ``times``, NEVER before the first."""
    return np.where(times == NEVER, NEVER, times >> 1)


def are_openings(times: Ints) -> NDArray[np.bool_]:
    """Which of ``times`` are of openings."""
    return (times & 1).astype(np.bool_)


def times_of(block: Block, last: int, *, opens: bool = True) -> Times:
    """``block`` after the time ``last``; openings count only if ``opens``, in a trigger's partition.

    Repeats, unreadable watermarks and openings, and openings of another minute are ignored.
    """
    labels = labels_of(block)
    times = np.where(labels > UNREADABLE, 2 * labels, NEVER)
    due = np.maximum.accumulate(np.concatenate([[last], times]))
    named: dict[int, tuple[str, ...]] = {}
    if opens:
        for place in np.flatnonzero(labels == OPENING).tolist():
            found = readable_punctuation(block.message(place))
            if isinstance(found, Opening) and found.label == label_at(int(due[place])):
                times[place], named[place] = time_of(found.label) + 1, found.absent
        if named:
            due = np.maximum.accumulate(np.concatenate([[last], times]))
    counts = times > due[:-1]
    places = np.flatnonzero(counts)
    absent = {int(times[place]): names for place, names in named.items() if counts[place]}
    points = Points(times[places], places, block.offsets[places])
    return Times(due[1:], np.flatnonzero(labels == RECORD), points, absent)


def read_columns(block: Block, rows: Ints, counts: Counter[str]) -> tuple[Columns, Ints]:
    """The records at ``rows`` as columns, and the rows that could be decoded; others are counted by reason.

    Records that the batch reader rejects go through the codec: those of an earlier schema, and bad ones.
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
            Columns.of(name, [body])  # raises for a number that a column cannot hold
            bodies.append(body)
            good.append(each)
        except DeadLetter as error:
            counts[error.reason] += 1
            bad[each] = True
    if good:
        found = found.with_rows(np.array(good, dtype=np.int64), bodies)
    return (found.take(~bad), rows[~bad]) if bad.any() else (found, rows)


def ids_in(columns: Columns, field: str) -> Bytes:
    """A column of event_ids as raw bytes, uint8 (n, 16)."""
    spans = columns.spans[field]
    found, odd = raw_ids(columns.data, spans)
    for row in odd.tolist():
        start, length = spans[row].tolist()
        text = columns.data[start : start + length].tobytes().decode()
        found[row] = np.frombuffer(raw_id(text), dtype=np.uint8)
    return found


def bodies_of(columns: Columns, fields: Sequence[str]) -> list[dict[str, Any]]:
    """``fields`` of every record as ``schemas.codec.decode`` returns them; none of them an array."""
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
