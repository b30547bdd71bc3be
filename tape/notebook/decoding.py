"""From the blocks of a log to the frames of a query."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tapedeck.schemas import varint
from tapedeck.schemas.codec import decode, foreign_in_words, take_foreign
from tapedeck.schemas.columns import decode_columns, supports
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.blocks import ABSENT, Block, Source
from tapedeck.streams.merge import Part
from tapedeck.tape.notebook import frames
from tapedeck.tape.notebook.numbers import of_keys
from tapedeck.tape.notebook.query import Query, nearest, spans

_SHOWN = 3
Mask = NDArray[np.bool_]


class RecordsLeftOut(UserWarning):
    """Records that could not be decoded are not in the frame."""


class StrayRecords(UserWarning):
    """Records are in another partition than that of their key."""


class Reader:
    """Reads one query from a source. ``bad`` lists the records that could not be decoded."""

    def __init__(self, source: Source, query: Query) -> None:
        self._source, self.query = source, query
        self.bad: list[tuple[Part, int, str]] = []
        self._homes = query.homes(source.layout)
        self.strays, self._first_stray, self._told_strays = 0, "", False

    def whole(self) -> pl.DataFrame:
        """All results of the query, in order. Warns once about records that were left out."""
        found = [
            frame
            for part, (first, end) in spans(self._source, self.query).items()
            for frame in self.stretch(part, first, end)
        ]
        self.warn()
        whole = self.ordered(found)
        refuse_unknown_symbols(self._source, self.query, whole)
        return self.finished(whole)

    def stretch(self, part: Part, first: int, end: int) -> Iterator[pl.DataFrame]:
        """Frames of the records of ``part`` with offsets in [first, end), in log order."""
        strangers = [symbol for symbol, home in self._homes.items() if home != part[1]]
        alone = len(strangers) == len(self._homes) > 0
        for block in self._source.stream(part, first, end):
            kept = _kept(block, self.query)
            if alone and not self.query.by_key and kept.any():
                kept &= _mentions(block, strangers)
            if not kept.any():
                continue
            frame = self._bounded(self._decoded(block if kept.all() else frames.chosen(block, kept)))
            if strangers:
                self._note_strays(part, frame.filter(pl.col(self.query.symbol_field).is_in(strangers)))
            yield frame

    def _note_strays(self, part: Part, frame: pl.DataFrame) -> None:
        """Records that should lie in another partition: their producer uses another partitioner."""
        if len(frame) and not self.strays:
            symbol, offset = frame[self.query.symbol_field][0], frame[frames.OFFSET][0]
            right = f"{part[0]}/{self._homes[symbol]}"
            self._first_stray = f"key {symbol} at {part[0]}/{part[1]}@{offset} instead of {right}"
        self.strays += len(frame)

    def ordered(self, found: list[pl.DataFrame]) -> pl.DataFrame:
        """One frame in order of time, then partition and offset; repeated event_ids are in it once."""
        query = self.query
        if not found:
            return frames.empty(query.schema, query.wanted, query.zone)
        whole = pl.concat(found, rechunk=True)
        # The parts are ordered by partition and offset, and the sort is stable.
        if not whole[query.time].is_sorted():
            whole = whole.sort(query.time, maintain_order=True)
        if query.identity is None or query.repeats:
            return whole
        first = whole[query.identity].is_first_distinct()
        return whole if first.all() else whole.filter(first)

    def finished(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Only the requested columns."""
        return frame.select(self.query.columns)

    def warn(self) -> None:
        """Warn once about records that are missing from the frame, and about misplaced ones."""
        if self.strays and not self._told_strays:
            self._told_strays = True
            name = self.query.topic.name
            warnings.warn(
                f"{self.strays} records of {name} are in another partition than their key's, first"
                f" {self._first_stray}: their producer does not partition as Kafka's Java client does"
                " (murmur2). They are in the frame; workers read them in that partition, with other keys",
                StrayRecords,
                stacklevel=4,
            )
        if not self.bad:
            return
        where = ", ".join(f"{n}/{p}@{offset} ({why})" for (n, p), offset, why in self.bad[:_SHOWN])
        more = f" and {len(self.bad) - _SHOWN} more" if len(self.bad) > _SHOWN else ""
        name, foreign = self.query.topic.name, foreign_in_words(take_foreign())
        warnings.warn(
            f"{len(self.bad)} records of {name} could not be decoded and are left out: {where}{more};"
            f' td.tap("{name}", raw=True) shows their bytes{f". {foreign}" if foreign else ""}',
            RecordsLeftOut,
            stacklevel=4,
        )
        self.bad = []

    def _decoded(self, block: Block) -> pl.DataFrame:
        schema = self.query.schema
        if not supports(schema):
            return self._by_row(block)
        columns, rejected = decode_columns(schema, block.data, block.values)
        if len(rejected):
            bodies, kept = self._bodies(frames.chosen(block, rejected))
            try:
                columns = columns.with_rows(rejected[kept], bodies) if bodies else columns
            except DeadLetter:  # a number that does not fit a column
                return self._by_row(block)
            whole = np.ones(len(block), dtype=np.bool_)
            whole[rejected[~kept]] = False
            columns, block = columns.take(whole), frames.chosen(block, whole)
        query = self.query
        return frames.of_columns(columns, block.partition, block.offsets, query.wanted, query.zone)

    def _by_row(self, block: Block) -> pl.DataFrame:
        bodies, kept = self._bodies(block)
        places = [(block.partition, offset) for offset in block.offsets[kept].tolist()]
        return frames.of_bodies(self.query.schema, bodies, places, self.query.wanted, self.query.zone)

    def _bodies(self, block: Block) -> tuple[list[dict[str, Any]], Mask]:
        """(the bodies that can be decoded, their rows)."""
        bodies, kept = [], np.ones(len(block), dtype=np.bool_)
        for row in range(len(block)):
            try:
                bodies.append(decode(self.query.schema, block.value(row)))
            except DeadLetter as error:
                kept[row] = False
                self.bad.append((block.part, int(block.offsets[row]), error.reason))
        return bodies, kept

    def _bounded(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows inside the bounds to the microsecond, filtered by symbol if the key does not have it."""
        query = self.query
        time = pl.col(query.time).dt.epoch("us")
        checks = []
        if query.since is not None:
            checks.append(time >= query.since)
        if query.until is not None:
            checks.append(time < query.until)
        if query.symbols is not None and not query.by_key:
            checks.append(pl.col(query.symbol_field).is_in(query.symbols))
        return frame.filter(*checks) if checks else frame


def _kept(block: Block, query: Query) -> Mask:
    """Records that may be rows: no watermarks or tombstones, within the bounds to the millisecond, by key."""
    kept: Mask = block.values[:, 1] != ABSENT
    if query.since is not None:
        kept &= block.timestamps >= query.since // 1000
    if query.until is not None:
        kept &= block.timestamps * 1000 < query.until
    if query.symbols is not None and query.by_key:
        kept &= of_keys(block, frozenset(symbol.encode() for symbol in query.symbols))
    return kept


def _mentions(block: Block, texts: Iterable[str]) -> Mask:
    """The records whose value contains one of ``texts`` as a string; only these few need to be decoded."""
    found = np.zeros(len(block), dtype=np.bool_)
    data, order = block.data.tobytes(), np.argsort(block.values[:, 0], kind="stable")
    starts, ends = block.values[order, 0], block.values[order].sum(axis=1)
    for text in texts:
        content = text.encode()
        length = bytearray()
        varint.put(length, len(content))  # as in Avro
        needle = bytes(length) + content
        places, at = [], data.find(needle)
        while at >= 0:
            places.append(at)
            at = data.find(needle, at + 1)
        rows = np.searchsorted(starts, places, side="right") - 1
        inside = (rows >= 0) & (np.array(places, dtype=np.int64) + len(needle) <= ends[rows])
        found[order[rows[inside]]] = True
    return found


def refuse_unknown_symbols(source: Source, query: Query, frame: pl.DataFrame) -> None:
    """Raises Fatal for a symbol without rows that is in no universe, with the nearest name that is."""
    if query.symbols is None:
        return
    known = set(frame[query.symbol_field].unique())
    missing = [symbol for symbol in query.symbols if symbol not in known]
    listed = sorted(universe(source)) if missing else []
    for symbol in missing:
        if listed and symbol not in listed:
            raise Fatal("no such symbol in the universe", value=symbol, remedy=nearest(symbol, listed))


def universe(source: Source) -> set[str]:
    """The symbols of every universe that the log holds."""
    found: set[str] = set()
    for part, (low, end) in source.ends(["universe"]).items():
        for block in source.stream(part, low, end):
            for row in np.flatnonzero(block.values[:, 1] != ABSENT).tolist():
                try:
                    body = decode("universe", block.value(row))
                except DeadLetter:
                    continue
                found |= {member["symbol"] for member in body["members"]}
    return found
