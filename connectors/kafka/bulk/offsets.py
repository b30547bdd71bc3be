"""Offsets of many partitions: their ends, and the first offset at a time."""

from collections import defaultdict
from collections.abc import Iterable

from aiokafka.protocol.offset import OffsetRequest

from tapedeck.connectors.kafka.bulk.brokers import Brokers, WirePart
from tapedeck.connectors.kafka.connection import demand

READ_UNCOMMITTED, READ_COMMITTED = 0, 1
"""Isolation levels: all records, or those that can no longer be withdrawn."""

LATEST, EARLIEST = -1, -2
"""Times for which ``list_offsets`` returns the end and the first offset."""

LED_S = 10.0
"""How long a partition may have no leader when only its ends are needed."""


def list_offsets(
    brokers: Brokers, parts: Iterable[WirePart], time: int, isolation: int = READ_COMMITTED
) -> dict[WirePart, tuple[int, int]]:
    """(offset, timestamp ms) per partition of the first record at ``time`` ms or later; -1 if there is none.

    With READ_UNCOMMITTED the end is that of the log, including what may still be withdrawn.
    Raises Passing if a partition has no leader.
    """
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for topic, partition in parts:
        by_node[brokers.leader((topic, partition))][topic].append((partition, time))
    found = {}
    for node, topics in by_node.items():
        answer = brokers.ask(node, OffsetRequest(-1, isolation, list(topics.items())))
        for topic, partitions in answer.topics:
            for partition, code, timestamp, offset, *_ in partitions:
                if code:
                    brokers.forget((topic, partition))
                demand(code, f"asking for the offsets of {topic}/{partition}")
                found[topic, partition] = (offset, timestamp)
    return found


def ends_of(
    brokers: Brokers, parts: list[WirePart], isolation: int = READ_COMMITTED
) -> dict[WirePart, tuple[int, int]]:
    """(first, end) offset of partitions. Raises Retry if one has no leader for long."""

    def ask() -> dict[WirePart, tuple[int, int]]:
        low, high = (list_offsets(brokers, parts, time, isolation) for time in (EARLIEST, LATEST))
        return {part: (low[part][0], high[part][0]) for part in parts}

    limit_s = min(LED_S, brokers.silent_s)
    return brokers.patiently(ask, "the ends of topics were asked for", limit_s)
