"""The market part of one run as arrays: decisions, the features they were made of, watchlist places."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tapedeck.schemas.columns import NULL, Columns, symbols
from tapedeck.streams.blocks import Ints, Source
from tapedeck.streams.bulk.arrays import RECORD, UNREADABLE, Interner, labels_of
from tapedeck.streams.bulk.reading import bodies_of, read_columns
from tapedeck.streams.sessions import Calendar
from tapedeck.tape.whatif.outcomes import HOLD, DecisionOutcome, MembershipOutcome

_ACTIONS, _DIRECTIONS = symbols("decisions", "action"), symbols("decisions", "direction")
_HOLD = _ACTIONS.index(HOLD)
_FEED = 1 << 32
_NO_TEXT, _FADE = b"", b"gap_fade"


class Key(NamedTuple):
    """A decision's: one bar of one series; ``t`` is its left edge in microseconds."""

    feed: str
    symbol: str
    t: int


class Names:
    """Texts as numbers, the same in every table of one comparison."""

    def __init__(self) -> None:
        self.words = Interner([_NO_TEXT, _FADE])

    def of(self, columns: Columns, field: str) -> Ints:
        """The number of each row's text; null is 0."""
        present = np.maximum(columns.spans[field], 0)
        return self.words.ids_of(columns.data, present)

    def series(self, columns: Columns) -> Ints:
        """A number for (feed, symbol), the symbol's in its lower half."""
        return self.of(columns, "feed") * _FEED + self.of(columns, "symbol")

    def number(self, text: str) -> int:
        """The number of a text, -1 where no record had it."""
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
    """The records of a topic, watermarks apart, partition after partition."""
    for part, (start, end) in sorted(source.ends([name]).items()):
        for block in source.stream(part, start, end):
            labels = labels_of(block)
            columns = read_columns(block, np.flatnonzero(labels == RECORD), Counter())[0]
            marks = labels[labels > UNREADABLE]
            yield Piece(part[1], columns, int(marks.max(initial=NULL)))


def _joined(pieces: Sequence[Any], dtype: type[np.generic] = np.int64) -> Any:
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=dtype)


class Table:
    """Rows by (series, bar), each key once: the first in log order. Columns are added in that order."""

    def __init__(self, names: Names, series: Ints, times: Ints) -> None:
        self.names = names
        order = np.lexsort((np.arange(len(times)), times, series))
        sorted_series, sorted_times = series[order], times[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(sorted_series) != 0) | (np.diff(sorted_times) != 0)
        self.rows = order[first]
        """Where each stands in log order."""
        self.series, self.times = sorted_series[first], sorted_times[first]

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, key: Key) -> int | None:
        """Where the row of ``key`` stands among the sorted ones."""
        feed, symbol = self.names.number(key.feed), self.names.number(key.symbol)
        number = feed * _FEED + symbol
        if feed < 0 or symbol < 0:
            return None
        low, high = (int(np.searchsorted(self.series, number, side)) for side in ("left", "right"))
        at = low + int(np.searchsorted(self.times[low:high], key.t))
        return at if at < high and self.times[at] == key.t else None

    def key(self, place: int) -> Key:
        feed, symbol = divmod(int(self.series[place]), _FEED)
        return Key(self.names.text(feed) or "", self.names.text(symbol) or "", int(self.times[place]))


class Context(NamedTuple):
    """The state that a bar is decided on: signals of the symbol before it, in bars' times and dates."""

    now: int
    last_signal: int | None
    fade_date: int | None


class Decisions(Table):
    """The decisions of one run."""

    def __init__(self, names: Names, source: Source, calendar: Calendar) -> None:
        series, times, codes, confidence = [], [], [], []
        self._digests = Interner([_NO_TEXT])
        labels = dict.fromkeys(range(source.layout.partitions("decisions")), NULL)
        for partition, columns, label in pieces_of(source, "decisions"):
            labels[partition] = max(labels[partition], label)
            ints = columns.ints
            series.append(names.series(columns))
            times.append(np.stack([ints["bar_t"], ints["event_time"], ints["now"]], axis=1))
            words = names.of(columns, "strategy"), names.of(columns, "reason")
            digest = self._digests.ids_of(columns.data, columns.spans["config_digest"])
            codes.append(np.stack([ints["action"], ints["direction"], *words, digest], axis=1))
            confidence.append(columns.floats["confidence"])
        self.complete = min(labels.values())
        """The last minute that is whole: its left edge; NULL where a partition has no watermark."""
        found, moments = _joined(codes).reshape(-1, 5), _joined(times).reshape(-1, 3)
        super().__init__(names, _joined(series), moments[:, 0])
        self.event_times, self._now = moments[self.rows, 1], moments[self.rows, 2]
        self.codes, self._digest = found[self.rows, :4], found[self.rows, 4]
        self.confidence = _joined(confidence, np.float64)[self.rows]
        self._calendar = calendar
        self._last = self._signals_before(self.codes[:, 0] != _HOLD)
        is_fade = (self.codes[:, 0] != _HOLD) & (self.codes[:, 2] == 1)
        self._fade = self._signals_before(is_fade) if is_fade.any() else None

    def _signals_before(self, acts: Any) -> Ints:
        """The newest bar of the symbol with a signal before each row, NULL where there is none."""
        last = np.full(len(self), NULL, dtype=np.int64)
        symbol = self.series % _FEED
        for each in np.unique(symbol).tolist():
            mine = np.flatnonzero(symbol == each)
            mine = mine[np.argsort(self.rows[mine])]  # in log order, all feeds together
            newest = np.maximum.accumulate(np.where(acts[mine], self.times[mine], NULL))
            last[mine[1:]] = newest[:-1]
        return last

    def outcome(self, key: Key) -> DecisionOutcome | None:
        """None where there is no decision about that bar."""
        place = self.place(key)
        if place is None:
            return None
        action, direction, strategy, reason = self.codes[place].tolist()
        confidence = float(self.confidence[place])
        return DecisionOutcome(
            _ACTIONS[action],
            self.names.text(strategy),
            self.names.text(reason) or "",
            None if np.isnan(confidence) else confidence,
            None if direction == NULL else _DIRECTIONS[direction],
        )

    def context(self, key: Key) -> Context | None:
        place = self.place(key)
        if place is None:
            return None
        last = int(self._last[place])
        fade = NULL if self._fade is None else int(self._fade[place])
        return Context(
            int(self._now[place]),
            None if last == NULL else last,
            None if fade == NULL else self._calendar.session_date(fade),
        )

    def digests(self, since: int, until: int) -> set[str]:
        """The configurations of the decisions about bars that closed in [since, until)."""
        inside = (self.event_times >= since) & (self.event_times < until)
        return {self._digests.texts[k].decode() for k in np.unique(self._digest[inside]).tolist()}

    def counts(self, since: int, until: int) -> tuple[int, int]:
        """(decisions, those that act) about bars that closed in [since, until)."""
        inside = (self.event_times >= since) & (self.event_times < until)
        return int(inside.sum()), int((self.codes[inside, 0] != _HOLD).sum())

    def differing(self, other: "Decisions") -> list[Key]:
        """The bars that the two decide otherwise, or that only one decides."""
        mine = np.stack([self.series, self.times], axis=1)
        theirs = np.stack([other.series, other.times], axis=1)
        _, where = np.unique(np.concatenate([mine, theirs]), axis=0, return_inverse=True)
        where = where.reshape(-1)
        here = np.full(where.max(initial=-1) + 1, -1)
        there = here.copy()
        here[where[: len(mine)]] = np.arange(len(mine))
        there[where[len(mine) :]] = np.arange(len(theirs))
        only = (here < 0) | (there < 0)
        both = np.flatnonzero(~only)
        a, b = here[both], there[both]
        same = (self.codes[a] == other.codes[b]).all(axis=1)
        x, y = self.confidence[a], other.confidence[b]
        same &= (x == y) | (np.isnan(x) & np.isnan(y))
        changed = [self.key(k) for k in a[~same].tolist()]
        changed += [self.key(int(here[k])) if here[k] >= 0 else other.key(int(there[k]))
                    for k in np.flatnonzero(only).tolist()]  # fmt: skip
        return sorted(changed, key=lambda key: (key.t, key.symbol, key.feed))

    def event_time(self, key: Key) -> int | None:
        place = self.place(key)
        return None if place is None else int(self.event_times[place])


_INTS = ("as_of", "ready", "suspect_split", "trend_state")
_FLOATS = ("close", "sma20", "sma50", "distance_sma20", "vol_ratio", "volume_ratio", "gap_pct", "prev_move")


class Features(Table):
    """The first feature vector of each bar: a bar is decided once, on the first revision seen."""

    def __init__(self, names: Names, source: Source) -> None:
        series, times, ints, floats = [], [], [], []
        for _, columns, _ in pieces_of(source, "features"):
            series.append(names.series(columns))
            times.append(columns.ints["t"].copy())
            ints.append(np.stack([columns.ints[name] for name in _INTS], axis=1))
            floats.append(np.stack([columns.floats[name] for name in _FLOATS], axis=1))
        super().__init__(names, _joined(series), _joined(times))
        self._ints = _joined(ints).reshape(-1, len(_INTS))[self.rows]
        self._floats = _joined(floats, np.float64).reshape(-1, len(_FLOATS))[self.rows]

    def row(self, key: Key) -> dict[str, Any] | None:
        """The fields that a decision is made of; None where there is no such feature."""
        place = self.place(key)
        if place is None:
            return None
        ints = zip(_INTS, self._ints[place].tolist(), strict=True)
        floats = zip(_FLOATS, self._floats[place].tolist(), strict=True)
        known = {name: None if value == NULL else value for name, value in ints}
        return known | {name: None if np.isnan(value) else value for name, value in floats}


class Places:
    """Where each symbol stands on the watchlist, evaluation by evaluation."""

    def __init__(self, source: Source) -> None:
        self._found: dict[str, dict[int, MembershipOutcome]] = {}
        for _, columns, _ in pieces_of(source, "memberships"):
            for body in bodies_of(columns, ("symbol", "event_time", "on_watchlist", "reason")):
                mine = self._found.setdefault(body["symbol"], {})
                mine.setdefault(body["event_time"], MembershipOutcome(body["on_watchlist"], body["reason"]))
        self._times = {symbol: sorted(places) for symbol, places in self._found.items()}

    def outcome(self, symbol: str, at: int) -> MembershipOutcome | None:
        """What the evaluation at ``at`` said; None where there was none."""
        return self._found.get(symbol, {}).get(at)

    def in_force(self, symbol: str, now: int) -> tuple[int, MembershipOutcome] | None:
        """The newest evaluation up to ``now``, which is what a decision at ``now`` is joined with."""
        times = self._times.get(symbol, [])
        at = bisect_right(times, now) - 1
        return None if at < 0 else (times[at], self._found[symbol][times[at]])

    def is_listed(self, symbol: str, now: int) -> bool:
        found = self.in_force(symbol, now)
        return found is not None and found[1].on_watchlist

    def counts(self, since: int, until: int) -> tuple[int, int]:
        """(places, those on the list) of evaluations in [since, until)."""
        found = [p for mine in self._found.values() for at, p in mine.items() if since <= at < until]
        return len(found), sum(place.on_watchlist for place in found)

    def differing(self, other: "Places") -> list[tuple[str, int]]:
        """(symbol, evaluation) of what the two do not have alike, by time."""
        both = (pair for each in (self, other) for pair in each._times.items())
        keys = {(symbol, at) for symbol, times in both for at in times}
        unlike = (key for key in keys if self.outcome(*key) != other.outcome(*key))
        return sorted(unlike, key=lambda key: (key[1], key[0]))
