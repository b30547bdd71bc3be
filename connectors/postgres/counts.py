"""Rows in Postgres against distinct events in the topics: the check that the audit is whole."""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.database import connect
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.models import AUDITED, table_name
from tapedeck.connectors.postgres.reading import read_events
from tapedeck.schemas.errors import DeadLetter

ALL_AUDITED = tuple(topic.name for topic in AUDITED)


class Distinct(NamedTuple):
    """What one topic holds: different event_ids, and records that cannot be decoded."""

    events: int
    undecodable: int


def rows_per_table(url: str, prefix: str = "", topics: Sequence[str] = ALL_AUDITED) -> dict[str, int]:
    """Rows of each topic's audit table, counted exactly. Raises Retry where Postgres is away."""
    statement = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM {}").format(sql.Literal(name), sql.Identifier(table_name(name)))
        for name in topics
    )
    with connect(url, prefix) as connection:
        return dict(connection.execute(statement).fetchall())


def distinct_events(cluster: Cluster, topics: Sequence[str] = ALL_AUDITED) -> dict[str, Distinct]:
    """Distinct event_ids per topic by reading every record, marks left out.

    Raises Retry where Kafka is away.
    """
    targets = maps(topics)
    seen: dict[str, set[str]] = {name: set() for name in topics}
    undecodable = dict.fromkeys(topics, 0)
    for message in read_events(cluster, topics):
        try:
            seen[message.topic].add(targets[message.topic].row(message)[0])
        except DeadLetter:
            undecodable[message.topic] += 1
    return {name: Distinct(len(seen[name]), undecodable[name]) for name in topics}
