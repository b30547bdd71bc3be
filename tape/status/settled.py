"""The funnel of the newest minutes that a stage has ended, from the ends of its topics: a bounded read."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tapedeck.connectors import dead_letters
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.doctor.snapshot import FunnelSeen
from tapedeck.tape.recording import Recording, TopicRecords
from tapedeck.topics.catalogue import Layout, topic

MINUTES = 5
BACK = 500
"""Messages of a partition that are read, at most: fewer minutes of a large universe are looked at."""
_LATE = ".late"


class Tail(NamedTuple):
    """The last messages of a partition. ``whole``: nothing was before them."""

    messages: list[Message]
    whole: bool


Tails = Mapping[Part, Tail]


def checked(topology: Topology) -> Iterator[StageSpec]:
    """The stages whose funnel adds up over any run of whole minutes."""
    for spec in topology.market:
        found = definition_of(spec).funnel
        if found is not None and found.by_minute:
            yield spec


def settled(
    cluster: Cluster, topology: Topology, config: Config, calendar: Calendar, there: Iterable[str]
) -> tuple[FunnelSeen, ...]:
    """The newest minutes of each stage that can be checked so. ``there``: the topics that can be read.

    Raises Retry if the broker is silent.
    """
    known = set(there)
    stages = [spec for spec in checked(topology) if known.issuperset(_read_by(spec))]
    ends = tails(cluster, sorted({name for spec in stages for name in _read_by(spec)}))
    found = (newest(spec, cluster.layout, ends, config, calendar) for spec in stages)
    return tuple(each for each in found if each is not None)


def _read_by(spec: StageSpec) -> tuple[str, ...]:
    return (spec.trigger, *spec.outputs, dead_letters.TOPIC)


def tails(cluster: Cluster, names: Iterable[str]) -> Tails:
    """The end of each partition of ``names``."""
    bounds = ends_of(cluster, names)
    window = {part: (max(low, end - BACK), end) for part, (low, end) in bounds.items()}
    read: dict[Part, list[Message]] = defaultdict(list)
    for chunk in read_parts(cluster, window):
        for message in chunk:
            read[message.topic, message.partition].append(message)
    return {part: Tail(read[part], window[part][0] == low) for part, (low, _) in bounds.items()}


def newest(
    spec: StageSpec, layout: Layout, ends: Tails, config: Config, calendar: Calendar
) -> FunnelSeen | None:
    """The lines of ``spec`` over the newest minutes that it has ended, of those that ``ends`` holds whole.

    None if there are none, or nothing came in them.
    """
    ends = {part: tail for part, tail in ends.items() if part[0] in _read_by(spec)}
    span = _span(spec, ends)
    definition = definition_of(spec).funnel
    if span is None or definition is None:
        return None
    first, last = span
    begins, over = (first + MINUTE_US) // 1_000, (last + MINUTE_US) // 1_000
    topics: dict[str, TopicRecords] = defaultdict(lambda: TopicRecords(""))
    topics |= {name: TopicRecords(name) for name, _ in ends}
    for (name, _), tail in ends.items():
        if name == spec.trigger:
            for message in _until(last, tail.messages):
                if begins < message.timestamp <= over:
                    topics[name].add(message)
    taken = set(topics[spec.trigger].bodies)
    if not taken:
        return None
    for name in (*spec.outputs, dead_letters.TOPIC):
        for (each, _), tail in ends.items():
            for message in tail.messages if each == name else ():
                if readable_label(message) is None and message.timestamp > begins:
                    topics[name].add(message)
        if name != dead_letters.TOPIC and not name.endswith(_LATE):
            topics[name] = _from(topics[name], taken)
            taken |= topics[name].bodies.keys()
    lines = definition.lines(Recording(layout, topics), config, calendar)
    return FunnelSeen(spec.name, first + MINUTE_US, last + MINUTE_US, tuple(lines))


def _span(spec: StageSpec, ends: Tails) -> tuple[int, int] | None:
    """(the label before the first minute, that of the last one)."""
    last, covered = [], []
    for (name, _), tail in ends.items():
        labels = [label for m in tail.messages if (label := readable_label(m)) is not None]
        if name in (spec.trigger, *spec.outputs) and topic(name).watermarked:
            if not labels:
                return None
            last.append(max(labels))
        if not tail.whole:
            stamp = tail.messages[0].timestamp * 1_000 if tail.messages else 0
            covered.append(labels[0] if labels else stamp)
    if not last:
        return None
    first = max([min(last) - MINUTES * MINUTE_US, *covered])
    return (first, min(last)) if first < min(last) else None


def _until(label: int, messages: Iterable[Message]) -> Iterator[Message]:
    """What precedes the end of minute ``label``: a stage that has ended the minute has taken all of it."""
    for message in messages:
        ended = readable_label(message)
        if ended is None:
            yield message
        elif ended >= label:
            return


def _from(records: TopicRecords, ids: set[str]) -> TopicRecords:
    """Those whose first input is among ``ids``."""
    found = TopicRecords(records.name)
    for message, body in records.entries:
        if body is not None and body["inputs"][0] in ids:
            found.add(message)
    return found
