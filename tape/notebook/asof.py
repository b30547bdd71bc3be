"""The newest record of each key as of a moment."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import ABSENT, Block, Ints, Source
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import readable_punctuation
from tapedeck.tape.notebook import frames, times
from tapedeck.tape.notebook.decoding import Reader
from tapedeck.tape.notebook.numbers import numbered
from tapedeck.tape.notebook.query import NotKept, Query, spans
from tapedeck.topics.catalogue import Topic


class Newest(NamedTuple):
    """The newest record per key, and whether none before it was compacted away."""

    messages: list[Message]
    whole: bool


def by_record_key(source: Source, query: Query) -> Newest:
    """The newest record of each record key inside the bounds of ``query``."""
    found: dict[bytes, Message] = {}
    whole = True
    for part, (first, end) in spans(source, query).items():
        expected = first
        for block in source.stream(part, first, end):
            whole &= _contiguous(block, expected)
            expected = int(block.offsets[-1]) + 1
            for message in _newest_of(block, query):
                assert message.key is not None
                held = found.get(message.key)
                if held is None or message.timestamp >= held.timestamp:
                    found[message.key] = message
    living = [message for message in found.values() if message.value is not None]
    return Newest(sorted(living, key=lambda m: (m.timestamp, m.partition, m.offset)), whole)


def _contiguous(block: Block, expected: int) -> bool:
    offsets = block.offsets
    return int(offsets[0]) == expected and int(offsets[-1]) - expected + 1 == len(offsets)


def _newest_of(block: Block, query: Query) -> list[Message]:
    """The last record of each key in a block inside the bounds; tombstones count, watermarks do not."""
    rows = _inside(block, query)
    rows = rows[np.argsort(block.timestamps[rows], kind="stable")]
    few = numbered(block.data, block.keys[rows])
    if few is None:
        places = list({block.key(row): row for row in rows.tolist()}.values())
    else:
        last = np.full(len(few[1]), -1, dtype=np.int64)
        last[few[0]] = rows
        places = last.tolist()
    messages = map(block.message, places)
    return [message for message in messages if readable_punctuation(message) is None]


def _inside(block: Block, query: Query) -> Ints:
    """The positions of the records with a key inside the bounds. The log's times are in milliseconds, so the
    records of the last millisecond are decoded."""
    assert query.until is not None
    last_ms = (query.until - 1) // 1000
    inside = (block.timestamps <= last_ms) & (block.keys[:, 1] != ABSENT)
    if query.since is not None:
        inside &= block.timestamps >= query.since // 1000
    for row in np.flatnonzero(inside & (block.timestamps == last_ms)).tolist():
        value = block.value(row)
        if value is not None:
            inside[row] = _time_of(query, value) < query.until
    return np.flatnonzero(inside)


def _time_of(query: Query, value: bytes) -> int:
    """The record's own time; if it cannot be decoded, the earliest time, so that it is reported later."""
    try:
        return int(decode(query.schema, value)[query.time])
    except DeadLetter:
        return 0


def frame_of(reader: Reader, messages: Sequence[Message]) -> pl.DataFrame:
    """The frame of ``messages``; undecodable records are left out with a warning."""
    query, bodies, places = reader.query, [], []
    for message in messages:
        try:
            bodies.append(decode(query.schema, message.value))
            places.append((message.partition, message.offset))
        except DeadLetter as error:
            reader.bad.append(((message.topic, message.partition), message.offset, error.reason))
    reader.warn()
    made = frames.of_bodies(query.schema, bodies, places, query.wanted, query.zone)
    return made.select(query.columns)


def refuse_compacted(chosen: Topic, at: int, lag: int | None, now: int) -> None:
    """Raises NotKept if ``at`` is so far back that compaction may have removed records.

    ``lag``: the cluster's ``min.compaction.lag.ms``, None if it is not known; ``now`` in microseconds.
    """
    whole_from = None if lag is None else now - lag * 1000
    if whole_from is not None and at >= whole_from:
        return
    since = "an unknown time" if whole_from is None else times.shown(max(0, whole_from))
    raise NotKept(
        f"topic {chosen.name} is compacted and holds only the newest record of each key from before {since}",
        value=times.shown(at),
        remedy=f"ask for {since} or later, or name the audit store (DATABASE_URL), which keeps everything",
    )
