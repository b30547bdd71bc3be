"""The parameters of Alpaca's market-data requests: read, checked, and refused in Alpaca's words."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Self

from tapedeck.connectors.alpaca.replies import micros as instant
from tapedeck.connectors.paper.orders import BAD_REQUEST, Refusal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import NEW_YORK, iso_date, micros

MOST_BARS = 10_000
MOST_ARTICLES = 50
FEEDS = ("iex", "sip", "delayed_sip", "otc", "boats", "overnight")
RECENT_US = 15 * MINUTE_US
_USUAL_BARS, _USUAL_ARTICLES = 1_000, 10
_ADJUSTMENTS = {"raw", "split", "dividend", "spin-off", "all"}
_TIMEFRAMES = {"1Min": False, "1T": False, "1Day": True, "1D": True}
_DAY_US = 24 * 60 * MINUTE_US


def bad(message: str) -> Refusal:
    return Refusal(400, BAD_REQUEST, message)


@dataclass(frozen=True, kw_only=True)
class Span:
    """What every historical request names: a stretch of time, both ends inclusive, and a page of it."""

    start: int
    end: int
    newest_first: bool
    limit: int
    after: tuple[str, int] | None

    @classmethod
    def of(
        cls, query: Mapping[str, str], now: int, today: int, *, limit: int, most: int, newest_first: bool
    ) -> Self:
        """``today``: the New York date of ``now``, where a request without a start begins."""
        start = _moment(query, "start", midnight(today))
        end = _moment(query, "end", now)
        if end < start and "end" in query:
            raise bad("end should not be before start")
        sort = query.get("sort", "desc" if newest_first else "asc").lower()
        if sort not in ("asc", "desc"):
            raise bad(f"invalid sort: {sort}")
        size = _limit(query, limit, most)
        return cls(start=start, end=end, newest_first=sort == "desc", limit=size, after=_token(query))


@dataclass(frozen=True, kw_only=True)
class BarsQuery:
    """A request for bars. ``feed`` None: not named, and the plan decides."""

    symbols: tuple[str, ...]
    daily: bool
    feed: str | None
    span: Span

    @classmethod
    def of(cls, query: Mapping[str, str], now: int, today: int) -> Self:
        timeframe = query.get("timeframe", "")
        if timeframe not in _TIMEFRAMES:
            raise bad(f"invalid timeframe: {timeframe}; a tape has 1Min and 1Day")
        adjustment = query.get("adjustment", "raw")
        if set(adjustment.split(",")) - _ADJUSTMENTS:
            raise bad(f"invalid adjustment: {adjustment}")
        return cls(
            symbols=symbols_of(query),
            daily=_TIMEFRAMES[timeframe],
            feed=feed_of(query),
            span=Span.of(query, now, today, limit=_USUAL_BARS, most=MOST_BARS, newest_first=False),
        )


def news_span(query: Mapping[str, str], now: int, today: int) -> Span:
    """The stretch of a request for news: the newest first, from the beginning if no start is named."""
    whole = {"start": "1970-01-02T00:00:00Z", **query}
    return Span.of(whole, now, today, limit=_USUAL_ARTICLES, most=MOST_ARTICLES, newest_first=True)


def symbols_of(query: Mapping[str, str]) -> tuple[str, ...]:
    """The symbols asked for, sorted. Raises Refusal if there is none, or for what is not a symbol."""
    found = sorted({each.strip() for each in query.get("symbols", "").split(",")} - {""})
    if not found:
        raise bad("symbols is required")
    for each in found:
        if not each.replace(".", "").replace("/", "").isalnum() or each != each.upper():
            raise bad(f"invalid symbol: {each}")
    return tuple(found)


def feed_of(query: Mapping[str, str]) -> str | None:
    feed = query.get("feed")
    if feed is not None and feed not in FEEDS:
        raise bad(f"invalid feed: {feed}")
    return feed


def midnight(day: int) -> int:
    """The start of a New York date."""
    local = iso_date(day)
    return micros(datetime(local.year, local.month, local.day, tzinfo=NEW_YORK))


def next_token(name: str, at: int) -> str:
    """The token of the page that starts after this row."""
    return base64.b64encode(f"{name}|{at}".encode()).decode()


def _token(query: Mapping[str, str]) -> tuple[str, int] | None:
    token = query.get("page_token")
    if not token:
        return None
    try:
        name, at = base64.b64decode(token, validate=True).decode().split("|")
        return name, int(at)
    except ValueError:
        raise bad("invalid page_token") from None


def _limit(query: Mapping[str, str], usual: int, most: int) -> int:
    text = query.get("limit", str(usual))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise bad(f"invalid limit: {text}; it is from 1 to {most}")
    return int(text)


def _moment(query: Mapping[str, str], name: str, missing: int) -> int:
    """A time, or a date: the start of that New York day, or its last moment as an end."""
    text = query.get(name)
    if not text:
        return missing
    try:
        if "T" in text or " " in text:
            return instant(text.replace(" ", "+") if "T" in text else text)
        day = date.fromisoformat(text) + timedelta(days=name == "end")
        edge = micros(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK))
        return edge - (name == "end")
    except ValueError:
        raise bad(f"invalid {name}: {text}") from None
