"""Records written as a stranger's transactional producer writes them: with aborted transactions between."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import Producer

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import WATERMARK_KEY

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
NULLS: tuple[tuple[str, bytes | None], ...] = (("x-retry", None), ("x-retry", b"1"), ("traceparent", None))
ABORTED_EVERY = 5
_TIMEOUT_S = 30.0


class Writer:
    """One transactional producer per codec."""

    def __init__(self, cluster: Cluster, codecs: Sequence[str] = CODECS) -> None:
        self._layout = cluster.layout
        self._producers = [self._new(cluster, codec) for codec in codecs]

    def _new(self, cluster: Cluster, codec: str) -> Producer:
        name = f"{cluster.prefix}-{codec}"
        made = Producer(
            cluster.librdkafka("stranger", **{"transactional.id": name, "compression.type": codec})
        )
        made.init_transactions(_TIMEOUT_S)
        return made

    def transaction(self, number: int, messages: Iterable[Message], abort: bool = False) -> None:
        """One transaction by the producer whose turn it is."""
        out = self._producers[number % len(self._producers)]
        self.begin(number, messages)
        if abort:
            out.abort_transaction(_TIMEOUT_S)
        else:
            out.commit_transaction(_TIMEOUT_S)

    def begin(self, number: int, messages: Iterable[Message]) -> None:
        """A transaction that is written and hangs open."""
        out = self._producers[number % len(self._producers)]
        out.begin_transaction()
        for message in messages:
            out.produce(
                self._layout.wire_name(message.topic), message.value, message.key, message.partition,
                timestamp=message.timestamp, headers=list(message.headers),
            )  # fmt: skip
        assert out.flush(_TIMEOUT_S) == 0


def minutes_of(messages: Iterable[Message]) -> list[list[Message]]:
    """The records up to each watermark, and it, of all partitions; what follows the last one stands last."""
    minutes: defaultdict[int, list[Message]] = defaultdict(list)
    ended: Counter[int] = Counter()
    for message in messages:
        minutes[ended[message.partition]].append(message)
        ended[message.partition] += message.key == WATERMARK_KEY
    return [minutes[number] for number in sorted(minutes)]


def with_nulls(messages: Iterable[Message]) -> list[Message]:
    """The same records with null headers, and every seventh with a null key."""
    return [
        m if m.value is None else m._replace(headers=NULLS, key=None if number % 7 == 3 else m.key)
        for number, m in enumerate(messages)
    ]


def rolled_back(messages: Iterable[Message]) -> list[Message]:
    """The bars among ``messages`` with another close: what must never be seen."""
    return [m._replace(value=_other(decode("bars", m.value))) for m in messages if m.value is not None]


def _other(body: dict[str, Any]) -> bytes:
    return encode("bars", body | {"close": body["high"] * 1.5, "high": body["high"] * 1.5})


def write(cluster: Cluster, messages: Iterable[Message]) -> int:
    """A transaction a minute, by each codec in turn, every fifth aborted first; how many were aborted.

    The last of all is an aborted one: the log ends with records that nobody may read.
    """
    writer, aborted = Writer(cluster), 0
    minutes = [with_nulls(minute) for minute in minutes_of(messages)]
    for number, minute in enumerate(minutes):
        wrong = rolled_back(minute)
        if number % ABORTED_EVERY == 2 and wrong:
            writer.transaction(number, wrong, abort=True)
            aborted += 1
        writer.transaction(number, minute)
    writer.transaction(0, rolled_back(m for minute in minutes[-20:] for m in minute), abort=True)
    return aborted + 1
