"""``tape ingest news``: feeds and Alpaca's news into the topic ``news``, with its watermarks.

It is the only writer of the topic. The loop of one thread looks at the feeds, reads what the stream queued,
asks REST, ends minutes and tells how all fare. A source that fails is a standing, never an end: the others
go on, and so does time.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, NamedTuple

from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.states import Health
from tapedeck.connectors.beats import BEAT_S, About, beat
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.news.ingest import STAGE, NewsLog
from tapedeck.connectors.news.minutes import Minutes
from tapedeck.connectors.news.poller import FeedStatus, Standing
from tapedeck.connectors.news.wire import AlpacaNews
from tapedeck.connectors.tapes.writers import FIRST_LOOK_S, LOOK_S
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.wire import Wire
from tapedeck.tape.ingest.leases import Beside

log = logging.getLogger("tapedeck.ingest.news")

Source = Coroutine[Any, Any, None]

_TICK_S = 0.2


class Alpaca(NamedTuple):
    """Alpaca's part: what works on it, the stream's queue and its state."""

    news: AlpacaNews
    queue: FrameQueue
    health: Health


class NewsIngest:
    """Ends the minutes of ``log`` and tells how its sources fare.

    ``clock`` is the market's time, by which minutes end, ``wall`` this machine's, by which feeds are asked.
    ``alone`` gets the labels of all watermarks written here, and raises if another process writes some.
    ``standings`` gives those of the feeds. ``about``: what a heartbeat says of this process beside its
    progress: code version, config digest.
    """

    def __init__(
        self,
        log: NewsLog,
        minutes: Minutes,
        clock: Clock,
        *,
        about: About,
        wall: Clock | None = None,
        alone: Callable[[Collection[int]], None] | None = None,
        standings: Callable[[], Sequence[Standing]] = list,
        alpaca: Alpaca | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._minutes, self._clock, self._about = log, minutes, clock, about
        self._standings, self._alpaca, self._monotonic = standings, alpaca, monotonic
        self._wall, self._alone = wall or SystemClock(), alone
        self._began = self._wall.now()
        self._told: dict[str, FeedStatus] = {}
        began = monotonic()
        self._beat_at, self._alone_at = began - BEAT_S, began + FIRST_LOOK_S - LOOK_S
        self._marked: set[int] = set()

    async def begin(self) -> None:
        """The watermarks that are due, before the first article: a new topic begins with one."""
        await self._end_minutes()

    async def run(
        self, stop: threading.Event, sources: Sequence[Source], beside: Sequence[Beside] = ()
    ) -> None:
        """Run ``sources`` until ``stop``. Raises what ended one of them, or a thread ``beside``."""
        tasks = [asyncio.create_task(each) for each in sources]
        try:
            while not stop.is_set():
                await self.tick()
                for each in beside:
                    if each.failed is not None:
                        raise each.failed
                done, _ = await asyncio.wait(tasks, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def tick(self) -> None:
        """End the minutes that are over; a heartbeat each second."""
        await self._end_minutes()
        now = self._monotonic()
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            standings = self._standings()
            self._tell(standings)
            await self._log.wires([self._beat(standings)])
        if self._alone is not None and now - self._alone_at >= LOOK_S:
            self._alone_at = now
            await asyncio.to_thread(self._alone, frozenset(self._marked))

    async def _end_minutes(self) -> None:
        for label in self._minutes.due(self._clock.now()):
            self._marked.add(label)
            await self._log.watermark(label)

    def _tell(self, standings: Sequence[Standing]) -> None:
        """Log each feed whose standing has changed."""
        for each in standings:
            before = self._told.get(each.feed, FeedStatus.OK)
            self._told[each.feed] = each.status
            if each.status is not before:
                level = logging.ERROR if each.is_red else logging.WARNING if each.words else logging.INFO
                log.log(
                    level, "feed %s is %s%s", each.feed, each.status, f": {each.words}" if each.words else ""
                )

    def _beat(self, standings: Sequence[Standing]) -> Wire:
        now = self._wall.now()
        return beat(
            STAGE,
            now,
            marked=self._minutes.last,
            lag=self._alpaca.queue.depth if self._alpaca is not None else 0,
            records=self._log.written,
            counts=self._counts(standings, now),
            about=self._about,
        )

    def _counts(self, standings: Sequence[Standing], now: int) -> dict[str, int]:
        """Items by outcome; the standing of each source with the seconds since it last brought anything."""
        judged = dict(self._log.counts)
        counts = {"IN": sum(judged.values()), "OUT:news": self._log.written, **judged}
        for each in standings:
            seen = self._began if each.last_success is None else each.last_success
            counts[f"{each.status}:{each.feed}"] = max(1, (now - seen) // SECOND_US)
        if self._alpaca is not None:
            health = self._alpaca.health
            counts[f"{health.state}:alpaca"] = max(1, round(health.for_s))
            counts["REST_BEHIND_S:alpaca"] = round(self._alpaca.news.behind_s)
            counts["DROPPED_FRAMES:alpaca"] = self._alpaca.queue.dropped
        return counts
