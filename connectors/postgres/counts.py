"""Compares rows in Postgres with distinct events in the topics: the check that the audit is complete."""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.base import table_name
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import require_head
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.sink_input import read_events, topic_ids
from tapedeck.schemas.errors import DeadLetter
from tapedeck.topics.catalogue import CATALOGUE


class Distinct(NamedTuple):
    """The contents of one topic: distinct event_ids, and records that cannot be decoded."""

    events: int
    undecodable: int


class Rows(NamedTuple):
    """One topic's audited events: those of the topic's current log, and those that only earlier logs of its
    name contain."""

    now: int
    earlier: int


_ROWS = """
SELECT (SELECT count(*) FROM {table} WHERE coalesce(first_topic_id, unmarked) = %(topic_id)s)
       + (SELECT count(*) FROM relogged WHERE topic = %(topic)s AND topic_id = %(topic_id)s),
       (SELECT count(*) FROM {table})
FROM (SELECT (SELECT topic_id FROM read_logs WHERE topic = %(topic)s AND holds_unmarked) AS unmarked) o"""


def rows_per_table(url: str, cluster: Cluster, topics: Sequence[str] | None = None) -> dict[str, Rows]:
    """Rows of each topic's audit table by the log that they came from, counted exactly.

    An event that an earlier log already brought counts for the current log. Raises Retry if Postgres or Kafka
    is unavailable.
    """
    topics = _all(topics)
    ids = topic_ids(cluster, topics)
    rows = {}
    with connect(url, cluster.prefix) as connection:
        require_head(connection)
        for name in topics:
            statement = sql.SQL(_ROWS).format(table=sql.Identifier(table_name(name)))
            found = connection.execute(statement, {"topic": name, "topic_id": ids[name]}).fetchone()
            assert found is not None
            now, total = found
            rows[name] = Rows(now, total - now)
    return rows


def distinct_events(cluster: Cluster, topics: Sequence[str] | None = None) -> dict[str, Distinct]:
    """Distinct event_ids per topic, by reading every record except watermarks.

    Raises Retry if Kafka is unavailable.
    """
    topics = _all(topics)
    targets = maps(topics)
    seen: dict[str, set[str]] = {name: set() for name in topics}
    undecodable = dict.fromkeys(topics, 0)
    for message in read_events(cluster, topics):
        try:
            seen[message.topic].add(targets[message.topic].row(message)[0])
        except DeadLetter:
            undecodable[message.topic] += 1
    return {name: Distinct(len(seen[name]), undecodable[name]) for name in topics}


def _all(topics: Sequence[str] | None) -> Sequence[str]:
    return [topic.name for topic in CATALOGUE.audited] if topics is None else topics
