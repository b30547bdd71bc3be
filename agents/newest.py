"""The newest bar and feature of each symbol, as seen on the topics: the basis of freshness gates.

Reads ``bars`` and ``features`` without a group, starting shortly before their ends; with them ``regime`` and
``earnings``, from their beginning.
"""

import logging
import threading
import time
from collections.abc import Iterable

from confluent_kafka import TopicPartition

from tapedeck.agents.patience import RETRY_S
from tapedeck.agents.topic_watch import end_process
from tapedeck.connectors.dispatch.freshness import FOLLOWED, NAMES, NewestSeen
from tapedeck.connectors.dispatch.inbox import Body, Newest
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, to_message
from tapedeck.connectors.outlook.records import Known
from tapedeck.schemas.errors import DeadLetter, Retry
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import label_of
from tapedeck.topics.catalogue import WATERMARK_KEY

log = logging.getLogger("tapedeck.newest")

_BACK = 300


class NewestView:
    """A thread that follows the topics; its other methods may be called from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._layout = cluster, cluster.layout
        self._seen = NewestSeen()
        self._labels: dict[int, int] = {}
        self._open = True
        self._thread = threading.Thread(target=self._follow, name="newest-view", daemon=True)
        self._thread.start()

    def of(self, symbol: str, known_t: int) -> Newest:
        """The newest left edges of ``symbol``; a signal's own bar at ``known_t`` counts as seen."""
        return self._seen.of(symbol, known_t)

    def bars(self, symbols: Iterable[str]) -> dict[str, Body]:
        """The newest bar of each of ``symbols`` that has one."""
        return self._seen.bars(symbols)

    def known(self, now: int, symbols: Iterable[str]) -> Known:
        """The value of the volatility index, and the earnings of ``symbols``, that count at ``now``."""
        return self._seen.known(now, symbols)

    def label(self) -> int | None:
        """The last minute that every partition of ``bars`` has ended, None until that is known."""
        if len(self._labels) < self._layout.partitions("bars"):
            return None
        return min(self._labels.values())

    def close(self) -> None:
        """Stop the thread."""
        self._open = False
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        consumer = new_consumer(self._cluster, **{"fetch.min.bytes": 16_384, "fetch.wait.max.ms": 100})
        try:
            consumer.assign(self._starts())
            while self._open:
                first = consumer.poll(0.2)  # consume() alone would wait for a full batch
                for record in [] if first is None else [first, *consumer.consume(1000, timeout=0)]:
                    if record.error() is None:
                        self._see(to_message(record, self._layout))
        except Exception as error:  # without this thread a freshness gate would refuse every proposal
            end_process(error)
        finally:
            consumer.close()

    def _starts(self) -> list[TopicPartition]:
        """Positions shortly before the ends; waits for a broker that is unavailable."""
        while self._open:
            try:
                bounds = ends_of(self._cluster, FOLLOWED)
            except Retry as error:
                log.error("reading the newest bars and features has to wait: %s", error)
                time.sleep(RETRY_S)
                continue
            return [
                TopicPartition(self._layout.wire_name(name), partition, self._start(name, low, end))
                for (name, partition), (low, end) in bounds.items()
            ]
        return []

    @staticmethod
    def _start(name: str, low: int, end: int) -> int:
        """An index value or earnings may count long after they were written, so those are read whole."""
        return max(low, end - _BACK) if name in NAMES else low

    def _see(self, message: Message) -> None:
        if message.key != WATERMARK_KEY:
            self._seen.see(message)
            return
        try:
            label = label_of(message.key, message.value, message.headers)
        except DeadLetter:
            return  # the stages that read this topic report it
        if message.topic == "bars" and label is not None:
            self._labels[message.partition] = max(label, self._labels.get(message.partition, 0))
