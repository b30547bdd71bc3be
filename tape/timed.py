"""A source whose times are the records' own, even if Kafka's are not.

Kafka's time of a record is its event time: our writers set it so, and the broker's time index uses it. A
topic with ``message.timestamp.type=LogAppendTime``, or a producer that sets no time, breaks that: the index
would silently find nothing, or too much.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.codec import decode
from tapedeck.schemas.columns import decode_columns, supports
from tapedeck.schemas.errors import DeadLetter
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import ABSENT, Block, Ints, Source
from tapedeck.streams.columnar.arrays import UNREADABLE, labels_of
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import readable_punctuation
from tapedeck.tape.notebook.fields import time_field
from tapedeck.topics.catalogue import Layout, topic

Tell = Callable[[str], None]
_LOOKS = (4, 64, 1024)
"""The most records examined at each end to find one that can be decoded."""


class TimedSource:
    """``source`` with every record at its own time. ``tell`` is called once per topic with other Kafka times.

    A partition is checked when its time index is first used. If its first or newest record has another
    time than Kafka's, ``offset_at`` reads the partition, and ``stream`` gives the records' own times.
    """

    def __init__(self, source: Source, tell: Tell) -> None:
        self._source, self._tell = source, tell
        self._known: dict[Part, bool] = {}
        self._told: set[str] = set()
        self._times: dict[Part, tuple[Ints, Ints]] = {}

    @property
    def layout(self) -> Layout:
        return self._source.layout

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        """(first, end) offset of every partition of ``names``."""
        return self._source.ends(names)

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """The ids of ``names``, as far as they are known."""
        return self._source.topic_ids(names)

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end)."""
        blocks = self._source.stream(part, start, end)
        return blocks if self._known.get(part, True) else map(_retimed, blocks)

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset whose record is not older than ``time_us``; the end if there is none."""
        if self._is_timed(part):
            return self._source.offset_at(part, time_us)
        if part not in self._times:
            self._times[part] = self._read_times(part)
        offsets, times = self._times[part]
        late = np.flatnonzero(times * 1000 >= time_us)
        return int(offsets[late[0]]) if len(late) else self.ends([part[0]])[part][1]

    def _is_timed(self, part: Part) -> bool:
        if part not in self._known:
            odd = self._odd(part)
            self._known[part] = odd is None
            if odd is not None and part[0] not in self._told:
                self._told.add(part[0])
                self._tell(_words(odd))
        return self._known[part]

    def _odd(self, part: Part) -> Message | None:
        """The first or the newest record of ``part`` if its Kafka time is not its own; else None."""
        if topic(part[0]).schema is None:
            return None
        low, end = self.ends([part[0]])[part]
        for first in (True, False):
            for look in _LOOKS if end > low else ():
                span = (low, min(end, low + look)) if first else (max(low, end - look), end)
                found = [m for block in self._source.stream(part, *span) for m in block.messages()]
                timed = [(m, own) for m in found if (own := _own_time(m)) is not None]
                if timed:
                    message, own = timed[0 if first else -1]
                    if message.timestamp != own // 1000:
                        return message
                    break
        return None

    def _read_times(self, part: Part) -> tuple[Ints, Ints]:
        """Offsets, and own times in ms; an unreadable record has the time of the one before."""
        offsets, times = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        newest = 0
        for block in self._source.stream(part, *self.ends([part[0]])[part]):
            own = _times_of(block)
            known = np.flatnonzero(own >= 0)
            before = np.searchsorted(known, np.arange(len(own)), side="right") - 1
            filled = np.where(before >= 0, own[known[before]] if len(known) else newest, newest)
            newest = int(filled[-1]) if len(filled) else newest
            offsets.append(block.offsets)
            times.append(filled)
        return np.concatenate(offsets), np.concatenate(times)


@contextmanager
def timed(cluster: Cluster, tell: Tell) -> Iterator[TimedSource]:
    """The topics of a cluster with the records' own times."""
    with KafkaSource(cluster) as source:
        yield TimedSource(source, tell)


def _words(odd: Message) -> str:
    own = _own_time(odd)
    assert own is not None
    return (
        f"the Kafka times of {odd.topic} are not the times of its records: {odd.topic}/{odd.partition}"
        f"@{odd.offset} is of {iso_time(own)}, Kafka says {iso_time(odd.timestamp * 1000)} (the topic is"
        " LogAppendTime, or its producer sets no time). Times are taken from the records, and such"
        " partitions are read whole"
    )


def _own_time(message: Message) -> int | None:
    """The record's own time in micros (for a watermark, the end of its minute); None if unreadable."""
    schema, found = topic(message.topic).schema, readable_punctuation(message)
    if found is not None:
        return found.label + MINUTE_US
    if schema is None or message.value is None:
        return None
    try:
        return int(decode(schema, message.value)[time_field(schema)])
    except DeadLetter:
        return None


def _retimed(block: Block) -> Block:
    own = _times_of(block)
    return replace(block, timestamps=np.where(own >= 0, own, block.timestamps))


def _times_of(block: Block) -> Ints:
    """Each record's own time in ms, -1 if it has none."""
    schema = topic(block.topic).schema
    own = np.full(len(block), -1, dtype=np.int64)
    if schema is None:
        return own
    labels = labels_of(block)
    marks = np.flatnonzero(labels > UNREADABLE)
    own[marks] = (labels[marks] + MINUTE_US) // 1000
    rest = np.flatnonzero(block.values[:, 1] != ABSENT)
    if supports(schema):
        places = rest
        columns, rejected = decode_columns(schema, block.data, block.values[places])
        own[places] = columns.ints[time_field(schema)] // 1000
        rest = places[rejected]
        own[rest] = -1
    for place in rest.tolist():
        time = _own_time(block.message(place))
        own[place] = -1 if time is None else time // 1000
    return own
