"""The newest bars and features of a session, minute by minute, without a message of each."""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np

from tapedeck.connectors.dispatch.freshness import NAMES, NewestSeen
from tapedeck.connectors.dispatch.inbox import Body, Newest
from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import Block, Ints
from tapedeck.streams.columnar.arrays import RECORD, Interner, labels_of
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.tape.backtest.fed import BARS, Fed, arrivals

Symbol = tuple[str, str]
"""Topic and symbol."""


class _Seen(NamedTuple):
    """What is seen of one topic and symbol, in the order of arrival.

    ``arrive``: labels of minutes; ``edges``: the newest left edge until then; ``best``: the row in ``block``
    of the record with it.
    """

    arrive: list[int]
    edges: list[int]
    best: list[int]
    block: Block


class NewestOfDay(NewestSeen):
    """What a dispatcher would have seen of ``bars`` and ``features`` until the minute of ``reach``."""

    def __init__(self) -> None:
        super().__init__()
        self._label = 0
        self._before: dict[Symbol, int] = {}
        self._today: dict[Symbol, _Seen] = {}

    def begin(self, fed: Fed, symbols: Collection[str]) -> None:
        """Take up a session, of ``symbols`` alone."""
        for (name, symbol), seen in self._today.items():
            self._before[name, symbol] = seen.edges[-1]
            if name == BARS:
                self._bars[symbol] = _value(seen, -1)
        self._label, self._today = fed.labels[0] - MINUTE_US, {}
        names = Interner(sorted(each.encode() for each in symbols))
        for block in fed.blocks:
            if block.topic in NAMES:
                self._add(block, names, len(symbols), fed.labels[0])

    def reach(self, label: int) -> None:
        """Everything of the minute ``label`` has arrived."""
        self._label = label

    def of(self, symbol: str, known_t: int) -> Newest:
        """The newest left edges of ``symbol``; a signal's own bar at ``known_t`` counts as seen."""
        bar, feature = (max(self._edge(name, symbol), known_t) for name in NAMES)
        return Newest(bar, feature)

    def bars(self, symbols: Iterable[str]) -> dict[str, Body]:
        """The newest bar of each of ``symbols`` that has one."""
        found = {}
        for symbol in symbols:
            seen = self._today.get((BARS, symbol))
            at = -1 if seen is None else bisect_right(seen.arrive, self._label) - 1
            value = self._bars.get(symbol) if seen is None or at < 0 else _value(seen, at)
            if value is not None:
                found[symbol] = decode(BARS, value)
        return found

    def _edge(self, name: str, symbol: str) -> int:
        seen = self._today.get((name, symbol))
        at = -1 if seen is None else bisect_right(seen.arrive, self._label) - 1
        return self._before.get((name, symbol), 0) if seen is None or at < 0 else seen.edges[at]

    def _add(self, block: Block, names: Interner, count: int, first: int) -> None:
        """See the records of the first ``count`` of ``names``: it learns the others on the way."""
        numbers = names.ids_of(block.data, block.keys)
        rows = np.flatnonzero((numbers < count) & (labels_of(block) == RECORD))
        arrive = arrivals(block, rows, first)
        for number in np.unique(numbers[rows]).tolist():
            mine = numbers[rows] == number
            self._see(block, names.texts[number].decode(), rows[mine], arrive[mine])

    def _see(self, block: Block, symbol: str, rows: Ints, arrive: Ints) -> None:
        order = np.argsort(arrive, kind="stable")
        rows, arrive = rows[order], arrive[order]
        known = self._before.get((block.topic, symbol), 0)
        own = block.timestamps[rows] * 1000 - MINUTE_US
        edges = np.maximum(np.maximum.accumulate(own), known)
        best = np.maximum.accumulate(np.where(own == edges, np.arange(len(rows)), -1))
        kept = best >= 0  # before that, what an earlier session brought is newer
        if kept.any():
            self._today[block.topic, symbol] = _Seen(
                arrive[kept].tolist(), edges[kept].tolist(), rows[best[kept]].tolist(), block
            )


def _value(seen: _Seen, at: int) -> bytes:
    value = seen.block.value(seen.best[at])
    assert value is not None  # the market stages read every bar of a tape
    return value
