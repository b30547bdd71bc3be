"""The decisions of one run and their features, as one array per day."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tapedeck.schemas.columns import NULL, Columns, symbols
from tapedeck.streams.blocks import Ints, Source
from tapedeck.streams.columnar.arrays import RECORD, UNREADABLE, Interner, labels_of
from tapedeck.streams.columnar.block_columns import read_columns
from tapedeck.streams.compared import Decides
from tapedeck.streams.sessions import Calendar
from tapedeck.tape.whatif.outcomes import HOLD, DecisionOutcome
from tapedeck.tape.whatif.spill import DAY_US, ByDay
from tapedeck.topics.catalogue import topic

_FEED = 1 << 32
_NO_TEXT = b""


class Key(NamedTuple):
    """The key of a decision: one bar of one series; ``t`` is its left edge in microseconds."""

    feed: str
    symbol: str
    t: int


class Names:
    """Texts as numbers, which are the same in every table of one comparison."""

    def __init__(self, *known: str) -> None:
        """``known`` have the numbers from 1 on."""
        self.words = Interner([_NO_TEXT, *(text.encode() for text in known)])

    def of(self, columns: Columns, field: str) -> Ints:
        """The number of each row's text; null is 0."""
        present = np.maximum(columns.spans[field], 0)
        return self.words.ids_of(columns.data, present)

    def series(self, columns: Columns) -> Ints:
        """A number for (feed, symbol), with the symbol's number in the lower half."""
        return self.of(columns, "feed") * _FEED + self.of(columns, "symbol")

    def number(self, text: str) -> int:
        """The number of a text, -1 if no record had it."""
        known = self.words.texts
        return known.index(text.encode()) if text.encode() in known else -1

    def text(self, number: int) -> str | None:
        return self.words.texts[number].decode() if number else None


class Piece(NamedTuple):
    """Records of one partition in log order, and the newest watermark among them, NULL without one."""

    partition: int
    columns: Columns
    label: int


def pieces_of(source: Source, name: str) -> Iterator[Piece]:
    """The records of a topic without watermarks, partition after partition."""
    for part, (start, end) in sorted(source.ends([name]).items()):
        for block in source.stream(part, start, end):
            labels = labels_of(block)
            columns = read_columns(block, np.flatnonzero(labels == RECORD), Counter())[0]
            marks = labels[labels > UNREADABLE]
            yield Piece(part[1], columns, int(marks.max(initial=NULL)))


class Table:
    """Rows by (series, bar), each key once: the first in log order. They are on disk by the bar's day."""

    def __init__(self, names: Names, dtype: np.dtype[Any]) -> None:
        self.names, self._kept = names, ByDay(dtype, _each_once)

    @property
    def days(self) -> list[int]:
        """The days that have rows."""
        return self._kept.days

    def rows(self, day: int) -> Any:
        """A day's rows by series and bar, a structured array."""
        return self._kept.day(day)

    def find(self, key: Key) -> Any:
        """The row of ``key``; None if there is none."""
        feed, symbol = self.names.number(key.feed), self.names.number(key.symbol)
        number = feed * _FEED + symbol
        if feed < 0 or symbol < 0:
            return None
        rows = self.rows(key.t // DAY_US)
        low, high = (int(np.searchsorted(rows["series"], number, side)) for side in ("left", "right"))
        at = low + int(np.searchsorted(rows["t"][low:high], key.t))
        return rows[at] if at < high and rows["t"][at] == key.t else None

    def key(self, row: Any) -> Key:
        feed, symbol = divmod(int(row["series"]), _FEED)
        return Key(self.names.text(feed) or "", self.names.text(symbol) or "", int(row["t"]))


def _each_once(rows: Any) -> Any:
    """Rows in log order by (series, t), the first of each."""
    order = np.lexsort((np.arange(len(rows)), rows["t"], rows["series"]))
    rows = rows[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (np.diff(rows["series"]) != 0) | (np.diff(rows["t"]) != 0)
    return rows[first]


class Context(NamedTuple):
    """The state for a bar's decision: earlier signals of its symbol, with their bars' times and dates."""

    now: int
    last_signal: int | None
    fade_date: int | None


class _Signals:
    """The newest bar with a signal, by symbol, as of each place in the log."""

    def __init__(self) -> None:
        self._found: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, rows: Any) -> None:
        """Add the acting decisions of any part of the log."""
        columns = (rows["series"] % _FEED).tolist(), rows["row"].tolist(), rows["t"].tolist()
        for symbol, row, t in zip(*columns, strict=True):
            self._found[symbol].append((row, t))

    def sort(self) -> None:
        """Sort them into log order after all were added."""
        for mine in self._found.values():
            mine.sort()
            newest = NULL
            for at, (row, t) in enumerate(mine):
                newest = max(newest, t)
                mine[at] = row, newest

    def before(self, row: Any) -> int | None:
        """The newest bar of the symbol with a signal before ``row``."""
        mine = self._found.get(int(row["series"]) % _FEED, [])
        at = bisect_left(mine, (int(row["row"]), NULL))
        return mine[at - 1][1] if at else None


_DECISION = np.dtype([
    *((name, np.int64) for name in ("row", "series", "t", "event_time", "now", "digest")),
    ("codes", np.int64, 4),
    ("confidence", np.float64),
])  # fmt: skip


class Decisions(Table):
    """The decisions of one run. ``first`` and ``last``: event times, NULL if there is none."""

    def __init__(self, decides: Decides, names: Names, source: Source, calendar: Calendar) -> None:
        super().__init__(names, _DECISION)
        schema, fade = topic(decides.topic).schema or "", names.number(decides.once_a_day)
        self._actions, self._directions = symbols(schema, "action"), symbols(schema, "direction")
        self._hold = self._actions.index(HOLD)
        self._calendar, self._digests = calendar, Interner([_NO_TEXT])
        labels = dict.fromkeys(range(source.layout.partitions(decides.topic)), NULL)
        count = 0
        for partition, columns, label in pieces_of(source, decides.topic):
            labels[partition] = max(labels[partition], label)
            rows = self._rows_of(columns)
            rows["row"] = count + np.arange(len(rows))
            count += len(rows)
            self._kept.add(rows["t"], rows)
        self.complete = min(labels.values())
        """The left edge of the last complete minute; NULL if a partition has no watermark."""
        self.first, self.last = NULL, NULL
        self._last, self._fade = _Signals(), _Signals()
        for rows in map(self.rows, self.days):
            times, acts = rows["event_time"], rows["codes"][:, 0] != self._hold
            self.first = int(times.min()) if self.first == NULL else min(self.first, int(times.min()))
            self.last = max(self.last, int(times.max()))
            self._last.add(rows[acts])
            self._fade.add(rows[acts & (rows["codes"][:, 2] == fade)])
        self._last.sort()
        self._fade.sort()

    def _rows_of(self, columns: Columns) -> Any:
        ints, names = columns.ints, self.names
        rows = np.zeros(len(ints["bar_t"]), dtype=_DECISION)
        rows["series"], rows["t"] = names.series(columns), ints["bar_t"]
        rows["event_time"], rows["now"] = ints["event_time"], ints["now"]
        words = names.of(columns, "strategy"), names.of(columns, "reason")
        rows["codes"] = np.stack([ints["action"], ints["direction"], *words], axis=1)
        rows["digest"] = self._digests.ids_of(columns.data, columns.spans["config_digest"])
        rows["confidence"] = columns.floats["confidence"]
        return rows

    def outcome(self, key: Key) -> DecisionOutcome | None:
        """The decision about that bar; None if there is none."""
        row = self.find(key)
        if row is None:
            return None
        action, direction, strategy, reason = row["codes"].tolist()
        confidence = float(row["confidence"])
        return DecisionOutcome(
            self._actions[action],
            self.names.text(strategy),
            self.names.text(reason) or "",
            None if np.isnan(confidence) else confidence,
            None if direction == NULL else self._directions[direction],
        )

    def context(self, key: Key) -> Context | None:
        row = self.find(key)
        if row is None:
            return None
        fade = self._fade.before(row)
        date = None if fade is None else self._calendar.session_date(fade)
        return Context(int(row["now"]), self._last.before(row), date)

    def _inside(self, since: int, until: int) -> Iterator[Any]:
        """The rows about bars that closed in [since, until), a day at a time."""
        for rows in map(self.rows, self.days):
            yield rows[(rows["event_time"] >= since) & (rows["event_time"] < until)]

    def digests(self, since: int, until: int) -> set[str]:
        """The configurations of the decisions about bars that closed in [since, until)."""
        found = {k for rows in self._inside(since, until) for k in np.unique(rows["digest"]).tolist()}
        return {self._digests.texts[k].decode() for k in found}

    def counts(self, since: int, until: int) -> tuple[int, int]:
        """(decisions, those that act) about bars that closed in [since, until)."""
        found = [
            (len(rows), int((rows["codes"][:, 0] != self._hold).sum())) for rows in self._inside(since, until)
        ]
        return sum(n for n, _ in found), sum(n for _, n in found)

    def differing(self, other: "Decisions") -> Iterator[Key]:
        """The bars that the two decide differently, or that only one decides, by time."""
        for day in sorted({*self.days, *other.days}) if self is not other else ():
            yield from self._differing(self.rows(day), other.rows(day))

    def _differing(self, mine: Any, theirs: Any) -> list[Key]:
        keys = [np.stack([rows["series"], rows["t"]], axis=1) for rows in (mine, theirs)]
        _, where = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
        where = where.reshape(-1)
        here = np.full(where.max(initial=-1) + 1, -1)
        there = here.copy()
        here[where[: len(mine)]] = np.arange(len(mine))
        there[where[len(mine) :]] = np.arange(len(theirs))
        only = (here < 0) | (there < 0)
        both = np.flatnonzero(~only)
        a, b = mine[here[both]], theirs[there[both]]
        same = (a["codes"] == b["codes"]).all(axis=1)
        x, y = a["confidence"], b["confidence"]
        same &= (x == y) | (np.isnan(x) & np.isnan(y))
        changed = [self.key(row) for row in a[~same]]
        changed += [self.key(mine[here[k]] if here[k] >= 0 else theirs[there[k]])
                    for k in np.flatnonzero(only).tolist()]  # fmt: skip
        return sorted(changed, key=lambda key: (key.t, key.symbol, key.feed))

    def event_time(self, key: Key) -> int | None:
        row = self.find(key)
        return None if row is None else int(row["event_time"])


class Features(Table):
    """The inputs of decisions, the first record of each bar: a bar is decided once, on the first revision
    seen."""

    def __init__(self, decides: Decides, names: Names, source: Source, name: str) -> None:
        ints = ((each, np.int64) for each in ("series", "t", *decides.ints))
        dtype = np.dtype([*ints, *((each, np.float64) for each in decides.floats)])
        super().__init__(names, dtype)
        self._ints, self._floats = decides.ints, decides.floats
        for _, columns, _ in pieces_of(source, name):
            rows = np.zeros(len(columns.ints["t"]), dtype=dtype)
            rows["series"], rows["t"] = names.series(columns), columns.ints["t"]
            for field in self._ints:
                rows[field] = columns.ints[field]
            for field in self._floats:
                rows[field] = columns.floats[field]
            self._kept.add(rows["t"], rows)

    def row(self, key: Key) -> dict[str, Any] | None:
        """The input fields of a decision; None if there is no such feature."""
        row = self.find(key)
        if row is None:
            return None
        ints, floats = ({name: row[name].item() for name in names} for names in (self._ints, self._floats))
        known = {name: None if value == NULL else value for name, value in ints.items()}
        return known | {name: None if np.isnan(value) else value for name, value in floats.items()}
