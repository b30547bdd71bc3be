"""Alpaca's historical stock bars over REST: every request is one page of one explicit feed, bounded in time.

alpaca-py builds the requests and sends them; it neither repeats nor collects pages here. A refused rate is
waited for as the server says. A plan without recent SIP data is recognised once, and later questions end
before what it refuses.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestBarRequest
from alpaca.data.timeframe import TimeFrame

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.endpoints import RECENT_S, require_data_host, require_feed
from tapedeck.connectors.alpaca.market.frames import Bar, Unread
from tapedeck.connectors.alpaca.rest import BoundedAdapter, asked, bounded
from tapedeck.connectors.broker import Doubt, NotUnderstood, RateLimited, Refused
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.credentials import Credentials
from tapedeck.streams.config.accounts import is_loopback
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import micros

T = TypeVar("T")
Row = Bar | Unread

CONNECT_S, READ_S = 5.0, 20.0
PAGE = 10_000
ATTEMPTS = 5
_SYMBOLS_A_REQUEST = 200  # of five letters each, in an address
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_WAIT_S = 1.0, 30.0, 90.0
_FORBIDDEN = 403
_RECENT_WORDS = "recent sip"
_PROBED = "SPY"


class History:
    """Bars of one feed. Blocking; one instance per thread.

    ``sleep`` waits between tries and pages, and may raise to end them. ``recent_s``: for how long a minute is
    refused after its end, as ``probe`` found; 0 where it is not.
    """

    def __init__(
        self,
        base_url: str,
        feed: str,
        credentials: Credentials,
        *,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
        page: int = PAGE,
        rng: Random | None = None,
    ) -> None:
        require_data_host(base_url)
        require_feed(feed)
        self.feed, self._feed = feed, DataFeed(feed)
        self._clock, self._sleep, self._attempts, self._page = clock, sleep, attempts, page
        self._rng = rng or Random()
        self._client = StockHistoricalDataClient(
            credentials.key, credentials.secret, url_override=base_url, raw_data=True
        )
        bounded(self._client)
        for scheme in ("http://", "https://"):
            self._client._session.mount(scheme, BoundedAdapter(CONNECT_S, READ_S))
        if not is_loopback(base_url):
            self._client._session.proxies.update(requests.utils.get_environ_proxies(base_url))
        self.recent_s = 0.0
        self.requests = 0
        self.waited = 0

    def probe(self) -> float:
        """Ask once for the last minutes, to know whether the plan has them. Returns ``recent_s``.

        Raises Refused if the keys or the feed are refused as a whole.
        """
        now = self._clock.now() // MINUTE_US * MINUTE_US
        for _ in self.pages((_PROBED,), now - 5 * MINUTE_US, now):
            break
        return self.recent_s

    def bars(self, symbols: Sequence[str], first: int, last: int) -> list[Row]:
        """All pages of ``pages``."""
        return [row for page in self.pages(symbols, first, last) for row in page]

    def pages(self, symbols: Sequence[str], first: int, last: int) -> Iterator[list[Row]]:
        """The minute bars from minute ``first`` to ``last``, both inclusive, page by page.

        Raises Refused for a definite no, RateLimited or Doubt where all tries failed.
        """
        for at in range(0, len(symbols), _SYMBOLS_A_REQUEST):
            yield from self._pages_of(list(symbols[at : at + _SYMBOLS_A_REQUEST]), first, last)

    def latest(self, symbols: Sequence[str]) -> list[Row]:
        """The newest bar of each symbol. Raises like ``pages``."""
        found: list[Row] = []
        for at in range(0, len(symbols), _SYMBOLS_A_REQUEST):
            wanted = StockLatestBarRequest(
                symbol_or_symbols=list(symbols[at : at + _SYMBOLS_A_REQUEST]), feed=self._feed
            )
            found += self._tried(frames.bars, "/stocks/bars/latest", wanted.to_request_fields())
        return found

    def _pages_of(self, symbols: list[str], first: int, last: int) -> Iterator[list[Row]]:
        token: str | None = None
        while True:
            end = self._clamped(last)
            if end < first:
                return
            wanted = StockBarsRequest(
                symbol_or_symbols=symbols,
                start=_moment(first),
                end=_moment(end),
                timeframe=TimeFrame.Minute,
                adjustment=Adjustment.RAW,
                feed=self._feed,
            )
            fields = wanted.to_request_fields() | {"limit": self._page}
            try:
                answer = self._tried(
                    _object, "/stocks/bars", fields | ({"page_token": token} if token else {})
                )
            except Refused as error:
                if not self._is_recent(error):
                    raise
                self.recent_s = float(RECENT_S)
                continue
            yield list(frames.bars(answer))
            token = frames.next_page(answer)
            if token is None:
                return

    def _clamped(self, last: int) -> int:
        if not self.recent_s:
            return last
        return min(last, (self._clock.now() - round(self.recent_s * SECOND_US)) // MINUTE_US * MINUTE_US)

    def _is_recent(self, error: Refused) -> bool:
        """Whether it is the refusal of the last minutes, met for the first time."""
        is_plan = error.status == _FORBIDDEN and _RECENT_WORDS in error.message.lower()
        return is_plan and not self.recent_s

    def _tried(self, parse: Callable[[Any], T], path: str, fields: dict[str, Any]) -> T:
        """One page, tried again while that can help."""
        for attempt in range(1, self._attempts + 1):
            self.requests += 1
            try:
                return asked(parse, self._client.get, path, fields)
            except NotUnderstood:
                raise
            except (RateLimited, Doubt) as error:
                if attempt == self._attempts:
                    raise
                self._wait(error, attempt)
        raise AssertionError("the last attempt raises")

    def _wait(self, error: Exception, attempt: int) -> None:
        half = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (attempt - 1)) / 2
        pause = half + self._rng.uniform(0.0, half)
        if isinstance(error, RateLimited):
            self.waited += 1
            pause = max(pause, min(self._said(error.__cause__), _LONGEST_WAIT_S))
        self._sleep(pause)

    def _said(self, cause: BaseException | None) -> float:
        """Seconds that the server asks to wait: Retry-After, else Alpaca's own X-RateLimit-Reset."""
        response = cause.response if isinstance(cause, APIError) else None
        if response is None:
            return 0.0
        now = self._clock.now() / SECOND_US
        after, reset = (response.headers.get(name, "") for name in ("Retry-After", "X-RateLimit-Reset"))
        if after.isdecimal():
            return float(after)
        try:
            return micros(parsedate_to_datetime(after)) / SECOND_US - now
        except (ValueError, TypeError):
            return float(reset) - now if reset.isdecimal() else 0.0


def _object(answer: Any) -> Any:
    """An answer that is a JSON object. Raises ValueError for another, or an empty one."""
    if not isinstance(answer, dict):
        raise ValueError(f"the answer is {type(answer).__name__}")
    return answer


def _moment(t: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t)
