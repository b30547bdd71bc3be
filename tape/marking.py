"""Writes the watermarks of bars, quotes and universe for producers that write none."""

from collections.abc import Callable
from contextlib import ExitStack, closing

from confluent_kafka import TopicPartition
from rich.console import Console

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import new_consumer, read_parts, to_message
from tapedeck.connectors.tapes.marking import Marker, copy_with_marks
from tapedeck.connectors.tapes.marks import last_watermarks, optional_inputs
from tapedeck.connectors.tapes.openings import BEHIND_US, Openings
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.connectors.tapes.writers import refuse_beside_live
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import Origin

_POLL_S = 0.2
_AT_ONCE = 1000
_TELL_EVERY = 500
"""Minutes between two lines of progress."""


def _nothing(label: int) -> None:
    pass


def follow(
    topology: Topology, cluster: Cluster, origin: Origin, console: Console, *, opening: int, grace_s: float
) -> None:
    refuse_beside_live(cluster, SystemClock().now())
    last = last_watermarks(cluster, SOURCES)
    starts = _starts(cluster, last, console)
    consumer = new_consumer(cluster)
    with KafkaLogWriter(cluster, origin) as writer, closing(consumer), ExitStack() as while_marking:

        def write(marks: list[Message]) -> None:
            writer.write_messages(marks)
            writer.flush()

        then: Callable[[int], None] = _nothing
        if topology.optional:
            optional = while_marking.enter_context(optional_inputs(cluster, topology.optional))
            begins = max((label for label in last.values() if label is not None), default=opening)
            openings = Openings(optional, SOURCES, writer, since=begins - BEHIND_US)
            openings.complete(last)
            then = openings.open

        marker = Marker(last, lambda marks: write(list(marks)), grace_s=grace_s, then=then)
        if marker.marked is None:
            marker.open(opening - MINUTE_US)
        console.print(f"following bars after {iso_time(marker.marked or opening)}")
        is_told = False
        wire = cluster.layout.wire_name
        consumer.assign([TopicPartition(wire(n), p, at) for (n, p), at in starts.items()])
        while True:
            first = consumer.poll(_POLL_S)  # consume() would wait for a full batch
            for record in [] if first is None else [first, *consumer.consume(_AT_ONCE, timeout=0)]:
                if record.error() is None:
                    marker.see(to_message(record, cluster.layout))
            if marker.older and not is_told:
                is_told = True
                console.print(
                    "bars arrive that are older than the last watermark: stages treat them as late. For bars"
                    " of the past, start on empty topics with --first TIME, or copy them with --into PREFIX"
                )
            for label in marker.mark():
                console.print(f"watermark {iso_time(label)}")


def _starts(cluster: Cluster, last: dict[Part, int | None], console: Console) -> dict[Part, int]:
    """Where to start reading each partition: the minute of the lowest watermark; without one, its end."""
    with KafkaSource(cluster) as source:
        bounds = source.ends(SOURCES)
        known = [label for label in last.values() if label is not None]
        if known:
            label = min(known)
            return {
                part: source.offset_at(part, label) if part[0] == "bars" else end
                for part, (_, end) in bounds.items()
            }
    waiting = sum(end - low for (name, _), (low, end) in bounds.items() if name == "bars")
    if waiting:
        console.print(
            f"{waiting:,} bars are before the first watermark: stages reject them (NO_WATERMARK in "
            "dead_letters). To use them, stop this and run `tape watermark --into PREFIX`"
        )
    return {part: end for part, (_, end) in bounds.items()}


def copy_marked(
    topology: Topology, cluster: Cluster, target: Cluster, origin: Origin, console: Console
) -> None:
    if target.prefix == cluster.prefix:
        remedy = "name another prefix: a copy next to the originals would be read twice"
        raise Fatal("the records are already under this prefix", value=target.prefix, remedy=remedy)
    ensure(target)
    with KafkaSource(target) as source:
        taken = [f"{name}/{p}" for (name, p), (low, end) in source.ends(SOURCES).items() if end > low]
    if taken:
        remedy = "name an unused prefix"
        raise Fatal("the topics of this prefix are not empty", value=", ".join(taken), remedy=remedy)
    with KafkaSource(cluster) as source:
        bounds = source.ends(SOURCES)
    console.print(
        f"reading {sum(end - low for low, end in bounds.values()):,} offsets of {', '.join(SOURCES)}"
    )

    def tell(done: int, of: int) -> None:
        if done % _TELL_EVERY == 0:
            console.print(f"{done:,} of {of:,} minutes")

    messages = (message for chunk in read_parts(cluster, bounds) for message in chunk)
    with KafkaLogWriter(target, origin, linger_ms=5) as writer:
        copied = copy_with_marks(messages, writer, tell, topology.optional)
    left_out = f"; {copied.unreadable:,} that cannot be decoded were left out" if copied.unreadable else ""
    print(f"copied {copied.records:,} records of {copied.minutes:,} minutes into {target.prefix}{left_out}")
