"""`tape ingest news` on a broker: feeds and Alpaca's news, a kill, and the twin that waited takes over."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.clock import RunningClock, SystemClock
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.paper.data.articles import NewsList
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.sessions import xnys
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.status.lines import stages
from tapedeck.topics.catalogue import WATERMARK_KEY
from tests.conftest import Broker, Database
from tests.support.data_server import Served, article, made_tape
from tests.support.feed_server import HOST, FeedServer, answer, entry, rss
from tests.support.feed_server import serving as serving_feeds
from tests.support.live import KILLED, Workers, eventually
from tests.support.live_bars import STANDS
from tests.support.paper import LARGE_KEYS, MINUTE, SECOND, exchange, serving

pytestmark = pytest.mark.integration


@contextmanager
def feed(*answers: bytes) -> Iterator[FeedServer]:
    """A feed's server in a thread of its own."""
    ready, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    servers: list[FeedServer] = []

    async def main() -> None:
        async with serving_feeds(*answers) as server:
            servers.append(server)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield servers[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)


@contextmanager
def alpaca() -> Iterator[tuple[Served, Callable[[int], None]]]:
    """Alpaca's data server with two articles of the past and two to come, and what moves its clock.

    The clock hardly runs from the time of now on; it is moved by seconds after that.
    """
    now = SystemClock().now()
    paper, clock = exchange(now=now), RunningClock(now, STANDS)
    articles = [
        article(1, now - 20 * MINUTE, "NVDA"), article(2, now - 10 * MINUTE),
        article(3, now + 60 * SECOND, "AMD"), article(4, now + 100 * SECOND),
    ]  # fmt: skip
    service = DataService(made_tape(), xnys(), paper.authenticate, now=now, news=NewsList(articles))
    with serving(paper, clock, service) as url:
        yield Served(url, clock, service), lambda seconds: clock.advance(now + seconds * SECOND - MINUTE)


def articles(cluster: Cluster) -> list[dict[str, Any]]:
    return [decode("news", each.value) for each in read_topic(cluster, "news") if each.value is not None]


def told(cluster: Cluster) -> list[tuple[str, str, str]]:
    return sorted((body["source"], body["native_id"], body["title"]) for body in articles(cluster))


@pytest.mark.long
def test_each_version_is_written_once_though_the_process_is_killed_and_its_twin_has_no_state(
    kafka: Broker, postgres: Database, prefix: str, tmp_path: Path
) -> None:
    upgrade(postgres.url, prefix)
    first = rss(entry("a", "One"), entry("b", "Two"))
    later = rss(entry("a", "One"), entry("b", "Two, corrected"), entry("c", "Three"))
    with feed(answer(body=first), answer(body=later)) as server, alpaca() as (served, to):
        news = News(feeds=(Feed(id="wire", url=server.url(), period_s=60),), allow_private=(HOST,))
        workers = Workers(kafka.bootstrap, prefix, tmp_path, Config(news=news))
        cluster = workers.cluster
        extra = {
            "DATABASE_URL": postgres.url, "TAPE_DATA_URL": served.url,
            "APCA_API_KEY_ID": LARGE_KEYS.key, "APCA_API_SECRET_KEY": LARGE_KEYS.secret,
        }  # fmt: skip
        try:
            killed = workers.tape("ingest", "news", extra=extra)
            past = [("alpaca", "1", "headline 1"), ("alpaca", "2", "headline 2")]
            once = [*past, ("wire", "a", "One"), ("wire", "b", "Two")]
            eventually(lambda: told(cluster)[:2] == past, "the news of the past")
            twin = workers.tape("ingest", "news", extra={**extra, "TAPE_HOME": str(tmp_path / "twin")})
            eventually(lambda: "LIVE" in workers.log_of("ingest", "news"), "the connection")
            served.arm("news-correction", seconds=3)
            for second in (61, 64):
                to(second)
                served.state()
            eventually(lambda: len([b for b in told(cluster) if b[1] == "3"]) == 2, "the correction")
            eventually(lambda: {*once} <= {*told(cluster)}, "the first look at the feed")
            eventually(lambda: "this one waits" in workers.log_of("ingest", "news"), "the wait of the twin")
            assert len(server.requests) == 1, "the twin did not look"
            (line,) = stages(cluster)
            assert {"OK:wire", "LIVE:alpaca"} <= {*line.reasons} and line.watermark is not None
            to(101)
            killed.kill()
            assert killed.wait(10) == KILLED
            eventually(lambda: len(told(cluster)) == 9, "what the twin adds")
            twin.send_signal(signal.SIGTERM)
            assert twin.wait(20) == 0, workers.log_of("ingest", "news")
        finally:
            workers.stop()
        assert served.fired("news-correction") == 1
    bodies = articles(cluster)
    assert told(cluster) == sorted([
        *once, ("alpaca", "3", "headline 3"), ("alpaca", "3", "headline 3 (corrected)"),
        ("alpaca", "4", "headline 4"), ("wire", "b", "Two, corrected"), ("wire", "c", "Three"),
    ])  # fmt: skip
    assert len({body["event_id"] for body in bodies}) == len(bodies) == 9
    two = [body for body in bodies if body["native_id"] == "b"]
    assert two[0]["event_time"] == two[1]["event_time"] and two[0]["updated_at"] < two[1]["updated_at"]
    log = read_topic(cluster, "news")
    labels = [label for each in log if (label := readable_label(each)) is not None]
    assert log[0].key == WATERMARK_KEY and labels == sorted({*labels}) and labels[-1] % MINUTE == 0
