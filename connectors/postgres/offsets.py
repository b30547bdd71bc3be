"""Where the sink goes on: offsets in Postgres, moved in the transaction that holds their rows."""

import time
from collections.abc import Iterable, Mapping, Sequence

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.database import connect
from tapedeck.connectors.postgres.models import AUDITED
from tapedeck.connectors.postgres.reading import bounds, check_topics, open_consumer
from tapedeck.connectors.postgres.store import Connection
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.merge import Part

DEFAULT_GROUP = "sink"
_WAIT_S = 0.2

_READ = "SELECT topic, partition, next_offset FROM sink_offsets WHERE sink_group = %s AND cluster_id = %s"
_BEGIN = """
INSERT INTO sink_offsets (sink_group, cluster_id, topic, partition, next_offset)
SELECT %s, %s, * FROM unnest(%s::text[], %s::integer[], %s::bigint[]) ON CONFLICT DO NOTHING"""
_MOVE = """
UPDATE sink_offsets o SET next_offset = m.next_offset
FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[])
     AS m(topic, partition, expected, next_offset)
WHERE o.sink_group = %s AND o.cluster_id = %s AND o.topic = m.topic AND o.partition = m.partition
  AND o.next_offset = m.expected"""


class Offsets:
    """The next offset per partition of one sink group on one cluster."""

    def __init__(self, connection: Connection, group: str, cluster_id: str) -> None:
        self.connection = connection
        self._group = group
        self._cluster_id = cluster_id
        with connection.transaction():
            rows = connection.execute(_READ, (group, cluster_id)).fetchall()
        self.next: dict[Part, int] = {(name, partition): offset for name, partition, offset in rows}

    def begin(self, starts: Mapping[Part, int]) -> None:
        """Note where partitions that this group has never read begin."""
        new = {place: offset for place, offset in starts.items() if place not in self.next}
        if new:
            with self.connection.transaction():
                self.connection.execute(
                    _BEGIN, (self._group, self._cluster_id, *_columns(new), list(new.values()))
                )
            self.next.update(new)

    def move(self, to: Mapping[Part, int]) -> None:
        """Inside the caller's transaction: from what this process read to ``to``.

        Raises Fatal where another sink of the group has moved them: its rows are safe, this one must end.
        """
        expected = [self.next[place] for place in to]
        arguments = (*_columns(to), expected, list(to.values()), self._group, self._cluster_id)
        if self.connection.execute(_MOVE, arguments).rowcount != len(to):
            raise Fatal(
                "another sink of this group has moved the offsets in Postgres",
                value=self._group,
                remedy="run one sink per group, or give this one --group",
            )

    def moved(self, to: Mapping[Part, int]) -> None:
        """The transaction of ``move`` is committed."""
        self.next.update(to)


def _columns(where: Iterable[Part]) -> tuple[list[str], list[int]]:
    pairs = list(where)
    return [name for name, _ in pairs], [partition for _, partition in pairs]


def lag(
    url: str,
    cluster: Cluster,
    *,
    group: str = DEFAULT_GROUP,
    topics: Sequence[str] | None = None,
) -> dict[str, int]:
    """Records per topic that lie in Kafka and not yet in Postgres, marks included.

    Raises Retry where one of the two does not answer, CatalogueMismatch for missing topics.
    """
    names = list(topics) if topics is not None else [topic.name for topic in AUDITED]
    consumer = open_consumer(cluster, "lag")
    try:
        cluster_id = check_topics(consumer, cluster.layout, names)
        # Offsets before ends: what the sink itself writes meanwhile (dead letters) must count as behind.
        with connect(url, cluster.prefix) as connection:
            done = Offsets(connection, group, cluster_id).next
        ends = bounds(consumer, cluster.layout, names)
    finally:
        consumer.close()
    behind = dict.fromkeys(names, 0)
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
    """Return when Postgres holds all that the topics hold.

    A broker or database that is away is asked again. Raises Retry, with the lag, when time is up.
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
