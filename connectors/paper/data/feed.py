"""Market data as a clock lets it be seen: published on time, and answered from the same moment on.

Everything that is streamed passes ``advance``, and REST answers as of the moment that was advanced to. So
nothing from the future is served, and what was decided about a bar is the same on both.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from tapedeck.connectors.paper.data import messages
from tapedeck.connectors.paper.data.articles import Archive, Article, NewsTape
from tapedeck.connectors.paper.data.messages import Json, Message
from tapedeck.connectors.paper.data.rows import DELAY_US, BarRow, Bars, QuoteRow, Quotes
from tapedeck.connectors.paper.data.scenarios import Armed, Scenario, Scenarios
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import iso_utc

NEWS = "news"
_EVER = 2**62
_TWICE = (Scenario.LATE_REVISION, "updatedBars"), (Scenario.DOUBLE_BAR, "bars")
Key = tuple[str, str, int]


class Event(NamedTuple):
    """One message for the subscribers of a channel. Articles are of the feed ``news``."""

    feed: str
    channel: str
    symbols: tuple[str, ...]
    message: Message


class Halt(NamedTuple):
    """No trading in a symbol from ``start`` until before ``end``."""

    symbol: str
    start: int
    end: int


class MarketData:
    """See the module. ``now`` is the moment that was advanced to, in UTC microseconds."""

    def __init__(
        self,
        tape: Tape,
        scenarios: Scenarios,
        *,
        now: int,
        news: NewsTape | None = None,
        earlier: Iterable[Tape] = (),
    ) -> None:
        self.scenarios = scenarios
        self.archive = Archive(news or ())
        self.open(tape, now, earlier)

    def open(self, tape: Tape, now: int, earlier: Iterable[Tape] = ()) -> None:
        """Continue with another tape; what was published before ``now`` is only in REST.

        ``earlier``: tapes of sessions before, for a longer history.
        """
        self.now = now
        self.feed, self.origin = tape.feed, tape.origin
        self._bars, self._quotes = Bars(tape, earlier), Quotes(tape)
        self._hidden: set[Key] = set()
        self._preliminary: dict[Key, int] = {}
        self._halts: list[Halt] = []
        self._later: list[tuple[int, int, Callable[[int], Event | None]]] = []
        self._number = count()
        self._held: list[Event] = []
        self._held_until: int | None = None

    def symbols(self, feed: str) -> list[str]:
        return self._bars.symbols(feed)

    def advance(self, now: int) -> list[Event]:
        """Move to ``now``, and return what is to be streamed, in order. Never backwards."""
        if now <= self.now:
            return []
        after, self.now = self.now, now
        due: Iterable[BarRow | QuoteRow | Article] = heapq.merge(
            self._bars.due(after, now), self._quotes.due(after, now), self.archive.due(after, now), key=_seen
        )
        found: list[Event] = []
        for each in due:
            if self._later:
                found += self._due_later(_seen(each))
            found += self._published(each)
        found += self._due_later(now)
        return self._let_go(found)

    def bars(self, feed: str, symbol: str, start: int, end: int, now: int | None = None) -> Iterator[BarRow]:
        """The bars with ``start`` <= t <= ``end``, as they are known at ``now``: one per minute, in order."""
        now = self.now if now is None else min(now, self.now)
        for row in self._bars.between(feed, symbol, start, end, now):
            if not self._is_hidden(row):
                preliminary = now < self._preliminary.get(_key(row), 0)
                yield _preliminary(row) if preliminary else row

    def _published(self, each: BarRow | QuoteRow | Article) -> list[Event]:
        if isinstance(each, Article):
            return self._article(each)
        self._maybe_halt(each)
        if isinstance(each, QuoteRow):
            halted = any(h.symbol == each.symbol and h.start <= each.seen < h.end for h in self._halts)
            told = messages.quote(each, self.origin)
            return [] if halted else [_event(each.feed, "quotes", "q", each.symbol, told)]
        return self._bar(each)

    def _bar(self, row: BarRow) -> list[Event]:
        if self._is_hidden(row):
            return []
        if row.revision:
            return [self._of_bar(row, "updatedBars")]
        if self._taken(Scenario.NO_TRADE_MINUTES, row):
            self._hidden.add(_key(row))
            return []
        if self._taken(Scenario.MISSING_MINUTES, row):
            return []
        for scenario, channel in _TWICE:
            waits = self.scenarios.waits(scenario, row.symbol) and not self._is_revised(row)
            if waits and (armed := self._taken(scenario, row)):
                return [self._twice(row, armed, channel)]
        return [self._of_bar(row, "bars")]

    def _taken(self, scenario: Scenario, row: BarRow) -> Armed | None:
        armed = self.scenarios.waits(scenario, row.symbol)
        if armed is not None:
            self.scenarios.record(armed, row.seen, f"{row.symbol} {iso_utc(row.t)}")
        return armed

    def _is_revised(self, row: BarRow) -> bool:
        return any(r.revision for r in self._bars.between(row.feed, row.symbol, row.t, row.t, _EVER))

    def _twice(self, row: BarRow, armed: Armed, channel: str) -> Event:
        """A preliminary bar now, and the tape's own later: what is final stays what the tape has."""
        self._preliminary[_key(row)] = until = row.seen + armed.microseconds

        def final(at: int) -> Event:
            self._preliminary.pop(_key(row), None)
            return self._of_bar(row, channel)

        self._after(until, final)
        return self._of_bar(_preliminary(row), "bars")

    def _of_bar(self, row: BarRow, channel: str) -> Event:
        kind = "u" if channel == "updatedBars" else "b"
        return _event(row.feed, channel, kind, row.symbol, messages.bar(row, self.origin))

    def _is_hidden(self, row: BarRow) -> bool:
        return _key(row) in self._hidden or any(
            h.symbol == row.symbol and h.start - h.start % MINUTE_US <= row.t < h.end for h in self._halts
        )

    def _maybe_halt(self, each: BarRow | QuoteRow) -> None:
        armed = self.scenarios.waits(Scenario.HALT, each.symbol)
        if armed is None:
            return
        halt = Halt(each.symbol, each.seen, each.seen + armed.microseconds)
        self.scenarios.record(armed, each.seen, f"{halt.symbol} for {armed.seconds} s")
        self._halts.append(halt)

        def told(code: str, words: str, reason: str) -> Callable[[int], Event]:
            return lambda at: _event(
                each.feed, "statuses", "s", each.symbol, messages.status(code, words, reason, at)
            )

        self._after(halt.start, told("H", "Trading Halt", "T1"))
        self._after(halt.end, told("T", "Trading Resumption", "C11"))

    def _article(self, each: Article) -> list[Event]:
        at, where = _seen(each), f"article {each.id}"
        if armed := self.scenarios.take(Scenario.NEWS_CORRECTION, at, where):
            corrected = replace(
                each,
                updated_at=each.updated_at + armed.microseconds,
                headline=f"{each.headline} (corrected)",
            )
            self._after(_seen(corrected), lambda _: self._correct(corrected))
        if self.scenarios.take(Scenario.NEWS_MISSING, at, where):
            return []
        told = messages.article(each)
        if self.scenarios.take(Scenario.NEWS_NULL_SYMBOLS, at, where):
            told |= {"symbols": None}
        event = Event(NEWS, NEWS, each.symbols, Message({"T": "n"} | told))
        return [event, event] if self.scenarios.take(Scenario.NEWS_REPEAT, at, where) else [event]

    def _correct(self, corrected: Article) -> Event:
        self.archive.add(corrected)
        told = {"T": "n"} | messages.article(corrected)
        return Event(NEWS, NEWS, corrected.symbols, Message(told))

    def _after(self, at: int, what: Callable[[int], Event | None]) -> None:
        heapq.heappush(self._later, (at, next(self._number), what))

    def _due_later(self, until: int) -> Iterator[Event]:
        while self._later and self._later[0][0] <= until:
            at, _, what = heapq.heappop(self._later)
            event = what(at)
            if event is not None:
                yield event

    def _let_go(self, found: list[Event]) -> list[Event]:
        """What may be streamed now. During a burst's hold everything waits."""
        if self._held_until is None and found and (armed := self.scenarios.waits(Scenario.BURST)):
            self._held_until = self.now + armed.microseconds
        if self._held_until is None:
            return found
        self._held += found
        if self.now < self._held_until:
            return []
        held, self._held, self._held_until = self._held, [], None
        self.scenarios.take(Scenario.BURST, self.now, f"{len(held)} messages at once")
        return held


def _seen(each: BarRow | QuoteRow | Article) -> int:
    return each.updated_at + DELAY_US if isinstance(each, Article) else each.seen


def _key(row: BarRow) -> Key:
    return row.feed, row.symbol, row.t


def _preliminary(row: BarRow) -> BarRow:
    """A valid bar of the same minute that lacks its last trades."""
    close = min(max(round((row.open + row.close) / 2, 4), row.low), row.high)
    return row._replace(close=close, volume=float(int(row.volume * 0.9)))


def _event(feed: str, channel: str, kind: str, symbol: str, told: Json) -> Event:
    return Event(feed, channel, (symbol,), Message({"T": kind, "S": symbol} | told))
