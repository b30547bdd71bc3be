"""Threads that take what is written to some topics, with the time of each record's arrival here."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import Message, TopicPartition

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, new_consumer
from tapedeck.streams.watermarks import label_of

_LOOK_S = 0.1
_AT_ONCE = 2_000
_WRITTEN = "tape-ingest-time"
_CLOCK = SystemClock()


def now_s() -> float:
    """The machine's time in seconds, as the headers of records and the exchange's log of calls have it."""
    return _CLOCK.now() / 1e6


class Follow:
    """Hands each batch of records of the topics ``names`` to ``take``, with the time of its arrival.

    It begins at their ends, or at their ``start``. Use as a context.
    """

    def __init__(
        self,
        cluster: Cluster,
        names: Sequence[str],
        take: Callable[[list[Message], float], None],
        *,
        start: bool = False,
    ) -> None:
        self._take, self._open = take, True
        self._consumer = new_consumer(cluster, **{"fetch.wait.max.ms": 500, "fetch.queue.backoff.ms": 1})
        wire = cluster.layout.wire_name
        bounds = ends_of(cluster, names)
        self._consumer.assign(
            [
                TopicPartition(wire(name), part, low if start else end)
                for (name, part), (low, end) in bounds.items()
            ]
        )
        self._thread = threading.Thread(target=self._follow, name="follow")

    def __enter__(self) -> "Follow":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._open = False
        self._thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        while self._open:
            first = self._consumer.poll(_LOOK_S)  # consume() would wait until it is full
            at = now_s()
            records = [] if first is None else [first, *self._consumer.consume(_AT_ONCE, timeout=0)]
            found = [record for record in records if record.error() is None]
            if found:
                self._take(found, at)


class Seen(NamedTuple):
    """One record that arrived here. ``at`` and ``written``: seconds of the machine's clock.

    ``written`` is when its writer made it, just before it was sent; NaN if its headers do not say.
    """

    topic: str
    at: float
    written: float
    value: bytes


class Watch(Follow):
    """Keeps what the stack writes from here on, watermarks left out."""

    def __init__(self, cluster: Cluster, names: Sequence[str]) -> None:
        self.seen: list[Seen] = []
        self._layout = cluster.layout
        super().__init__(cluster, names, self._keep)

    def _keep(self, records: list[Message], at: float) -> None:
        for record in records:
            wire, value = record.topic(), record.value()
            if value is not None:
                assert wire is not None
                self.seen.append(Seen(self._layout.catalogue_name(wire), at, _written(record), value))


def _written(record: Message) -> float:
    found = dict(record.headers() or []).get(_WRITTEN)
    return int(found) / 1e6 if found else float("nan")


class Marks(Follow):
    """When each minute's watermark was in every partition of a topic, from the topic's start on."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._seen = [0] * cluster.layout.partitions(topic)
        self.at: dict[int, float] = {}
        """Seconds of the machine's clock by the label of the minute."""
        super().__init__(cluster, [topic], self._look, start=True)

    def _look(self, records: list[Message], at: float) -> None:
        for record in records:
            label = label_of(record.key(), record.value(), record.headers() or [])
            if label is not None:
                part = record.partition() or 0
                self._seen[part] = max(self._seen[part], label)
                self.at.setdefault(min(self._seen), at)
