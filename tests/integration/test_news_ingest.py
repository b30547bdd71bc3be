"""Feeds into a real log: each version of an article once, whatever is lost between two runs."""

import asyncio
import random

import pytest

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.news.fetch import Fetcher
from tapedeck.connectors.news.ingest import ingest, known_versions
from tapedeck.connectors.news.poller import Poller
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import Layout
from tests.support.feed_server import HOST, answer, entry, rss, serving

pytestmark = pytest.mark.integration


def test_each_version_of_an_article_is_written_once_though_state_and_file_are_lost(kafka, prefix, tmp_path):
    cluster, clock = Cluster(kafka.bootstrap, Layout(prefix)), SystemClock()
    ensure(cluster)
    path = tmp_path / "feeds.json"

    async def run(*entries):
        """One run of the ingester, cancelled as soon as it has kept a look's state."""
        path.unlink(missing_ok=True)
        async with serving(answer(body=rss(*entries), headers=[("ETag", '"1"')])) as server:
            news = News(feeds=(Feed(id="wire", url=server.url()),), allow_private=(HOST,))
            chance = random.Random(7)
            chance.random = lambda: 0.0
            fetcher = Fetcher(clock=clock, allow_private=news.allow_private)
            poller = Poller(news, fetcher, known_versions(cluster), clock, path, chance=chance)
            with KafkaLogWriter(cluster, Origin("news", "test", "")) as writer:
                task = asyncio.create_task(ingest(poller, writer))
                async with asyncio.timeout(30):
                    while not path.exists():
                        await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    for entries in (
        [entry("a", "One"), entry("b", "Two")],
        [entry("a", "One"), entry("b", "Two")],
        [entry("a", "One"), entry("b", "Two, corrected"), entry("c", "Three")],
    ):
        asyncio.run(run(*entries))
    bodies = [decode("news", message.value) for message in read_topic(cluster, "news")]
    assert sorted(body["title"] for body in bodies) == ["One", "Three", "Two", "Two, corrected"]
    two = [body for body in bodies if body["native_id"] == "b"]
    assert two[0]["event_time"] == two[1]["event_time"] and two[0]["updated_at"] < two[1]["updated_at"]
    assert len({body["event_id"] for body in bodies}) == 4
