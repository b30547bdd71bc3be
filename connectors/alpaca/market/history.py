"""Alpaca's historical stock bars over REST: every request is one page of one explicit feed, bounded in time.

alpaca-py builds the requests and sends them; it neither repeats nor collects pages here. A refused rate is
waited for as the server says. A plan without recent SIP data is recognised once, and later questions end
before what it refuses.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from random import Random

from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestBarRequest
from alpaca.data.timeframe import TimeFrame

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.endpoints import RECENT_S, require_data_host, require_feed
from tapedeck.connectors.alpaca.market.frames import Bar, Unread
from tapedeck.connectors.alpaca.patient import ATTEMPTS, Patient, moment, object_of
from tapedeck.connectors.broker import Refused
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.credentials import Credentials
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

Row = Bar | Unread

PAGE = 10_000
_SYMBOLS_A_REQUEST = 200  # of five letters each, in an address
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
        self._clock, self._page = clock, page
        client = StockHistoricalDataClient(
            credentials.key, credentials.secret, url_override=base_url, raw_data=True
        )
        self._patient = Patient(client, base_url, clock=clock, sleep=sleep, attempts=attempts, rng=rng)
        self.recent_s = 0.0

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._patient.requests

    @property
    def waited(self) -> int:
        """How often the server refused the rate."""
        return self._patient.waited

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
            found += self._patient.tried(frames.bars, "/stocks/bars/latest", wanted.to_request_fields())
        return found

    def _pages_of(self, symbols: list[str], first: int, last: int) -> Iterator[list[Row]]:
        token: str | None = None
        while True:
            end = self._clamped(last)
            if end < first:
                return
            wanted = StockBarsRequest(
                symbol_or_symbols=symbols,
                start=moment(first),
                end=moment(end),
                timeframe=TimeFrame.Minute,
                adjustment=Adjustment.RAW,
                feed=self._feed,
            )
            fields = wanted.to_request_fields() | {"limit": self._page}
            try:
                answer = self._patient.tried(
                    object_of, "/stocks/bars", fields | ({"page_token": token} if token else {})
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
