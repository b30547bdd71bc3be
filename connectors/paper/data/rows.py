"""A tape's bars and quotes as columns, with the time from which each may be seen.

Records of 10,000 symbols as dictionaries take gigabytes; as columns they take about 80 bytes each. Nothing is
added after a tape has been opened, so a server's memory does not grow with the time that passes.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapedeck.connectors.tapes.tape import Body, Tape
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

DELAY_US = 100_000
"""How long after the end of its minute a bar is published."""
REVISION_US = 30 * SECOND_US
"""Alpaca publishes an updated bar half a minute after the bar that it replaces."""

_AT_ONCE = 10_000

_KEYS = [("key", "i4"), ("t", "i8"), ("seen", "i8")]
_BAR = np.dtype([*_KEYS, ("revision", "i4"), *((name, "f8") for name in ("o", "h", "l", "c", "v"))])
_QUOTE = np.dtype([*_KEYS, *((name, "f8") for name in ("bid", "ask", "bid_size", "ask_size"))])


class BarRow(NamedTuple):
    """One revision of a bar. ``seen``: the moment from which it may be seen. Times in UTC microseconds."""

    feed: str
    symbol: str
    t: int
    seen: int
    revision: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class QuoteRow(NamedTuple):
    """One quote; an unknown side is NaN."""

    feed: str
    symbol: str
    t: int
    seen: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float


class _Rows:
    """Rows sorted by (feed, symbol), t and seen, and their order of publication."""

    def __init__(self, keys: list[tuple[str, str]], table: npt.NDArray[Any]) -> None:
        self._keys = keys
        self._table = np.sort(table, order=["key", "t", "seen"])
        self._numbers = {key: number for number, key in enumerate(keys)}
        self._edges = np.searchsorted(self._table["key"], np.arange(len(keys) + 1))
        self._order = np.lexsort((self._table["key"], self._table["t"], self._table["seen"]))
        self._seen = self._table["seen"][self._order]

    def symbols(self, feed: str) -> list[str]:
        return [symbol for each, symbol in self._keys if each == feed]

    def _due(self, after: int, until: int) -> Iterator[tuple[Any, ...]]:
        first, last = np.searchsorted(self._seen, (after, until), side="right")
        for at in range(first, last, _AT_ONCE):
            yield from self._table[self._order[at : min(at + _AT_ONCE, last)]].tolist()

    def _of(self, feed: str, symbol: str, start: int, end: int) -> Iterable[tuple[Any, ...]]:
        """The rows of one symbol with ``start`` <= t <= ``end``."""
        number = self._numbers.get((feed, symbol))
        if number is None:
            return ()
        rows = self._table[self._edges[number] : self._edges[number + 1]]
        first = np.searchsorted(rows["t"], start, side="left")
        last = np.searchsorted(rows["t"], end, side="right")
        found: list[tuple[Any, ...]] = rows[first:last].tolist()
        return found


class Bars(_Rows):
    """The bars of a tape, its warm-up session included, and of ``earlier`` tapes."""

    def __init__(self, tape: Tape, earlier: Iterable[Tape] = ()) -> None:
        numbers: dict[tuple[str, str], int] = {}
        tables = [
            np.array([_bar(numbers, label, body) for label, body in _arrivals(each)], dtype=_BAR)
            for each in (tape, *earlier)
        ]
        keys, table = _sorted(numbers, np.concatenate(tables))
        _, kept = np.unique(table[["key", "t", "revision"]], return_index=True)
        super().__init__(keys, table[kept])

    def due(self, after: int, until: int) -> Iterator[BarRow]:
        """What becomes visible after one moment and until another, in order."""
        for key, *rest in self._due(after, until):
            yield BarRow(*self._keys[key], *rest)

    def between(self, feed: str, symbol: str, start: int, end: int, now: int) -> Iterator[BarRow]:
        """The bars with ``start`` <= t <= ``end`` as they are known at ``now``: one per minute, in order."""
        newest: BarRow | None = None
        for _, *rest in self._of(feed, symbol, start, end):
            row = BarRow(feed, symbol, *rest)
            if row.seen > now:
                continue
            if newest is not None and newest.t != row.t:
                yield newest
            newest = row
        if newest is not None:
            yield newest


class Quotes(_Rows):
    """The stock quotes of a tape."""

    def __init__(self, tape: Tape) -> None:
        numbers: dict[tuple[str, str], int] = {}
        rows = [_quote(numbers, body) for minute in tape.minutes for body in minute.quotes]
        super().__init__(*_sorted(numbers, np.array(rows, dtype=_QUOTE)))

    def due(self, after: int, until: int) -> Iterator[QuoteRow]:
        """What becomes visible after one moment and until another, in order."""
        for key, *rest in self._due(after, until):
            yield QuoteRow(*self._keys[key], *rest)


def _arrivals(tape: Tape) -> Iterator[tuple[int, Body]]:
    """Each bar with the minute in which it arrives."""
    yield from ((body["t"], body) for body in tape.history)
    yield from ((minute.label, body) for minute in tape.minutes for body in minute.bars)


def _sorted(
    numbers: dict[tuple[str, str], int], table: npt.NDArray[Any]
) -> tuple[list[tuple[str, str]], npt.NDArray[Any]]:
    """The keys in order, and the table with their numbers in that order."""
    keys = sorted(numbers)
    place = np.empty(len(keys), dtype="i4")
    for number, key in enumerate(keys):
        place[numbers[key]] = number
    table["key"] = place[table["key"]]
    return keys, table


def _bar(numbers: dict[tuple[str, str], int], label: int, body: Body) -> tuple[Any, ...]:
    """``label``: the minute in which the bar arrives; a revision comes half a minute before its end."""
    number = numbers.setdefault((body["feed"], body["symbol"]), len(numbers))
    t, revision = body["t"], body["revision"]
    first = max(t, label) + MINUTE_US + DELAY_US
    seen = max(first - REVISION_US, t + MINUTE_US + DELAY_US + REVISION_US) if revision else first
    prices = (body[name] for name in ("open", "high", "low", "close", "volume"))
    return (number, t, seen, revision, *prices)


def _quote(numbers: dict[tuple[str, str], int], body: Body) -> tuple[Any, ...]:
    number = numbers.setdefault((body["feed"], body["instrument"]), len(numbers))
    sides = (body[name] for name in ("bid", "ask", "bid_size", "ask_size"))
    numbers_of = (float("nan") if each is None else float(each) for each in sides)
    return (number, body["quote_time"], body["quote_time"] + DELAY_US, *numbers_of)
