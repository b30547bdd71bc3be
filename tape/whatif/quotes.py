"""The newest recorded quote of a stock at a moment, for signals that nobody asked a quote for."""

from collections import Counter, defaultdict
from functools import cached_property

import numpy as np

from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Ints, Source
from tapedeck.streams.bulk.arrays import RECORD, labels_of
from tapedeck.streams.bulk.reading import read_columns
from tapedeck.tape.explain.describe import number

_SCALE = 1_000_000


class StockQuotes:
    """Quotes of stocks on topic ``quotes``; nothing is read before the first question."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def at(self, symbol: str, moment: int) -> str | None:
        """Bid, ask and time of the newest quote up to ``moment``; None where there is none."""
        found = self._quotes.get(symbol)
        if found is None:
            return None
        at = int(np.searchsorted(found[:, 0], moment, "right")) - 1
        if at < 0:
            return None
        time, bid, ask = found[at].tolist()
        return f"{number(bid / _SCALE)} / {number(ask / _SCALE)} at {iso_time(time)}"

    @cached_property
    def _quotes(self) -> dict[str, Ints]:
        pieces: dict[str, list[Ints]] = defaultdict(list)
        for part, (start, end) in sorted(self._source.ends(["quotes"]).items()):
            for block in self._source.stream(part, start, end):
                records = np.flatnonzero(labels_of(block) == RECORD)
                columns = read_columns(block, records, Counter())[0]
                rows = np.stack([columns.ints[name] for name in ("quote_time", "bid", "ask")], axis=1)
                names = np.array(columns.strings("instrument"), dtype=object)
                for name in dict.fromkeys(names.tolist()):
                    pieces[name].append(rows[names == name])
        joined = {name: np.concatenate(each) for name, each in pieces.items()}
        known = {name: rows[(rows > 0).all(axis=1)] for name, rows in joined.items()}
        return {name: rows[np.argsort(rows[:, 0], kind="stable")] for name, rows in known.items()}
