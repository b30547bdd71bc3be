"""What the topics of one run hold, read once: records decoded, repeats separated, tables restored."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple

from tapedeck.connectors import dead_letters
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.connectors.postgres.mapping import Builder, maps
from tapedeck.schemas.codec import PREFIX, decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.changelog import Changelog
from tapedeck.streams.digests import OutputDigest
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, Layout, topic

Body = dict[str, Any]
Bounds = Mapping[Part, tuple[int, int]]


@dataclass
class TopicRecords:
    """One topic. ``bodies`` holds each event_id once; ``entries`` holds everything, per partition in log
    order, with its body if it is a record that can be decoded."""

    name: str
    entries: list[tuple[Message, Body | None]] = field(default_factory=list)
    bodies: dict[str, Body] = field(default_factory=dict)
    digest: OutputDigest = field(default_factory=OutputDigest)
    records: int = 0
    unreadable: int = 0

    @property
    def messages(self) -> list[Message]:
        """Everything, watermarks included."""
        return [message for message, _ in self.entries]

    @property
    def repeats(self) -> int:
        """Records whose event_id an earlier record has too."""
        return self.records - self.unreadable - len(self.bodies)

    def add(self, message: Message) -> None:
        """Add the next message of its partition."""
        if message.key == WATERMARK_KEY and message.value is None:
            self.entries.append((message, None))
            return
        body = self._read(message)
        self.entries.append((message, body))

    def _read(self, message: Message) -> Body | None:
        self.records += 1
        schema, key = topic(self.name).schema, message.key or b""
        if schema is None:
            event_id, body, content = _row_of(self.name)(message)[0], {}, message.value or b""
        else:
            try:
                body = decode(schema, message.value)
            except DeadLetter:
                self.unreadable += 1
                return None
            event_id, content = body["event_id"], (message.value or b"")[PREFIX.size :]
        self.bodies.setdefault(event_id, body)
        self.digest.add(key, event_id, content)
        return body


class Refused(NamedTuple):
    """One dead letter: which record, by whom, why. ``body`` is None if the record cannot be decoded."""

    topic: str
    stage: str
    reason: str
    body: Body | None


@dataclass(frozen=True)
class Recording:
    """The topics of one run as they were at one moment; a ``streams.blocks.Source`` to rebuild from."""

    layout: Layout
    topics: Mapping[str, TopicRecords] = field(default_factory=dict)
    tables: Mapping[str, Mapping[bytes, bytes]] = field(default_factory=dict)
    """Per stage the framed values by key, as its changelog restores them."""
    signal_topics: tuple[str, ...] = ()
    """The topics whose signals dispatchers route."""

    def __getitem__(self, name: str) -> TopicRecords:
        return self.topics[name]

    def bodies(self, name: str) -> list[Body]:
        """The distinct records of topic ``name``."""
        return list(self.topics[name].bodies.values())

    def events(self) -> dict[str, int]:
        """Distinct event_ids per topic: the rows that the audit store must have."""
        return {name: len(found.bodies) for name, found in self.topics.items()}

    def refused(self) -> list[Refused]:
        """The dead letters."""
        return [_refused(message) for message in self.topics[dead_letters.TOPIC].messages]

    @cached_property
    def _source(self) -> MemorySource:
        return MemorySource(self.layout, (m for found in self.topics.values() for m in found.messages))

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        """(first, end) offset of every partition of ``names``."""
        return self._source.ends(names)

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """None: a recording is one log."""
        return self._source.topic_ids(names)

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end)."""
        return self._source.stream(part, start, end)

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset whose record's time is ``time_us`` or later."""
        return self._source.offset_at(part, time_us)


def everything(topology: Topology) -> tuple[str, ...]:
    """The fact topics and the changelogs."""
    return (*(each.name for each in CATALOGUE.audited), *topology.changelogs)


def bounds_now(topology: Topology, cluster: Cluster) -> Bounds:
    """(first, end) offset of every partition of every fact topic and changelog."""
    return ends_of(cluster, everything(topology))


def read_recording(topology: Topology, cluster: Cluster, bounds: Bounds | None = None) -> Recording:
    """What is committed up to ``bounds``, by default up to now. Raises Retry if the broker is silent."""
    bounds = bounds_now(topology, cluster) if bounds is None else bounds
    return of_messages(topology, cluster.layout, read_parts(cluster, dict(bounds)))


def of_messages(topology: Topology, layout: Layout, chunks: Iterable[Iterable[Message]]) -> Recording:
    """A recording of ``chunks``, each partition's messages in log order."""
    topics = {each.name: TopicRecords(each.name) for each in CATALOGUE.audited}
    changelogs = {spec.changelog: Changelog(single=spec.scale == "single") for spec in topology}
    for chunk in chunks:
        for message in chunk:
            if message.topic in topics:
                topics[message.topic].add(message)
            elif message.topic in changelogs:
                changelogs[message.topic].add(message.partition, message.key, message.value)
    tables = {spec.name: _by_key(changelogs[spec.changelog]) for spec in topology}
    return Recording(layout, topics, tables, topology.signal_topics)


def _by_key(found: Changelog) -> dict[bytes, bytes]:
    return {key: value for (_, key), value in found.values().items() if key != WATERMARK_KEY}


@cache
def _row_of(name: str) -> Builder:
    return maps((name,))[name].row


def _refused(message: Message) -> Refused:
    headers = {key: (content or b"").decode("utf-8", "replace") for key, content in message.headers}
    name = headers.get(dead_letters.SOURCE_TOPIC, "")
    body = None
    schema = topic(name).schema if name in CATALOGUE and topic(name).audited else None
    if schema is not None:
        try:
            body = decode(schema, message.value)
        except DeadLetter:
            body = None
    return Refused(name, headers.get(dead_letters.STAGE, ""), headers.get(dead_letters.REASON, ""), body)
