"""Alpaca's news into the log: the stream for speed, REST so that nothing is missing.

REST is asked at the start, after each gap of the stream, and every few minutes: the stream has been seen to
leave articles out. What is asked goes back a margin before the last complete answer, because an article may
be found under a time that is past.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tapedeck.connectors import state_file
from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.frames import Unread, Unrecognised
from tapedeck.connectors.alpaca.market.inbox import Arrival, FrameQueue, Gap
from tapedeck.connectors.broker import BrokerError
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.news.alpaca import is_news, read_frame, read_page
from tapedeck.connectors.news.ingest import NewsLog
from tapedeck.streams.config.news import ALPACA
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

log = logging.getLogger("tapedeck.news")

MARGIN_US = 30 * MINUTE_US
"""How far before the last complete answer the next question begins."""
FIRST_US = 24 * 60 * MINUTE_US
"""How far back the first question of a new topic goes."""
EVERY_S = 300.0
AGAIN_S = 60.0
"""Seconds until the next question after an answer, and after none."""
_TAKE_S = 0.2

Pages = Callable[[int], Iterator[dict[str, Any]]]


class AlpacaNews:
    """``pages(since)``: REST's pages of what was updated since then. ``path`` keeps how far it was asked."""

    def __init__(
        self,
        pages: Pages,
        queue: FrameQueue,
        log: NewsLog,
        clock: Clock,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pages, self._queue, self._log, self._clock, self._path = pages, queue, log, clock, path
        self._monotonic = monotonic
        self._asked: Iterator[dict[str, Any]] | None = None
        self._page: Future[dict[str, Any] | None] | None = None
        self._complete, self._began = self._start(), 0
        self._due_at, self._is_gap = monotonic(), False
        self.why = ""
        """Why REST gave no answer to the last question; empty where it did."""

    def _start(self) -> int:
        """Up to when the topic has all articles, UTC micros; the file says so of a topic that has some."""
        newest = self._log.versions.newest(ALPACA)
        if newest is None:
            return self._clock.now() - FIRST_US
        try:
            kept = json.loads(self._path.read_bytes())["complete"]
            return min(int(kept), self._clock.now())
        except (OSError, ValueError, KeyError, TypeError):
            return min(newest, self._clock.now())

    @property
    def behind_s(self) -> float:
        """Seconds since the last complete answer of REST."""
        return (self._clock.now() - self._complete) / SECOND_US

    async def run(self) -> None:
        """Write what both bring, for ever. Raises what a write raises."""
        while True:
            await self.turn(_TAKE_S)

    async def turn(self, wait_s: float) -> None:
        """One look at the stream and at REST: what has come is written when it returns."""
        if self._asked is None and self._monotonic() >= self._due_at:
            self._begin()
        await self._streamed(await asyncio.to_thread(self._queue.take, wait_s))
        if self._page is not None and self._page.done():
            # What the stream brought before this page may be older versions of its articles.
            await self._streamed(self._queue.take(0.0))
            await self._answered(self._page)

    def _begin(self) -> None:
        self._began = self._clock.now()
        self._asked = self._pages(self._complete - MARGIN_US)
        self._page = _apart(self._asked)

    async def _answered(self, answer: Future[dict[str, Any] | None]) -> None:
        try:
            page = answer.result()
        except BrokerError as error:
            self.why = str(error)
            log.warning("REST gave no news, the next try is in %.0f s: %s", AGAIN_S, error)
            self._end(AGAIN_S)
            return
        if page is None:
            self.why, self._complete = "", self._began
            state_file.write(self._path, json.dumps({"complete": self._complete}, indent=1))
            self._end(EVERY_S)
            return
        found = read_page(page, self._clock.now())
        for why in found.bad:
            await self._log.refuse(json.dumps(page).encode(), f"an article of a page: {why}")
        await self._log.judge(found.items)
        assert self._asked is not None
        self._page = _apart(self._asked)

    def _end(self, pause_s: float) -> None:
        self._asked = self._page = None
        self._due_at = max(self._due_at, self._monotonic()) if self._is_gap else self._monotonic() + pause_s
        self._is_gap = False

    async def _streamed(self, arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            if isinstance(arrival.content, Gap):
                log.info("asks REST for what may be missing: %s", arrival.content.why)
                self._is_gap, self._due_at = self._asked is not None, self._monotonic()
            else:
                await self._frame(arrival.content)

    async def _frame(self, frame: str | bytes) -> None:
        raw = frame.encode(errors="replace") if isinstance(frame, str) else frame
        for value in frames.read(raw):
            if isinstance(value, Unread):
                await self._log.refuse(value.raw, f"a frame of the stream: {value.error}")
            elif isinstance(value, Unrecognised):
                await self._log.refuse(value.raw, f"a message of kind {value.kind!r}", "UNRECOGNISED")
        found = read_frame(_messages(raw), self._clock.now())
        for why in found.bad:
            await self._log.refuse(raw, f"an article of the stream: {why}")
        await self._log.judge(found.items)


def _messages(frame: bytes) -> list[Any]:
    """The articles in a frame; none where it is no JSON."""
    try:
        found = json.loads(frame)
    except (ValueError, RecursionError):
        return []
    return [each for each in (found if isinstance(found, list) else [found]) if is_news(each)]


def _apart(pages: Iterator[dict[str, Any]]) -> "Future[dict[str, Any] | None]":
    """The next page, None after the last, from a thread that no end of the process waits for."""
    answer: Future[dict[str, Any] | None] = Future()

    def work() -> None:
        try:
            answer.set_result(next(pages, None))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, name="news-rest", daemon=True).start()
    return answer
