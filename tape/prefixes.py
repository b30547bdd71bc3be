"""The pipelines of one cluster, each under its prefix: what a prefix owns, and how to drop it.

A prefix owns the catalogue's topics under it, the consumer groups of its stages and dispatchers, and the
database schema of its name. Topics under it that are not in the catalogue belong to others, and are kept.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from psycopg import sql

from tapedeck.connectors.kafka.admin import TIMEOUT_S, admin_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups, occupied
from tapedeck.connectors.postgres.connection import open_database
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import CATALOGUE

DISPATCH = "dispatch-"
_POLL_S = 0.05
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)
_SCHEMAS = (
    "SELECT s.schemaname, count(*) FROM pg_tables s WHERE EXISTS (SELECT FROM pg_tables a"
    " WHERE a.schemaname = s.schemaname AND a.tablename = 'alembic_version') GROUP BY 1"
)


@dataclass(frozen=True)
class Owned:
    """What ``prefix`` owns; it is empty for the pipeline without one.

    ``tables``: those of its database schema.
    """

    prefix: str
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    tables: int

    def in_words(self) -> list[str]:
        """One line each for topics, groups and schema."""
        lines = [f"{len(self.topics)} of {len(CATALOGUE)} topics: {', '.join(self.topics)}"]
        lines.append(f"{len(self.groups)} consumer groups: {', '.join(self.groups) or 'none'}")
        lines.append(
            f"the database schema {self.prefix}: {self.tables} tables" if self.tables else "no schema"
        )
        return lines


def pipelines(topology: Topology, cluster: Cluster, database_url: str = "") -> dict[str, Owned]:
    """The pipelines of the cluster by prefix. Schemas are included if a database is named.

    Raises Retry if broker or database do not answer.
    """
    admin = admin_of(cluster)
    try:
        names = admin.list_topics(timeout=TIMEOUT_S).topics
        listed = admin.list_consumer_groups(request_timeout=TIMEOUT_S).result(TIMEOUT_S).valid
    except KafkaException as error:
        raise _silent(cluster, error) from error
    topics = _by_prefix(names)
    groups = _of_prefixes(topology, (each.group_id for each in listed), topics)
    tables = _tables(database_url) if database_url else {}
    return {
        prefix: Owned(prefix, tuple(found), tuple(groups[prefix]), tables.get(prefix, 0) if prefix else 0)
        for prefix, found in sorted(topics.items())
    }


def _by_prefix(wires: Iterable[str]) -> dict[str, list[str]]:
    """Topics by prefix, those that identify a pipeline last; only prefixes that have one of these.

    Their names are unique to tapedeck: a prefix without any of them is not a pipeline. They are deleted
    last, so that an interrupted drop can be repeated.
    """
    names = sorted((each.name for each in CATALOGUE), key=len, reverse=True)
    ours = {each.name for each in CATALOGUE if not each.audited}
    found: dict[str, list[str]] = defaultdict(list)
    telling: dict[str, list[str]] = defaultdict(list)
    for wire in sorted(wires):
        name = next((name for name in names if wire == name or wire.endswith(f".{name}")), None)
        if name is not None:
            prefix = wire.removesuffix(name).rstrip(".")
            (telling if name in ours else found)[prefix].append(wire)
    return {prefix: [*found[prefix], *last] for prefix, last in telling.items()}


def _of_prefixes(topology: Topology, groups: Iterable[str], prefixes: Iterable[str]) -> dict[str, list[str]]:
    """Groups by prefix: a group's name is the prefix and the name of a stage or dispatcher."""
    begins = {f"{prefix or 'tapedeck'}-": prefix for prefix in prefixes}
    found: dict[str, list[str]] = defaultdict(list)
    for group in sorted(groups):
        for begin in sorted(begins, key=len, reverse=True):
            stage = group.removeprefix(begin)
            if stage != group and (stage in topology.names or stage.startswith(DISPATCH)):
                found[begins[begin]].append(group)
                break
    return found


def _tables(database_url: str) -> dict[str, int]:
    with open_database(database_url) as connection:
        return {str(name): int(count) for name, count in connection.execute(_SCHEMAS)}


def refuse_members(owned: Owned, groups: KafkaGroups) -> None:
    """Raise Fatal if a worker or dispatcher of the prefix is alive."""
    for group in owned.groups:
        if members := groups.members(group):
            raise occupied(group, members)


def drop(owned: Owned, cluster: Cluster, database_url: str = "") -> None:
    """Delete what a prefix owns: groups, schema, topics. What no longer exists is skipped.

    Raises Fatal without a prefix, Retry if the broker does not do it: the call may be repeated.
    """
    if not owned.prefix:
        remedy = "name a prefix; a whole local stack is removed with `tape down --purge`"
        raise Fatal("the pipeline without a prefix cannot be dropped", remedy=remedy)
    admin = admin_of(cluster)
    others = [name for name in owned.topics if not _tells(name)]
    try:
        if owned.groups:
            _settle(admin.delete_consumer_groups(list(owned.groups), request_timeout=TIMEOUT_S).values())
        if database_url:
            with open_database(database_url) as connection:
                schema = sql.Identifier(owned.prefix)
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
        for names in (others, [name for name in owned.topics if _tells(name)]):
            if names:
                _settle(admin.delete_topics(names, operation_timeout=TIMEOUT_S).values())
        until = time.monotonic() + TIMEOUT_S
        while admin.list_topics(timeout=TIMEOUT_S).topics.keys() & set(owned.topics):
            if time.monotonic() > until:
                raise Retry("topics still exist", value=owned.prefix, remedy="run this again")
            time.sleep(_POLL_S)  # the broker's metadata is updated with a delay
    except KafkaException as error:
        raise _silent(cluster, error) from error


def _tells(wire: str) -> bool:
    return any(wire.endswith(f".{each.name}") for each in CATALOGUE if not each.audited)


def _settle(answers: Iterable[Future[None]]) -> None:
    for answer in answers:
        try:
            answer.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() not in _GONE:
                raise


def _silent(cluster: Cluster, error: KafkaException) -> Retry:
    what = f"the broker did not delete it: {error.args[0].str()}"
    return Retry(what, value=cluster.bootstrap, remedy="check that it runs, then run this again")
