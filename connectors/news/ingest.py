"""Into the log: what the topic ``news`` has already, and the one place through which more is added."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import Any, Protocol

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.connectors.news.items import IngestReason, Item
from tapedeck.connectors.news.poller import Look
from tapedeck.connectors.news.records import TOPIC, body_of
from tapedeck.connectors.news.versions import Versions
from tapedeck.connectors.tapes.writers import LIVE_NEWS
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout

STAGE = LIVE_NEWS


def known_versions(cluster: Cluster) -> Versions:
    """The newest version of each article in the topic. Raises Fatal and Retry as ``ends_of`` does."""
    return Versions(_bodies(cluster))


def _bodies(cluster: Cluster) -> Iterator[dict[str, Any]]:
    for chunk in read_parts(cluster, ends_of(cluster, (TOPIC,))):
        for message in chunk:
            with suppress(DeadLetter):
                if message.value is not None:
                    yield decode(TOPIC, message.value)


class Writer(LogWriter, Protocol):
    """A log writer that also takes records as they are."""

    def write(self, wires: Iterable[Wire]) -> None: ...


class Looks(Protocol):
    """What looks at the feeds; ``Poller`` does."""

    def looks(self) -> AsyncGenerator[Look, None]: ...

    def commit(self, look: Look) -> None: ...


class NewsLog:
    """All that goes into the topic, one write after the other: articles, watermarks, heartbeats.

    Each call returns when what it wrote is acknowledged. ``still_ours`` raises if this process has lost the
    right to write. A call that raises ends the process: ``versions`` counts as written what is judged.
    """

    def __init__(
        self,
        writer: Writer,
        versions: Versions,
        layout: Layout,
        clock: Clock,
        *,
        still_ours: Callable[[], object] = lambda: None,
    ) -> None:
        self._writer, self._layout, self._clock, self._still_ours = writer, layout, clock, still_ours
        self._one = asyncio.Lock()
        self.versions = versions
        self.counts: Counter[str] = Counter()
        self.written = 0

    async def judge(self, items: Iterable[Item]) -> None:
        """Write those of ``items`` that are new versions, in their order."""
        new = []
        for item in items:
            reason, version = self.versions.judge(item)
            self.counts[reason] += 1
            if version is not None:
                new.append(version)
        await self.articles(new)

    async def articles(self, items: Iterable[Item]) -> None:
        """Write new versions."""
        bodies = [body_of(item) for item in items]
        if bodies:
            await self._written(lambda: self._send(bodies))

    async def watermark(self, label: int) -> None:
        """End the minute ``label``."""
        await self._written(lambda: self._writer.watermark(TOPIC, label))

    async def wires(self, wires: Iterable[Wire]) -> None:
        """Write records as they are."""
        found = list(wires)
        await self._written(lambda: self._writer.write(found))

    async def refuse(self, raw: bytes, why: str, reason: str = IngestReason.BAD_ITEM) -> None:
        """Put what cannot be read among the dead letters."""
        self.counts[reason] += 1
        await self._written(lambda: self._dead(raw, DeadLetter(why, reason=reason)))

    async def _written(self, write: Callable[[], None]) -> None:
        async with self._one:
            self._still_ours()
            write()
            await asyncio.to_thread(self._writer.flush)

    def _send(self, bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            try:
                self._writer.send(TOPIC, body)
                self.written += 1
            except DeadLetter as error:
                self._dead(json.dumps(body).encode(), error)

    def _dead(self, raw: bytes, error: DeadLetter) -> None:
        message = Message(TOPIC, 0, -1, self._clock.now() // 1000, None, raw, ())
        self._writer.write([dead_letter(self._layout, message, STAGE, error)])


async def ingest_feeds(poller: Looks, log: NewsLog) -> None:
    """Write what the feeds bring, for ever; one record per new version of an article.

    A look's state is kept when its records are acknowledged. Raises Retry if they are not: start again then,
    with ``known_versions``, and nothing is lost and nothing written twice.
    """
    async with aclosing(poller.looks()) as looks:
        async for look in looks:
            for reason, count in look.counts.items():
                log.counts[reason] += count
            await log.articles(look.items)
            poller.commit(look)
