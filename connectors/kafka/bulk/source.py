"""A cluster's topics as columns: fetches whole record batches, without a consumer group or commits."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.connectors.kafka.bulk.brokers import SILENT_S, Brokers, WirePart
from tapedeck.connectors.kafka.bulk.fetches import Stream
from tapedeck.connectors.kafka.bulk.isolation import (
    Span,
    absent,
    committed,
    is_whole,
    joined,
    uncovered,
)
from tapedeck.connectors.kafka.bulk.offsets import LATEST, LED_S, READ_UNCOMMITTED, ends_of, list_offsets
from tapedeck.connectors.kafka.bulk.records import batches_of, blocks_of, check
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids, other_count
from tapedeck.streams.blocks import Block, Bytes, Ints
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

_NO_OFFSETS: Ints = np.empty(0, dtype=np.int64)


class Look(NamedTuple):
    """The contents of a partition's log in a range of offsets.

    ``messages``: its committed records, only those with offsets in the range. ``holes``: ascending spans
    [a, b), from the range's start to ``seen_to``, of offsets without a record of any kind. No batch covers
    them, or the batch that does lacks them, as after compaction. An offset in a control batch or an aborted
    transaction is not a hole. ``seen_to``: the offset up to which the log was read, at least the end of the
    range.
    """

    messages: list[Message]
    holes: list[Span]
    seen_to: int


class KafkaSource:
    """Recorded topics on a cluster, as a ``streams.blocks.Source``: committed records only.

    The end of a partition is its last stable offset: later records may still be withdrawn. It need not follow
    a record, because control records and aborted ones take offsets too. For one thread of one process: pass
    the source itself to a worker process (it can be pickled) or create one there. ``silent_s``: how long the
    broker may stay silent before Retry.
    """

    def __init__(self, cluster: Cluster, silent_s: float = SILENT_S) -> None:
        self._layout, self._arguments = cluster.layout, (cluster, silent_s)
        self._brokers = Brokers(cluster, silent_s)

    def __reduce__(self) -> tuple[type["KafkaSource"], tuple[Any, ...]]:
        return type(self), self._arguments

    def __enter__(self) -> "KafkaSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def layout(self) -> Layout:
        return self._layout

    def close(self) -> None:
        """Close the connections; the source may be used again."""
        self._brokers.close()

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        """(first, end) offset of every partition of the catalogue's topics ``names``, with a stable end.

        Raises Fatal for a topic that does not exist or has another partition count than the layout, Retry if
        a partition has no leader for long.
        """
        parts = self._parts(names)
        found = ends_of(self._brokers, list(parts))
        return {part: found[on_wire] for on_wire, part in parts.items()}

    def log_ends(self, names: Iterable[str]) -> dict[Part, int]:
        """The end of every partition, including what open transactions withhold. Raises like ``ends``."""
        parts = self._parts(names)
        found = ends_of(self._brokers, list(parts), READ_UNCOMMITTED)
        return {part: found[on_wire][1] for on_wire, part in parts.items()}

    def _parts(self, names: Iterable[str]) -> dict[WirePart, Part]:
        """Every partition of topics, under the brokers' names."""
        names = list(names)
        wire = [self._layout.wire_name(name) for name in names]
        limit_s = min(LED_S, self._brokers.silent_s)
        doing = "the ends of topics were asked for"
        counts = self._brokers.patiently(lambda: self._brokers.learn(wire), doing, limit_s) if wire else {}
        parts: dict[WirePart, Part] = {}
        for name, on_wire in zip(names, wire, strict=True):
            wanted = self._layout.partitions(name)
            if counts[on_wire] != wanted:
                raise other_count(self._layout, name, counts[on_wire])
            parts |= {(on_wire, partition): (name, partition) for partition in range(wanted)}
        return parts

    def topic_ids(self, names: Iterable[str]) -> dict[str, bytes]:
        """The ids of ``names`` where they exist and the broker gives ids."""
        found = describe_ids(self._arguments[0], names)
        return {name: each.topic_id for name, each in found.items() if each is not None and each.topic_id}

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end), in log order, a few MB a block.

        Ends early if the log keeps nothing up to ``end``. Raises Fatal for an offset that is not kept and for
        a damaged log, Retry if the broker is silent.
        """
        for data, table, wanted in self._batches(part, start, end):
            yield from blocks_of(data, table[wanted], part, start, end)

    def look(self, part: Part, start: int, end: int) -> Look:
        """The contents of the log of ``part`` at the offsets [start, end): for a reader that missed some.

        Reads whole answers of the broker, so it usually sees more than requested. Waits for offsets that the
        log does not have yet, or that an open transaction withholds. Raises like ``stream``.
        """
        messages, holes, reached = list[Message](), list[Span](), start
        for data, table, wanted in self._batches(part, start, end):
            holes += uncovered(reached, table)
            for batch in table[wanted & ~is_whole(table)]:
                base, last = max(start, int(batch[K.BASE])), int(batch[K.LAST])
                blocks = list(blocks_of(data, batch[np.newaxis], part, base, last + 1))
                found = np.concatenate([each.offsets for each in blocks]) if blocks else _NO_OFFSETS
                holes += absent(found, base, last + 1)
            reached = int(table[-1, K.LAST]) + 1
            for block in blocks_of(data, table[wanted], part, start, end):
                messages += block.messages()
        if reached < end:
            holes.append((reached, end))
        return Look(messages, joined(holes), max(reached, end))

    def _batches(self, part: Part, start: int, end: int) -> Iterator[tuple[Bytes, Ints, NDArray[np.bool_]]]:
        """The broker's answers from ``start`` to ``end``: bytes, their batches, and which are committed."""
        fetches, position = Stream(self._brokers, self._wire(part)), start
        try:
            while position < end:
                found = fetches.take(position, end)
                if not len(found.records):
                    break
                table = batches_of(found.records, part)
                position = int(table[-1, K.LAST]) + 1
                if position < end:
                    fetches.ask(position)
                check(found.records, table, part)
                yield found.records, table, committed(found.records, table, found.aborted)
        finally:
            fetches.close()

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset whose record's time is ``time_us`` or later, by the broker's time index.

        The end offset if no record is that late. If times do not increase with offsets, earlier records may
        still follow.
        """
        time = max(0, -(-time_us // 1000))
        wire = self._wire(part)
        found = self._offsets(wire, time)[0]
        return found if found >= 0 else self._offsets(wire, LATEST)[0]

    def first_timestamp(self, part: Part) -> int | None:
        """The time in ms of the first record that is kept; None if there is none."""
        low, end = ends_of(self._brokers, [self._wire(part)])[self._wire(part)]
        for block in self.stream(part, low, end):
            return int(block.timestamps[0])
        return None

    def _wire(self, part: Part) -> WirePart:
        return self._layout.wire_name(part[0]), part[1]

    def _offsets(self, wire: WirePart, time: int) -> tuple[int, int]:
        def ask() -> tuple[int, int]:
            return list_offsets(self._brokers, [wire], time)[wire]

        doing = f"{wire[0]}/{wire[1]} was asked for offsets"
        return self._brokers.patiently(ask, doing)
