"""From feeds into the log: what the topic ``news`` has already, and the loop that adds to it."""

import asyncio
from collections.abc import Iterator
from typing import Any

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.connectors.news.poller import Poller
from tapedeck.connectors.news.records import TOPIC, body_of
from tapedeck.connectors.news.versions import Versions
from tapedeck.schemas.codec import decode


def known_versions(cluster: Cluster) -> Versions:
    """The newest version of each article in the topic. Raises Fatal and Retry as ``ends_of`` does."""
    return Versions(_bodies(cluster))


def _bodies(cluster: Cluster) -> Iterator[dict[str, Any]]:
    for chunk in read_parts(cluster, ends_of(cluster, (TOPIC,))):
        for message in chunk:
            if message.value is not None:
                yield decode(TOPIC, message.value)


async def ingest(poller: Poller, writer: LogWriter) -> None:
    """Write what the feeds bring, for ever; one record per new version of an article.

    A look's state is kept when its records are acknowledged. Raises Retry if they are not: start again then,
    with ``known_versions``, and nothing is lost and nothing written twice.
    """
    async for look in poller.looks():
        for item in look.items:
            writer.send(TOPIC, body_of(item))
        if look.items:
            await asyncio.to_thread(writer.flush)
        poller.commit(look)
