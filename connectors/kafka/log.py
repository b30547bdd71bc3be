"""Writing source topics: the port through which the player and the dispatchers write."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Batch, Outbox
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Headers, Origin, Wire, opening_wires, record_wire, watermark_wires
from tapedeck.topics.catalogue import topic


class LogWriter(Protocol):
    """Appends records under their catalogue key and partition."""

    def send(self, name: str, body: dict[str, Any], headers: dict[str, bytes] | None = None) -> None:
        """Append one record. Raises DeadLetter for a body that does not fit its schema."""
        ...

    def watermark(self, name: str, label: int) -> None:
        """Append watermark(label) to every partition of the topic."""
        ...

    def opening(
        self, name: str, label: int, absent: Iterable[str], partitions: Sequence[int] | None = None
    ) -> None:
        """Append the opening that follows watermark(label) to every partition, or to ``partitions``."""
        ...

    def flush(self) -> None:
        """Return when everything sent is acknowledged. Raises Retry if it is not."""
        ...


class KafkaLogWriter:
    """The LogWriter onto a cluster. As a context manager it closes itself."""

    def __init__(self, cluster: Cluster, origin: Origin, *, linger_ms: float = 1) -> None:
        self._layout = cluster.layout
        self._static, self._clock = origin.static(), SystemClock()
        self._outbox = Outbox(cluster, origin.source, linger_ms=linger_ms)
        self._open: list[Batch] = []

    def send(self, name: str, body: dict[str, Any], headers: dict[str, bytes] | None = None) -> None:
        """Pass one record to the producer."""
        extra: Headers = [
            *self._static,
            ("tape-ingest-time", str(self._clock.now()).encode()),
            ("ce_id", str(body["event_id"]).encode()),
            ("ce_type", f"tapedeck.{name}".encode()),
            *(headers or {}).items(),
        ]
        wire = record_wire(name, topic(name).record_key(body), body, self._layout, extra)
        self._open.append(self._outbox.send((wire,)))

    def watermark(self, name: str, label: int) -> None:
        """Pass watermark(label) to the producer for every partition."""
        self._open.append(
            self._outbox.send(watermark_wires(name, label, range(self._layout.partitions(name))))
        )

    def opening(
        self, name: str, label: int, absent: Iterable[str], partitions: Sequence[int] | None = None
    ) -> None:
        """Pass the opening that follows watermark(label) to the producer."""
        parts = range(self._layout.partitions(name)) if partitions is None else tuple(partitions)
        self._open.append(self._outbox.send(opening_wires(name, label, absent, parts)))

    def write_messages(self, messages: Iterable[Message]) -> None:
        """Copy records unchanged: same partition, key, value, time and headers."""
        self.write(Wire(m.topic, m.partition, m.key, m.value, m.timestamp, list(m.headers)) for m in messages)

    def write(self, wires: Iterable[Wire]) -> None:
        """Pass records as they are to the producer."""
        self._open.append(self._outbox.send(wires))

    def flush(self) -> None:
        """Wait for every acknowledgement since the last flush; raises the first error."""
        waiting, self._open = self._open, []
        for batch in waiting:
            self._outbox.wait(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. After an error, Ctrl-C included, do not wait: writers resume where they stopped."""
        if error is None:
            self.close()
        else:
            self._outbox.abandon()

    def close(self) -> None:
        """Flush and stop."""
        self.flush()
        self._outbox.close()
