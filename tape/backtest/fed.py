"""What accounts see of a session: the records of its minutes, and the market that prices it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tapedeck.connectors.dispatch.freshness import NAMES
from tapedeck.connectors.tapes.market import ContractQuote, Market, StockQuote
from tapedeck.streams.blocks import ABSENT, Block, Ints
from tapedeck.streams.columnar.arrays import UNREADABLE, labels_of
from tapedeck.streams.protocol import MINUTE_US, Message

BARE = frozenset({"features"})
"""Of these, accounts only see that there was a record, and when."""
BARS = "bars"
_CHAINS = 64


@dataclass(frozen=True)
class Fed:
    """One session: its minutes ``labels``, its market, and by topic partition the records of its signals,
    bars and features (these without values). ``signals``: the topics of signals."""

    date: int
    labels: range
    market: Market
    blocks: tuple[Block, ...]
    signals: tuple[str, ...]


class Shared:
    """A market that several accounts ask: chains of one moment are the same objects, priced once."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._chains: dict[tuple[str, int], list[ContractQuote]] = {}
        self.origin, self.quote_origin = market.origin, market.quote_origin

    def symbols(self) -> list[str]:
        return self._market.symbols()

    def stock_quote(self, symbol: str, now: int) -> StockQuote | None:
        return self._market.stock_quote(symbol, now)

    def chain(self, underlying: str, now: int) -> list[ContractQuote]:
        found = self._chains.get((underlying, now))
        if found is None:
            if len(self._chains) >= _CHAINS:
                self._chains.clear()
            found = self._chains[underlying, now] = self._market.chain(underlying, now)
        return found

    def contract(self, symbol: str, underlying: str, now: int) -> ContractQuote | None:
        return self._market.contract(symbol, underlying, now)


def minutes_of(fed: Fed) -> Iterator[Mapping[int, Sequence[Message]]]:
    """By partition, the signals and watermarks that arrive in each minute.

    What is there before the first minute has the label before it: a first watermark.
    """
    for block in fed.blocks:
        if block.topic in NAMES:
            continue
        found: dict[int, list[Message]] = defaultdict(list)
        arrive = arrivals(block, np.arange(len(block)), fed.labels[0])
        for label, message in zip(arrive.tolist(), block.messages(), strict=True):
            found[label].append(message)
        if found:
            yield found


def with_signal(fed: Fed) -> set[str]:
    """The symbols that have a signal in the session."""
    found: set[bytes | None] = set()
    for block in fed.blocks:
        if block.topic in fed.signals:
            found |= {block.key(row) for row in np.flatnonzero(block.values[:, 1] >= 0).tolist()}
    return {name.decode() for name in found if name is not None}


def arrivals(block: Block, rows: Ints, first: int) -> Ints:
    """The minute in which each of ``rows`` arrives: its label. ``first``: that of the session's first.

    Bars of the warm-up and whatever else is there before have the label before the first.
    """
    before = first - MINUTE_US
    arrive = np.maximum(_arrivals(block)[rows], before)
    if block.topic == BARS:
        arrive[block.timestamps[rows] * 1000 <= first] = before
    return arrive


def _arrivals(block: Block) -> Ints:
    """The label of the watermark that ends each record's minute; every record has one behind it."""
    labels = labels_of(block)
    marks = np.flatnonzero(labels > UNREADABLE)
    return labels[marks[np.searchsorted(marks, np.arange(len(block)))]]


def within(block: Block, after: int, last: int) -> Block:
    """The records of ``block`` behind watermark(``after``), up to watermark(``last``) itself."""
    labels = labels_of(block)
    marks = np.flatnonzero(labels > UNREADABLE)
    low, high = np.searchsorted(labels[marks], (after, last), side="right").tolist()
    start, end = (int(marks[n - 1]) + 1 if n else 0 for n in (low, high))
    return block.part_of(start, max(start, end))


def bare(block: Block) -> Block:
    """``block`` without values: watermarks stay what they are, records keep their keys and times."""
    marks = block.values[:, 1] == ABSENT
    headers = np.where(marks[:, None], block.headers, 0)
    spans = np.concatenate((block.keys, headers))
    sizes = np.maximum(spans[:, 1], 0)
    starts = np.cumsum(sizes) - sizes
    places = np.repeat(spans[:, 0] - starts, sizes) + np.arange(int(sizes.sum()))
    fresh = np.stack((starts, spans[:, 1]), axis=1)
    n = len(block)
    return replace(
        block,
        data=block.data[places],
        keys=fresh[:n],
        values=np.tile(np.array([[0, ABSENT]]), (n, 1)),
        headers=fresh[n:],
    )
