"""The newest recorded quotes of stocks, for signals without a requested quote."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Ints, Source
from tapedeck.streams.columnar.arrays import RECORD, labels_of
from tapedeck.streams.columnar.block_columns import read_columns
from tapedeck.streams.misses import number

_SCALE = 1_000_000

Moment = tuple[str, int]
"""A stock and UTC microseconds."""


def stock_quotes(source: Source, moments: Collection[Moment]) -> Mapping[Moment, str]:
    """Bid, ask and time of the newest quote up to each of ``moments``, if there is one.

    Topic ``quotes`` is read once and not held in memory; without moments nothing is read.
    """
    if not moments:
        return {}
    asked: dict[str, list[int]] = defaultdict(list)
    for symbol, moment in sorted(moments):
        asked[symbol].append(moment)
    newest: dict[Moment, tuple[int, int, int]] = {}
    for part, (start, end) in sorted(source.ends(["quotes"]).items()):
        for block in source.stream(part, start, end):
            columns = read_columns(block, np.flatnonzero(labels_of(block) == RECORD), Counter())[0]
            rows = np.stack([columns.ints[name] for name in ("quote_time", "bid", "ask")], axis=1)
            names = np.array(columns.strings("instrument"), dtype=object)
            for name in asked.keys() & set(names.tolist()):
                mine = rows[names == name]
                _look(newest, name, asked[name], mine[(mine > 0).all(axis=1)])
    return {moment: _told(*found) for moment, found in newest.items()}


def _look(newest: dict[Moment, tuple[int, int, int]], symbol: str, moments: list[int], rows: Ints) -> None:
    """Keep for each moment the newest quote up to it; of equal times the last in log order."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    places = np.searchsorted(rows[:, 0], moments, "right") - 1
    for moment, place in zip(moments, places.tolist(), strict=True):
        if place < 0:
            continue
        time, bid, ask = rows[place].tolist()
        known = newest.get((symbol, moment))
        if known is None or known[0] <= time:
            newest[symbol, moment] = time, bid, ask


def _told(time: int, bid: int, ask: int) -> str:
    return f"{number(bid / _SCALE)} / {number(ask / _SCALE)} at {iso_time(time)}"
