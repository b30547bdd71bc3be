"""Whether a sink may resume where Postgres says: it must be its own cluster, and logs it has read before."""

import logging
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import require_head
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP, Offsets
from tapedeck.connectors.postgres.sink_input import bounds, check_topics, open_consumer, topic_ids
from tapedeck.connectors.postgres.store import Connection
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.logs import short
from tapedeck.streams.merge import Part

Value = TypeVar("Value")
Spans = Mapping[Part, tuple[int, int]]
# An arbitrary constant that no other lock of the database uses: two clusters must not claim a store at once.
_CLAIM_LOCK = 7_461_706_6

log = logging.getLogger(__name__)


def claim(connection: Connection, cluster_id: str, moved_from: str = "") -> None:
    """Make the store this cluster's if it is unclaimed, or if it belongs to ``moved_from``, which is gone.

    Raises Fatal, and changes nothing, if it belongs to another cluster.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CLAIM_LOCK,))
        row = connection.execute(
            "SELECT cluster_id FROM audit_clusters ORDER BY since DESC LIMIT 1"
        ).fetchone()
        owner = str(row[0]) if row else None
        if owner == cluster_id:
            return
        if owner is not None and owner != moved_from:
            raise Fatal(
                f"this database holds the audit of the Kafka cluster {owner}, but another cluster answers",
                value=cluster_id,
                remedy="name another database in DATABASE_URL, or give this pipeline another TAPE_PREFIX; if "
                f"the cluster was replaced by this one, run `tape sink --moved-from {owner}` once",
            )
        if owner is None and moved_from:
            raise Fatal("the audit store belongs to no cluster yet", value=moved_from)
        connection.execute("INSERT INTO audit_clusters (cluster_id) VALUES (%s)", (cluster_id,))
        others = connection.execute(
            "SELECT DISTINCT cluster_id FROM sink_offsets WHERE cluster_id <> %s", (cluster_id,)
        ).fetchall()
    if others:
        names = ", ".join(sorted(str(name) for (name,) in others))
        log.warning(
            "from now on this is the audit of cluster %s; it also holds rows of %s", cluster_id, names
        )


def resume(offsets: Offsets, spans: Spans) -> None:
    """Give every partition of ``spans`` an offset to resume from: the stored one, or its start.

    Raises Fatal if a topic is not the log that was read before, or ends before what was read.
    """
    read = {name for name, _ in offsets.next}
    for name in sorted({name for name, _ in spans} - read):
        if offsets.earlier[name]:
            known = sorted(offsets.earlier[name])
            raise made_anew(name, known[0], offsets.ids[name], offsets.group)
        old = _of(name, offsets.unmarked)
        _demand_within(offsets.group, old, spans)
        if old:
            offsets.mark(name)
    offsets.begin({place: start for place, (start, _) in spans.items()})
    _demand_within(offsets.group, offsets.next, spans)


def made_anew(name: str, known: bytes, found: bytes, group: str) -> Fatal:
    """The error for topic ``name`` when it is another log than the ``known`` one."""
    return Fatal(
        f"topic {name} was recreated: Postgres has read the one with the id {short(known)}",
        value=short(found),
        remedy=_adopt(name, group),
    )


def adopt(
    url: str, cluster: Cluster, topics: Sequence[str], *, group: str = DEFAULT_GROUP, moved_from: str = ""
) -> list[str]:
    """Start the current logs of ``topics`` from the beginning, where a sink of ``group`` could not resume.

    Nothing that is stored changes: rows of earlier logs stay, and known event_ids are not stored twice.
    Returns one sentence per topic. Raises Retry if Postgres or Kafka is unavailable, Fatal like the sink.
    """
    consumer = open_consumer(cluster, "adopt")
    try:
        cluster_id = check_topics(consumer, cluster.layout, topics)
        with connect(url, cluster.prefix) as connection:
            require_head(connection)
            claim(connection, cluster_id, moved_from)
            offsets = Offsets(connection, group, cluster_id, topic_ids(cluster, topics))
            spans = bounds(cluster, topics)
            return [_adopted(offsets, name, _of(name, spans)) for name in topics]
    finally:
        consumer.close()


def _adopted(offsets: Offsets, name: str, spans: Spans) -> str:
    known = _of(name, offsets.next)
    if not known:
        if not offsets.earlier[name] and not _beyond(_of(name, offsets.unmarked), spans):
            return f"{name}: nothing to adopt; the sink continues where it was"
        offsets.begin({place: start for place, (start, _) in spans.items()})
        return f"{name}: the log with the id {short(offsets.ids[name])} will be read from its start"
    back = {place: spans[place][0] for place in _beyond(known, spans)}
    if not back:
        return f"{name}: nothing to adopt; the sink continues where it was"
    with offsets.connection.transaction():
        offsets.move(back)
    parts = ", ".join(str(partition) for _, partition in sorted(back))
    return f"{name}: partition {parts} will be read from its start"


def _demand_within(group: str, stored: Mapping[Part, int], spans: Spans) -> None:
    for place in _beyond(stored, spans):
        name, partition = place
        raise Fatal(
            f"Postgres has read {name}/{partition} up to {stored[place]}, but the topic ends at "
            f"{spans[place][1]}: was the topic recreated or truncated?",
            value=group,
            remedy=_adopt(name, group),
        )


def _beyond(stored: Mapping[Part, int], spans: Spans) -> list[Part]:
    return sorted(place for place, at in stored.items() if place in spans and at > spans[place][1])


def _of(name: str, by_part: Mapping[Part, Value]) -> dict[Part, Value]:
    return {place: value for place, value in by_part.items() if place[0] == name}


def _adopt(name: str, group: str) -> str:
    command = f"tape sink --adopt {name}" + ("" if group == DEFAULT_GROUP else f" --group {group}")
    return (
        f"run `{command}` once, then the sink: it reads the topic from its start; all rows stay, known events"
        " are not stored twice"
    )
