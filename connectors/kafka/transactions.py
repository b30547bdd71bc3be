"""Open transactions: what they withhold from every reader, and who holds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tapedeck.connectors.kafka.bulk.brokers import Brokers, WirePart
from tapedeck.connectors.kafka.bulk.offsets import (
    LATEST,
    LED_S,
    READ_COMMITTED,
    READ_UNCOMMITTED,
    list_offsets,
)
from tapedeck.connectors.kafka.bulk.transactional import Question, described, producers_of, transactions_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time

UNKNOWN = -1


@dataclass(frozen=True)
class OpenTransaction:
    """The transaction that withholds a partition's records from offset ``first`` on.

    ``topic``: the catalogue's name; ``withheld``: offsets from ``first`` to the log's end, including those of
    later transactions and plain records. What the broker does not tell is UNKNOWN, or empty.
    """

    topic: str
    partition: int
    first: int
    withheld: int
    wire_name: str
    bootstrap: str
    producer_id: int = UNKNOWN
    producer_epoch: int = UNKNOWN
    transactional_id: str = ""
    start_ms: int = UNKNOWN
    timeout_ms: int = UNKNOWN

    def __str__(self) -> str:
        since = f" since {iso_time(self.start_ms * 1000)}" if self.start_ms != UNKNOWN else ""
        within = f" of {self.timeout_ms / 1000:g} s" if self.timeout_ms != UNKNOWN else ""
        return (
            f"{self.topic}/{self.partition}: {self.withheld} offsets from {self.first} on are withheld by a "
            f"transaction that is open{since}, of {self._who()}; no reader gets past it: let its "
            f"producer end it, wait for its transaction.timeout.ms{within}, or abort it with Kafka's "
            f"kafka-transactions.sh --bootstrap-server {self.bootstrap} abort --topic {self.wire_name} "
            f"--partition {self.partition} --start-offset {self.first}"
        )

    def _who(self) -> str:
        if self.producer_id == UNKNOWN:
            return "a producer that the broker does not name"
        named = f"transactional id {self.transactional_id}, " if self.transactional_id else ""
        return f"{named}producer {self.producer_id}, epoch {self.producer_epoch}"


def open_transactions(cluster: Cluster, names: Iterable[str]) -> list[OpenTransaction]:
    """For each partition of ``names`` that has withheld records, the transaction that withholds the first.

    A transaction being written right now is included; one whose end is decided and whose marker is on its way
    is not. Raises Fatal for a topic that does not exist, Retry if the broker is silent.
    """
    wires = {cluster.layout.wire_name(name): name for name in names}
    if not wires:
        return []
    brokers = Brokers(cluster)
    limit_s = min(LED_S, brokers.silent_s)
    try:
        return brokers.patiently(
            lambda: _found(brokers, cluster, wires), "open transactions were asked for", limit_s
        )
    finally:
        brokers.close()


def _found(brokers: Brokers, cluster: Cluster, wires: Mapping[str, str]) -> list[OpenTransaction]:
    counts = brokers.learn(wires)
    parts = [(wire, partition) for wire, count in counts.items() for partition in range(count)]
    # The logs' ends first: records appended meanwhile show up in the stable ends, and nobody withholds them.
    ends = list_offsets(brokers, parts, LATEST, READ_UNCOMMITTED)
    stable = list_offsets(brokers, parts, LATEST, READ_COMMITTED)
    found = []
    for part in parts:
        first, end = stable[part][0], ends[part][0]
        if first < end:
            wire, partition = part
            one = OpenTransaction(wires[wire], partition, first, end - first, wire, cluster.bootstrap)
            found.append(_named(brokers, part, one))
    return _described(brokers, _still_open(brokers, found))


def _still_open(brokers: Brokers, found: list[OpenTransaction]) -> list[OpenTransaction]:
    """Those that did not end while their producer was looked up.

    A commit is answered before its markers are written. The leader stops naming the producer once the marker
    is there, so only transactions without a producer are checked again.
    """
    unnamed = [(each.wire_name, each.partition) for each in found if each.producer_id == UNKNOWN]
    stable = list_offsets(brokers, unnamed, LATEST, READ_COMMITTED) if unnamed else {}
    return [
        each
        for each in found
        if each.producer_id != UNKNOWN or stable[each.wire_name, each.partition][0] <= each.first
    ]


def _named(brokers: Brokers, part: WirePart, one: OpenTransaction) -> OpenTransaction:
    """With its producer, if the partition's leader names it."""
    told = _told(brokers, brokers.leader(part), producers_of(*part))
    for _, partitions, _ in told[1] if told else ():
        for _, code, _, producers, _ in partitions:
            for producer_id, epoch, _, _, _, start, _ in producers or () if code == 0 else ():
                if start == one.first:
                    return replace(one, producer_id=producer_id, producer_epoch=epoch)
    return one


def _described(brokers: Brokers, found: list[OpenTransaction]) -> list[OpenTransaction]:
    """With transactional id, start and timeout, if a coordinator knows the producer."""
    producers = sorted({each.producer_id for each in found} - {UNKNOWN})
    known: dict[int, dict[str, Any]] = {}
    for node in brokers.nodes() if producers else ():
        listed = _told(brokers, node, transactions_of(producers))
        ids = [each[0] for each in listed[3] or ()] if listed else []
        told = _told(brokers, node, described(ids)) if ids else None
        for code, name, _, timeout_ms, start_ms, producer_id, *_ in told[1] if told else ():
            if code == 0:
                known[producer_id] = {
                    "transactional_id": name,
                    "timeout_ms": timeout_ms,
                    "start_ms": start_ms,
                }
    return [replace(each, **known.get(each.producer_id, {})) for each in found]


def _told(brokers: Brokers, node: int, question: Question) -> Any:
    """The answer of a broker; None from one that is too old for the question."""
    try:
        return brokers.ask(node, question)
    except Fatal:
        return None
