"""What becomes of market data: the core that turns stream values and REST answers into records. No I/O.

Each method returns steps in the order in which they are done: records, watermarks, questions to REST, dead
letters. The caller does them, and hands each answer back.

A minute is ended by its watermark as soon as every wanted symbol has its bar, at the latest ``grace_s`` after
it. What comes later is written all the same: it is late, and looks so. After a start or a lost connection
live bars wait until REST has given what was missed, so that a symbol's bars are written oldest first. A start
does not pretend that an outage went by on time: it begins with the watermark of the last minute that is over,
and what was missed is written after it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from tapedeck.connectors.alpaca.market.book import Book, expected_minutes
from tapedeck.connectors.alpaca.market.frames import (
    Bar,
    NotOurs,
    Quote,
    Status,
    Unread,
    Unrecognised,
    Value,
)
from tapedeck.connectors.alpaca.market.steps import (
    AHEAD_US,
    Ask,
    Body,
    Kind,
    Mark,
    Refuse,
    Step,
    Why,
    Write,
    bar_record,
    fault_of,
    market_event,
    quote_record,
)
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import Calendar, CalendarUnknown, Phase, Session, iso_date

GAP_CHECK_S = 90.0
_BACK_US = 16 * MINUTE_US  # the roll-back depth: a revision of an older bar changes no feature
_HOLD_US = 120 * SECOND_US
_AGAIN_US = 60 * SECOND_US
_COLD_AGAIN_US = 600 * SECOND_US
_POLL_US = 2 * SECOND_US  # REST has a bar about a second after its minute
_QUOTE_US = SECOND_US
_MARKED_ONE_BY_ONE = 60
_CHECKED_US = 30 * MINUTE_US
HALTS = frozenset({"H", "P", "2"})
"""Codes of a halt: halted and volatility pause on Nasdaq's tape, halted on the others'."""
RESUMPTIONS = frozenset({"T", "3"})
"""Codes of trading again. A quotation resumption (Q) is not one yet."""


class Ingest:
    """Ingest of one feed. ``wanted``: the symbols whose bars are expected, the most important first.

    ``last``: the last watermarks of the source partitions that have one. ``standing``: the records of
    ``bars`` that the log has since ``since(now)``. ``recent_s``: how long REST may refuse a minute.
    """

    def __init__(
        self,
        feed: str,
        wanted: Sequence[str],
        calendar: Calendar,
        *,
        now: int,
        grace_s: float = 3.0,
        gap_check_s: float = GAP_CHECK_S,
        recent_s: float = 0.0,
        last: Iterable[int] = (),
        standing: Iterable[Body] = (),
        halted: Iterable[str] = (),
    ) -> None:
        self.feed, self._calendar = feed, calendar
        self._grace_us = round(grace_s * SECOND_US)
        self._gap_us = round(gap_check_s * SECOND_US)
        self._check_us = max(self._gap_us, round(recent_s * SECOND_US))
        self._recent_us = round(recent_s * SECOND_US)
        self._wanted = dict.fromkeys(wanted)
        self._halted: dict[str, int] = dict.fromkeys(halted, 0)
        self._sessions = sessions_at(calendar, now)
        self._book = Book(since(calendar, now))
        self._book.stand(standing)
        over = (now - MINUTE_US - self._grace_us) // MINUTE_US * MINUTE_US
        self._next = max([over, *last]) + MINUTE_US
        self._check = self._next - self._recent_us // MINUTE_US * MINUTE_US
        self._polled = self._next
        self._unsent: tuple[str, ...] = ()
        self._holding: dict[str, int] = {}
        self._waits: Counter[str] = Counter()
        self._held: dict[str, list[Bar]] = {}
        self._later: list[tuple[int, Ask]] = []
        self._quotes: dict[str, Quote] = {}
        self._quoted_at = now
        self._covered: dict[tuple[str, int], int] = {}
        self.cold: set[str] = set()
        self.counts: Counter[str] = Counter()

    @property
    def ended(self) -> int:
        """The label of the last watermark."""
        return self._next - MINUTE_US

    @property
    def quiet(self) -> bool:
        """Whether silence is expected: every wanted symbol is halted."""
        return bool(self._wanted) and all(symbol in self._halted for symbol in self._wanted)

    def begin(self, now: int) -> list[Step]:
        """The first steps: the watermark to go on from, and the bars of the previous and current session."""
        return [Mark(self.ended), *self._backfill(tuple(self._wanted), self._book.begins, now)]

    def want(self, symbols: Sequence[str], now: int) -> list[Step]:
        """Other symbols are wanted. A new one's history is written before its first live bar."""
        new = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol not in self._wanted)
        self._wanted = dict.fromkeys(symbols)
        return self._backfill(new, self._book.begins, now)

    def lacks(self, symbols: Sequence[str]) -> None:
        """The stream does not send these: they are polled."""
        self._unsent = tuple(symbols)

    def on_value(self, value: Value, now: int) -> list[Step]:
        """One message of the stream."""
        self.counts[type(value).__name__] += 1
        match value:
            case Bar():
                return self.on_bar(value, now)
            case Quote():
                return self.on_quote(value, now)
            case Status():
                return self.on_status(value, now)
            case Unread():
                return [Refuse("UNREADABLE", value.error, value.raw)]
            case Unrecognised():
                return [Refuse("UNRECOGNISED", f"kind {value.kind[:40]!r} is not known", value.raw)]
            case NotOurs():
                self.counts[f"NotOurs.{value.channel}"] += 1
        return []

    def on_gap(self, now: int) -> list[Step]:
        """Something may have been missed until now: a new connection, or dropped frames."""
        newest = self._book.newest
        first = self._book.begins if newest is None else max(self._book.begins, newest - _BACK_US)
        return self._backfill(tuple(self._wanted), first, now)

    def on_bar(self, bar: Bar, now: int) -> list[Step]:
        """A bar of the stream."""
        if bar.symbol not in self._wanted:
            self.counts["NOT_WANTED"] += 1
            return []
        if fault := fault_of(bar, now):
            return [_bad(bar, fault)]
        if bar.symbol in self._holding:
            self._held.setdefault(bar.symbol, []).append(bar)
            return []
        return self._take(bar)

    def on_quote(self, quote: Quote, now: int) -> list[Step]:
        """A quote: the newest of each symbol is written, once a second."""
        if quote.symbol not in self._wanted:
            self.counts["NOT_WANTED"] += 1
        elif quote.time > now + AHEAD_US:
            return [Refuse("BAD_QUOTE", "its time is ahead of the clock", repr(quote).encode())]
        elif (known := self._quotes.get(quote.symbol)) is None or known.time <= quote.time:
            self._quotes[quote.symbol] = quote
        return []

    def on_status(self, status: Status, now: int) -> list[Step]:
        """A trading status. A halt mutes the alarms about missing minutes."""
        halts, resumes, was = status.code in HALTS, status.code in RESUMPTIONS, status.symbol in self._halted
        if status.symbol not in self._wanted or halts is resumes or halts is was:
            self.counts["STATUS_WITHOUT_EFFECT"] += 1
            return []
        at = min(status.time, now)
        if halts:
            self._halted[status.symbol] = at
            words = " ".join(filter(None, (status.code, status.message, status.reason)))
            return [market_event(Kind.HALTED, status.symbol, self.feed, event_time=at, detail=words)]
        return self._resumed(status.symbol, at, f"{status.code} {status.message}".strip())

    def on_tick(self, now: int) -> list[Step]:
        """What is due at ``now``."""
        steps: list[Step] = self._turn(now)
        if now - self._quoted_at >= _QUOTE_US:
            self._quoted_at = now
            steps += self._newest_quotes()
        for symbol in [s for s, since_us in self._holding.items() if now - since_us >= _HOLD_US]:
            steps += self._release((symbol,))
        over = (now - MINUTE_US - self._grace_us) // MINUTE_US * MINUTE_US
        if over >= self._next:
            steps += self._end(over)
        steps += self._checks(now)
        due = [ask for at, ask in self._later if at <= now]
        self._later = [(at, ask) for at, ask in self._later if at > now]
        return [*steps, *due]

    def on_answer(self, ask: Ask, found: Iterable[Bar | Unread], now: int) -> list[Step]:
        """What REST has. Bars are written oldest first, then those that came meanwhile."""
        steps: list[Step] = []
        whole: list[Bar] = []
        for each in found:
            if isinstance(each, Bar):
                whole.append(each)
            else:
                steps.append(Refuse("UNREADABLE", each.error, each.raw))
        whole.sort(key=lambda bar: (bar.t, bar.symbol))
        missing = {s for s in ask.symbols if ask.why is Why.GAP and not self._book.has(s, ask.first)}
        for bar in whole:
            fault = fault_of(bar, now)
            if fault:
                steps.append(_bad(bar, fault))
            elif bar.symbol in ask.symbols and ask.first <= bar.t <= ask.last:
                steps += self._take(bar)
        if ask.why is Why.BACKFILL:
            return [*steps, *self._cover(ask.symbols, now), *self._answered(ask.symbols)]
        return [*steps, *(self._gap_event(symbol, ask.first) for symbol in sorted(missing))]

    def on_failed(self, ask: Ask, now: int) -> list[Step]:
        """REST gave no answer: live bars wait no longer, and it is asked again in a minute."""
        self.counts["REST_FAILED"] += 1
        if ask.why is not Why.POLL:
            self._ask_later(ask, now + _AGAIN_US)
        return self._answered(ask.symbols) if ask.why is Why.BACKFILL else []

    def _take(self, bar: Bar) -> list[Step]:
        if bar.t < self._book.begins:
            self.counts["TOO_OLD"] += 1
            return []
        revision = self._book.take(bar)
        if revision is None:
            self.counts["DUPLICATE_BAR"] += 1
            return []
        steps: list[Step] = [Write("bars", bar_record(bar, revision, self.feed))]
        halted = self._halted.get(bar.symbol)
        if halted is not None and bar.t > halted:  # its resumption was missed
            steps += self._resumed(bar.symbol, bar.t, "a bar of a later minute came")
        if bar.t >= self._next and self._is_whole(bar.t):
            steps += self._end(bar.t)
        return steps

    def _is_whole(self, t: int) -> bool:
        """Whether every symbol that trades has its bar of a minute of the session."""
        if self._book.count(t) < len(self._wanted) - len(self._halted):
            return False
        expected = [s for s in self._wanted if s not in self._halted] if self._is_regular(t) else []
        return bool(expected) and all(self._book.has(s, t) for s in expected)

    def _end(self, last: int) -> list[Step]:
        """The watermarks of all minutes up to ``last``, after the quotes that belong before them."""
        steps: list[Step] = list(self._newest_quotes())
        first = self._next if (last - self._next) // MINUTE_US < _MARKED_ONE_BY_ONE else last
        self._next = last + MINUTE_US
        return steps + [Mark(t) for t in range(first, self._next, MINUTE_US) if not self._is_closed(t)]

    def _newest_quotes(self) -> list[Step]:
        taken, self._quotes = self._quotes, {}
        return [Write("quotes", quote_record(taken[symbol], self.feed)) for symbol in sorted(taken)]

    def _checks(self, now: int) -> list[Step]:
        """Ask REST once for each minute without a bar, and every minute for what the stream does not send."""
        steps: list[Step] = []
        # after a pause of this process a backfill covers what lies further back
        self._check = max(self._check, (now - self._check_us - _CHECKED_US) // MINUTE_US * MINUTE_US)
        while self._check + MINUTE_US + self._check_us <= now:
            t, self._check = self._check, self._check + MINUTE_US
            if self._is_regular(t):
                absent = [s for s in self._wanted if s not in self._halted and not self._book.has(s, t)]
                steps += [Ask(Why.GAP, tuple(absent), t, t)] if absent else []
        while self._polled + MINUTE_US + max(_POLL_US, self._recent_us) <= now:
            t, self._polled = self._polled, self._polled + MINUTE_US
            if self._unsent and not self._is_closed(t):
                # a bar may come to REST minutes late, and no stream tells of it
                steps.append(Ask(Why.POLL, self._unsent, t - _BACK_US, t))
        return steps

    def _gap_event(self, symbol: str, t: int) -> Step:
        kind = Kind.GAP_FILLED if self._book.has(symbol, t) else Kind.NO_TRADE
        words = "REST had the bar" if kind is Kind.GAP_FILLED else "REST has no bar"
        at = t + MINUTE_US + self._gap_us
        return market_event(kind, symbol, self.feed, event_time=at, t=t, detail=words)

    def _backfill(self, symbols: tuple[str, ...], first: int, now: int) -> list[Step]:
        if not symbols:
            return []
        self._holding |= dict.fromkeys(symbols, now)
        self._waits.update(symbols)
        return [Ask(Why.BACKFILL, symbols, first, now // MINUTE_US * MINUTE_US)]

    def _answered(self, symbols: Iterable[str]) -> list[Step]:
        """Let the bars go of those for which nothing else was asked."""
        self._waits.subtract(symbols)
        return self._release([symbol for symbol in symbols if self._waits[symbol] <= 0])

    def _release(self, symbols: Iterable[str]) -> list[Step]:
        """Live bars that were held back, in the order in which they came."""
        steps: list[Step] = []
        for symbol in symbols:
            del self._waits[symbol]
            self._holding.pop(symbol, None)
            for bar in self._held.pop(symbol, ()):
                steps += self._take(bar)
        return steps

    def _resumed(self, symbol: str, at: int, words: str) -> list[Step]:
        del self._halted[symbol]
        return [market_event(Kind.RESUMED, symbol, self.feed, event_time=at, detail=words)]

    def _turn(self, now: int) -> list[Step]:
        """At a new session: drop what is older than the previous one."""
        found = sessions_at(self._calendar, now)
        if found == self._sessions:
            return []
        self._sessions, self._covered = found, {}
        self._book.forget(since(self._calendar, now))
        return self._cover(self._wanted, now)

    def _cover(self, symbols: Iterable[str], now: int) -> list[Step]:
        """How much of each session is there. A symbol whose session is missing as a whole is cold."""
        steps: list[Step] = []
        for symbol in symbols:
            lacking = []
            for session in self._sessions:
                until = min(session.close, (now - self._recent_us) // MINUTE_US * MINUTE_US)
                expected = expected_minutes(session, until)
                found = self._book.minutes(symbol, session, until)
                lacking += [session] if expected > _BACK_US // MINUTE_US and not found else []
                if expected and self._covered.get((symbol, session.date)) != found:
                    self._covered[symbol, session.date] = found
                    words = f"{iso_date(session.date)}: {found} of {expected} minutes"
                    steps.append(
                        market_event(
                            Kind.COVERAGE,
                            symbol,
                            self.feed,
                            event_time=now // MINUTE_US * MINUTE_US,
                            t=session.open,
                            detail=words,
                            expected=expected, found=found,
                        )
                    )  # fmt: skip
            if lacking:
                self.cold.add(symbol)
                again = Ask(Why.BACKFILL, (symbol,), lacking[0].open, lacking[-1].close - MINUTE_US)
                self._ask_later(again, now + _COLD_AGAIN_US)
            else:
                self.cold.discard(symbol)
        return steps

    def _ask_later(self, ask: Ask, at: int) -> None:
        if all(ask != other for _, other in self._later):
            self._later.append((at, ask))

    def _is_regular(self, t: int) -> bool:
        try:
            return self._calendar.session_at(t) is not None
        except CalendarUnknown:
            return False

    def _is_closed(self, t: int) -> bool:
        try:
            return self._calendar.phase(t) is Phase.CLOSED
        except CalendarUnknown:
            return False


def sessions_at(calendar: Calendar, now: int) -> tuple[Session, ...]:
    """The previous and the current session: by the calendar's dates, so the evening is still the day's."""
    try:
        date = calendar.session_date(now)
        current = calendar.session_on(date) or calendar.previous(date)
        before = calendar.previous(current.date) if current is not None else None
    except CalendarUnknown:
        return ()
    return tuple(session for session in (before, current) if session is not None)


def since(calendar: Calendar, now: int) -> int:
    """The first minute that is kept: the open of the previous session."""
    found = sessions_at(calendar, now)
    return found[0].open if found else now // MINUTE_US * MINUTE_US - _BACK_US


def _bad(bar: Bar, fault: str) -> Refuse:
    return Refuse("BAD_BAR", f"{bar.symbol} at {bar.t}: {fault}", repr(tuple(bar)).encode())
