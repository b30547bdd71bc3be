"""The newest bar and feature of each symbol, as seen on the topics: what freshness gates are judged on.

Reads ``bars`` and ``features`` without a group from shortly before their ends. Nothing is decoded: the
record key is the symbol and Kafka's timestamp is the event time, one minute after the left edge.
"""

import threading

from confluent_kafka import TopicPartition

from connectors.dispatch.inbox import Newest
from connectors.reading import ends, new_consumer, to_message
from streams.contract import MINUTE_US, Message
from streams.watermarks import label_of
from topics.catalogue import WATERMARK_KEY, Layout

_BACK = 300
_NAMES = ("bars", "features")


class NewestView:
    """A thread that follows the two topics; ``of`` may be called from any thread."""

    def __init__(self, bootstrap: str, layout: Layout) -> None:
        self._bootstrap, self._layout = bootstrap, layout
        self._seen: dict[tuple[str, str], int] = {}
        self._labels: dict[int, int] = {}
        self._open = True
        self._thread = threading.Thread(target=self._follow, name="newest-view", daemon=True)
        self._thread.start()

    def of(self, symbol: str, known_t: int) -> Newest:
        """The newest left edges of ``symbol``; a signal's own bar at ``known_t`` counts as seen."""
        bar, feature = (max(self._seen.get((name, symbol), 0), known_t) for name in _NAMES)
        return Newest(bar, feature)

    def label(self) -> int | None:
        """The last minute that every partition of ``bars`` has ended, None before that is known."""
        if len(self._labels) < self._layout.partitions("bars"):
            return None
        return min(self._labels.values())

    def close(self) -> None:
        """Stop the thread."""
        self._open = False
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        consumer = new_consumer(self._bootstrap)
        try:
            bounds = ends(consumer, self._layout, _NAMES)
            consumer.assign(
                [
                    TopicPartition(self._layout.wire_name(name), partition, max(low, end - _BACK))
                    for (name, partition), (low, end) in bounds.items()
                ]
            )
            while self._open:
                for record in consumer.consume(1000, timeout=0.2):
                    if record.error() is None:
                        self._see(to_message(record, self._layout))
        finally:
            consumer.close()

    def _see(self, message: Message) -> None:
        if message.key == WATERMARK_KEY:
            label = label_of(message.key, message.value, message.headers)
            if message.topic == "bars" and label is not None:
                self._labels[message.partition] = max(label, self._labels.get(message.partition, 0))
        elif message.key is not None:
            at = (message.topic, message.key.decode())
            self._seen[at] = max(message.timestamp * 1000 - MINUTE_US, self._seen.get(at, 0))
