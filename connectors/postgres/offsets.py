"""Where the sink resumes: offsets in Postgres, advanced in the same transaction as their rows."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import UNKNOWN_ID
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.sink_input import bounds, check_topics, open_consumer, topic_ids
from tapedeck.connectors.postgres.store import Connection
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.merge import Part
from tapedeck.topics.catalogue import CATALOGUE

DEFAULT_GROUP = "sink"
_WAIT_S = 0.2

_READ = """
SELECT topic, topic_id, partition, next_offset FROM sink_offsets
WHERE sink_group = %s AND cluster_id = %s AND topic = ANY(%s)"""
_NOTE_LOG = """
INSERT INTO read_logs (topic, topic_id, holds_unmarked)
SELECT m.topic, m.topic_id,
       %s AND NOT EXISTS (SELECT 1 FROM read_logs k WHERE k.topic = m.topic AND k.holds_unmarked)
FROM unnest(%s::text[], %s::bytea[]) AS m(topic, topic_id) ON CONFLICT DO NOTHING"""
_BEGIN = """
INSERT INTO sink_offsets (sink_group, cluster_id, topic, topic_id, partition, next_offset)
SELECT %s, %s, * FROM unnest(%s::text[], %s::bytea[], %s::integer[], %s::bigint[]) ON CONFLICT DO NOTHING"""
_MARK = """
UPDATE sink_offsets SET topic_id = %s
WHERE sink_group = %s AND cluster_id = %s AND topic = %s AND topic_id = ''"""
_MOVE = """
UPDATE sink_offsets o SET next_offset = m.next_offset
FROM unnest(%s::text[], %s::bytea[], %s::integer[], %s::bigint[], %s::bigint[])
     AS m(topic, topic_id, partition, expected, next_offset)
WHERE o.sink_group = %s AND o.cluster_id = %s AND o.topic = m.topic AND o.topic_id = m.topic_id
  AND o.partition = m.partition AND o.next_offset = m.expected"""


class Offsets:
    """The next offset per partition of one sink group, in the topics' current logs.

    ``unmarked`` are offsets that were stored before topic ids were; ``earlier`` gives, per topic, the ids of
    other logs that the group has read.
    """

    def __init__(self, connection: Connection, group: str, cluster_id: str, ids: Mapping[str, bytes]) -> None:
        self.connection = connection
        self.group = group
        self.ids = ids
        self._cluster_id = cluster_id
        self.next: dict[Part, int] = {}
        self.unmarked: dict[Part, int] = {}
        self.earlier: dict[str, set[bytes]] = defaultdict(set)
        with connection.transaction():
            rows = connection.execute(_READ, (group, cluster_id, list(ids))).fetchall()
        for name, topic_id, partition, offset in rows:
            if topic_id == ids[name]:
                self.next[name, partition] = offset
            elif topic_id == UNKNOWN_ID:
                self.unmarked[name, partition] = offset
            else:
                self.earlier[name].add(topic_id)

    def begin(self, starts: Mapping[Part, int]) -> None:
        """Record the start of partitions that this group has never read."""
        new = {place: offset for place, offset in starts.items() if place not in self.next}
        if new:
            with self.connection.transaction():
                self._note({name for name, _ in new}, holds_unmarked=False)
                arguments = (self.group, self._cluster_id, *self._columns(new), list(new.values()))
                self.connection.execute(_BEGIN, arguments)
            self.next.update(new)

    def mark(self, name: str) -> None:
        """Assign the offsets and rows stored before topic ids were to the current log of ``name``."""
        with self.connection.transaction():
            self._note({name}, holds_unmarked=True)
            self.connection.execute(_MARK, (self.ids[name], self.group, self._cluster_id, name))
        for place in [place for place in self.unmarked if place[0] == name]:
            self.next[place] = self.unmarked.pop(place)

    def move(self, to: Mapping[Part, int]) -> None:
        """Inside the caller's transaction: advance from what this process read to ``to``.

        Raises Fatal if another sink of the group has moved them: its rows are safe, and this one must end.
        """
        expected = [self.next[place] for place in to]
        arguments = (*self._columns(to), expected, list(to.values()), self.group, self._cluster_id)
        if self.connection.execute(_MOVE, arguments).rowcount != len(to):
            raise Fatal(
                "another sink of this group has moved the offsets in Postgres",
                value=self.group,
                remedy="run one sink per group, or give this one --group",
            )

    def moved(self, to: Mapping[Part, int]) -> None:
        """The transaction of ``move`` was committed."""
        self.next.update(to)

    def _note(self, names: Iterable[str], *, holds_unmarked: bool) -> None:
        known = sorted(names)
        ids = [self.ids[name] for name in known]
        self.connection.execute(_NOTE_LOG, (holds_unmarked, known, ids))

    def _columns(self, where: Iterable[Part]) -> tuple[list[str], list[bytes], list[int]]:
        pairs = list(where)
        names = [name for name, _ in pairs]
        return names, [self.ids[name] for name in names], [partition for _, partition in pairs]


def lag(
    url: str,
    cluster: Cluster,
    *,
    group: str = DEFAULT_GROUP,
    topics: Sequence[str] | None = None,
) -> dict[str, int]:
    """Records per topic that are in Kafka and not yet in Postgres, including watermarks.

    Raises Retry if one of the two does not answer, CatalogueMismatch for missing topics.
    """
    names = list(topics) if topics is not None else [topic.name for topic in CATALOGUE.audited]
    consumer = open_consumer(cluster, "lag")
    try:
        cluster_id = check_topics(consumer, cluster.layout, names)
        # Read offsets before ends: what the sink itself writes meanwhile (dead letters) must count as lag.
        with connect(url, cluster.prefix) as connection:
            found = Offsets(connection, group, cluster_id, topic_ids(cluster, names))
        ends = bounds(cluster, names)
    finally:
        consumer.close()
    behind, done = dict.fromkeys(names, 0), found.unmarked | found.next
    for place, (start, end) in ends.items():
        behind[place[0]] += max(0, end - done.get(place, start))
    return behind


def wait_until_caught_up(
    url: str,
    cluster: Cluster,
    *,
    timeout_s: float,
    group: str = DEFAULT_GROUP,
    topics: Sequence[str] | None = None,
) -> None:
    """Return when Postgres has everything that the topics have.

    Keeps asking a broker or database that is unavailable. Raises Retry, with the lag, when time is up.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        behind: dict[str, int] | str
        try:
            found = lag(url, cluster, group=group, topics=topics)
            behind = {name: n for name, n in found.items() if n}
            if not behind:
                return
        except Retry as error:
            behind = str(error)
        if time.monotonic() > deadline:
            raise Retry(
                f"the sink has not caught up within {timeout_s:g} s",
                value=behind,
                remedy="read the sink's log",
            )
        time.sleep(_WAIT_S)
