"""Makes the parts of ``tape ingest news`` from a process's settings, and runs them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

from tapedeck.agents.settings import Settings
from tapedeck.connectors.alpaca.market.endpoints import NEWS, require_data_host
from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.states import Health
from tapedeck.connectors.alpaca.market.stream import MarketStream
from tapedeck.connectors.alpaca.news import NewsHistory
from tapedeck.connectors.beats import about
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.credentials import credentials
from tapedeck.connectors.dispatch.lease import Lease, LeaseLost, LeaseShort
from tapedeck.connectors.kafka.acls import demand_rights
from tapedeck.connectors.kafka.admin import check
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.principals import ingest
from tapedeck.connectors.news.fetch import Fetcher
from tapedeck.connectors.news.ingest import STAGE, NewsLog, ingest_feeds, known_versions
from tapedeck.connectors.news.minutes import Minutes
from tapedeck.connectors.news.poller import Poller
from tapedeck.connectors.news.records import TOPIC
from tapedeck.connectors.news.wire import AlpacaNews
from tapedeck.connectors.paper.remote_clock import market_clock
from tapedeck.connectors.secrets import secret_of
from tapedeck.connectors.tapes.marks import reached
from tapedeck.connectors.tapes.writers import ForeignMarks
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.ingest.leases import Beside, acquired, kept, lease_of
from tapedeck.tape.ingest.news import Alpaca, NewsIngest
from tapedeck.tape.ingest.threads import StreamThread, teller
from tapedeck.tape.topology import topology_in_use

log = logging.getLogger("tapedeck.ingest.news")

FOLDER = "ingest-news"
References = tuple[str, str]


class _Ended(Exception):
    """The process stops during a wait for REST."""


def run(
    settings: Settings,
    data_url: str,
    references: References | None,
    stop: threading.Event,
    *,
    started: Callable[[], None],
    version: str,
    clock: Clock | None = None,
) -> None:
    """Ingest until ``stop``, whenever no other process does. ``started`` is called when it works or waits.

    ``references``: where the keys of Alpaca are; None for feeds alone. Raises Fatal if there is nothing to
    ingest, for missing keys, rights or topics; Retry if the broker does not answer.
    """
    cluster = settings.cluster
    if references is None and not settings.config.news.feeds:
        raise Fatal(
            "there is no news to bring in: no feed is configured, and there are no keys of Alpaca",
            value=str(settings.config_path),
            remedy="add a table [[news.feeds]] with id and url, or set the variables of Alpaca's keys",
        )
    if references is not None:
        require_data_host(data_url)
        credentials(*references)
    cluster_id_of(cluster)
    demand_rights(cluster, ingest(topology_in_use()))
    check(cluster)
    clock = clock or market_clock(data_url, stop)
    lease = lease_of(settings, STAGE)
    started()
    while not stop.is_set():
        if lease is not None and not acquired(lease, stop):
            return
        try:
            with ExitStack() as ending:
                beside = kept(lease, ending)
                _Term(
                    settings, data_url=data_url, references=references, stop=stop, lease=lease, clock=clock,
                    version=version,
                ).work(beside, ending)  # fmt: skip
        except (LeaseLost, LeaseShort) as error:
            log.error("another process may have taken over, and this one waits: %s", error)


def keys_of(references: References, wanted: bool | None) -> References | None:
    """``references`` if Alpaca's news is wanted; where that is not said, if the variables are set."""
    named = all("/" in each or secret_of(each) for each in references)
    return references if (named if wanted is None else wanted) else None


class _Term:
    """The time for which this process is the one that ingests."""

    def __init__(
        self,
        settings: Settings,
        *,
        data_url: str,
        references: References | None,
        stop: threading.Event,
        lease: Lease | None,
        clock: Clock,
        version: str,
    ) -> None:
        self._settings, self._url, self._references, self._stop = settings, data_url, references, stop
        self._lease, self._clock, self._version = lease, clock, version
        self._ended = threading.Event()

    def work(self, beside: tuple[Beside, ...], ending: ExitStack) -> None:
        """Ingest until the process is to stop. Raises what ended it, LeaseLost and LeaseShort among that."""
        settings = self._settings
        writer = ending.enter_context(KafkaLogWriter(settings.cluster, settings.origin(STAGE)))
        ending.callback(self._ended.set)
        still_ours = self._lease.check if self._lease is not None else lambda: None
        news_log = NewsLog(
            writer, known_versions(settings.cluster), settings.layout, self._clock, still_ours=still_ours
        )
        minutes = Minutes(reached(settings.cluster, TOPIC))
        self._alone = ForeignMarks(settings.cluster, (TOPIC,)).refuse
        asyncio.run(self._main(news_log, minutes, beside, ending))

    async def _main(
        self, news_log: NewsLog, minutes: Minutes, beside: tuple[Beside, ...], ending: ExitStack
    ) -> None:
        settings, home = self._settings, self._settings.home / FOLDER
        sources: list[Coroutine[Any, Any, None]] = []
        feeds = settings.config.news
        wall = SystemClock()  # a host is asked as seldom as it likes, however fast a data server's time runs
        fetcher = Fetcher(clock=wall, allow_private=feeds.allow_private, body_limit=feeds.max_document_bytes)
        poller = Poller(feeds, fetcher, news_log.versions, wall, home / "feeds.json")
        alpaca = None
        if self._references is not None:
            alpaca, thread = self._alpaca(self._references, news_log)
            beside = (*beside, thread)
        process = NewsIngest(
            news_log, minutes, self._clock, standings=poller.standings, alpaca=alpaca,
            alone=self._alone,
            about=about(self._version, settings.config.digest),
        )  # fmt: skip
        await process.begin()
        if feeds.feeds:
            sources.append(ingest_feeds(poller, news_log))
        if alpaca is not None:
            thread.start()
            ending.callback(thread.close)
            sources.append(alpaca.news.run())
        await process.run(self._stop, sources, beside)

    def _alpaca(self, references: References, news_log: NewsLog) -> tuple[Alpaca, StreamThread]:
        keys, queue, health = partial(credentials, *references), FrameQueue(), Health()
        history = NewsHistory(self._url, keys(), clock=self._clock, sleep=self._pause)
        news = AlpacaNews(
            history.pages, queue, news_log, self._clock, self._settings.home / FOLDER / "alpaca.json"
        )
        stream = MarketStream(
            self._url, NEWS, keys, queue, teller(health), clock=self._clock, calendar=self._settings.calendar
        )
        stream.want(("*",))
        return Alpaca(news, queue, health), StreamThread(stream, health)

    def _pause(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise _Ended
