"""Alpaca's market-data REST answers over a tape: bars, latest bars and trades, snapshots, news."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

from aiohttp import web

from tapedeck.connectors.paper.data import messages
from tapedeck.connectors.paper.data.feed import MarketData
from tapedeck.connectors.paper.data.messages import Json
from tapedeck.connectors.paper.data.query import (
    RECENT_US,
    BarsQuery,
    Span,
    feed_of,
    midnight,
    news_span,
    next_token,
    symbols_of,
)
from tapedeck.connectors.paper.data.rows import BarRow
from tapedeck.connectors.paper.data.scenarios import Scenario
from tapedeck.connectors.paper.orders import FORBIDDEN, Refusal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, iso_date

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_DAY_US = 24 * 60 * MINUTE_US


class Answers:
    """The handlers, by method, path and operation. They raise Refusal."""

    def __init__(self, data: MarketData, calendar: Calendar) -> None:
        self._data = data
        self._calendar = calendar

    def routes(self) -> Iterator[tuple[str, str, str, Handler]]:
        yield "GET", "/v2/stocks/bars", "bars", self._bars
        yield "GET", "/v2/stocks/bars/latest", "latest_bars", self._latest_bars
        yield "GET", "/v2/stocks/trades/latest", "latest_trades", self._latest_trades
        yield "GET", "/v2/stocks/snapshots", "snapshots", self._snapshots
        yield "GET", "/v1beta1/news", "news", self._news

    async def _bars(self, request: web.Request) -> web.Response:
        now = self._as_of("bars")
        asked = BarsQuery.of(request.query, now, self._calendar.session_date(now))
        feed = self._feed(asked.feed, asked.span.end)
        without = self._missing_day()
        rows = (
            each
            for each in self._rows(asked, feed, now)
            if without is None or self._calendar.session_date(each[1].t) != without
        )
        page = list(islice(rows, asked.span.limit + 1))
        token = None
        if len(page) > asked.span.limit:
            page.pop()
            token = next_token(page[-1][0], page[-1][1].t)
        found: dict[str, list[Json]] = {}
        for symbol, row in page:
            found.setdefault(symbol, []).append(self._told(row))
        return web.json_response({"bars": found, "next_page_token": token})

    def _rows(self, asked: BarsQuery, feed: str, now: int) -> Iterator[tuple[str, BarRow]]:
        """The rows from the page's first on, by symbol and time."""
        span = asked.span
        for symbol in asked.symbols:
            if span.after is not None and symbol < span.after[0]:
                continue
            rows = (
                self._days(feed, symbol, span, now) if asked.daily else self._minutes(feed, symbol, span, now)
            )
            for row in reversed(list(rows)) if span.newest_first else rows:
                if not _is_before(span, symbol, row.t):
                    yield symbol, row

    def _minutes(self, feed: str, symbol: str, span: Span, now: int) -> Iterator[BarRow]:
        start, end = span.start, span.end
        if span.after is not None and span.after[0] == symbol:
            start, end = (start, span.after[1]) if span.newest_first else (span.after[1], end)
        return self._data.bars(feed, symbol, start, end, now)

    def _days(self, feed: str, symbol: str, span: Span, now: int) -> Iterator[BarRow]:
        """One bar per session, labeled with New York's midnight; the session under way is a partial one."""
        for day in self._between(span):
            session = self._calendar.session_on(day)
            if session is None or not span.start <= midnight(day) <= span.end:
                continue
            rows = list(self._data.bars(feed, symbol, session.open, session.close - MINUTE_US, now))
            if rows:
                yield _together(rows)._replace(t=midnight(day))

    def _between(self, span: Span) -> range:
        """The New York dates of ``span`` that the calendar knows."""
        earliest, latest = self._calendar.horizon()
        end = min(span.end, self._data.now)
        first = max(earliest, self._calendar.session_date(max(span.start, end - 3660 * _DAY_US)))
        return range(first, min(latest, self._calendar.session_date(end)) + 1)

    async def _latest_bars(self, request: web.Request) -> web.Response:
        bars = {symbol: self._told(row) for symbol, row in self._newest(request).items()}
        return web.json_response({"bars": bars})

    async def _latest_trades(self, request: web.Request) -> web.Response:
        trades = {
            symbol: messages.written(messages.trade(row, self._data.origin))
            for symbol, row in self._newest(request).items()
        }
        return web.json_response({"trades": trades})

    async def _snapshots(self, request: web.Request) -> web.Response:
        now, feed = self._data.now, feed_of(request.query) or self._data.feed
        today = self._calendar.session_date(now)
        found = {}
        for symbol, row in self._newest(request).items():
            span = Span(start=midnight(today - 7), end=now, newest_first=False, limit=1, after=None)
            days = list(self._days(feed, symbol, span, now))
            daily, before = ([*days[-1:], *days[-2:-1], None, None])[:2]
            found[symbol] = {
                "latestTrade": messages.written(messages.trade(row, self._data.origin)),
                "minuteBar": self._told(row),
                "dailyBar": self._told(daily) if daily else None,
                "prevDailyBar": self._told(before) if before else None,
            }
        return web.json_response(found)

    def _newest(self, request: web.Request) -> dict[str, BarRow]:
        now, feed = self._data.now, feed_of(request.query) or self._data.feed
        found = {}
        for symbol in symbols_of(request.query):
            rows = list(self._data.bars(feed, symbol, now - _DAY_US, now)) or list(
                self._data.bars(feed, symbol, 0, now)
            )
            if rows:
                found[symbol] = rows[-1]
        return found

    async def _news(self, request: web.Request) -> web.Response:
        now, query = self._as_of("news"), request.query
        span = news_span(query, now, self._calendar.session_date(now))
        wanted = set(query.get("symbols", "").split(",")) - {""}
        content = query.get("include_content", "false").lower() == "true"
        contentless = query.get("exclude_contentless", "false").lower() != "true"
        found = [
            each
            for each in self._data.archive.newest(now)
            if span.start <= each.updated_at <= span.end
            and (not wanted or wanted & set(each.symbols))
            and (contentless or each.content)
        ]
        if span.newest_first:
            found.reverse()
        if span.after is not None:
            last = span.after[1], int(span.after[0])
            found = [
                each
                for each in found
                if (
                    (each.updated_at, each.id) < last
                    if span.newest_first
                    else (each.updated_at, each.id) > last
                )
            ]
        page = found[: span.limit]
        token = next_token(str(page[-1].id), page[-1].updated_at) if len(found) > len(page) else None
        told = [messages.written(messages.article(each, content=content, images=True)) for each in page]
        return web.json_response({"news": told, "next_page_token": token})

    def _told(self, row: BarRow) -> Json:
        return messages.written(messages.bar(row, self._data.origin))

    def _feed(self, named: str | None, end: int) -> str:
        """The feed to serve. Without a name: SIP for what is old, IEX for what is new, as Alpaca does."""
        recent = end > self._data.now - RECENT_US
        feed = named or ("iex" if recent else "sip")
        if feed == "sip" and recent and self._taken(Scenario.SIP_15MIN_403, "bars"):
            raise Refusal(403, FORBIDDEN, "subscription does not permit querying recent SIP data")
        return feed

    def _as_of(self, operation: str) -> int:
        late = self._data.scenarios.take(Scenario.LATE_REST, self._data.now, operation)
        return self._data.now - (late.microseconds if late else 0)

    def _missing_day(self) -> int | None:
        """The session that an answer must lack: the one before today's."""
        before = self._calendar.previous(self._calendar.session_date(self._data.now))
        if before is None or not self._taken(Scenario.MISSING_DAY, str(iso_date(before.date))):
            return None
        return before.date

    def _taken(self, scenario: Scenario, detail: str) -> bool:
        return self._data.scenarios.take(scenario, self._data.now, detail) is not None


def _is_before(span: Span, symbol: str, t: int) -> bool:
    """Whether the row was on an earlier page."""
    if span.after is None or symbol != span.after[0]:
        return False
    return t >= span.after[1] if span.newest_first else t <= span.after[1]


def _together(rows: list[BarRow]) -> BarRow:
    """One bar over the stretch of ``rows``."""
    return rows[0]._replace(
        high=max(row.high for row in rows),
        low=min(row.low for row in rows),
        close=rows[-1].close,
        volume=sum(row.volume for row in rows),
        seen=max(row.seen for row in rows),
    )
