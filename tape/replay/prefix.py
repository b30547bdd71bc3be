"""The prefix of a replay: empty before it, and gone after it if that is wanted."""

from collections.abc import Iterable

from confluent_kafka import KafkaException
from psycopg import sql

from tapedeck.agents.settings import group_name
from tapedeck.connectors.kafka.admin import admin_of, describe, ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.database import DEFAULT_SCHEMA, connect, schema_name
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.topology import MARKET_STAGES
from tapedeck.topics.catalogue import CATALOGUE

_ANSWER_S = 20.0


def make(into: Cluster) -> None:
    """Create the topics of a prefix that holds nothing.

    Raises Fatal for one with records, naming what is there.
    """
    ensure(into)
    with KafkaSource(into) as source:
        ends = source.ends([each.name for each in CATALOGUE])
    held: dict[str, int] = {}
    for (name, _), (_, end) in ends.items():
        held[name] = held.get(name, 0) + end
    if there := [f"{count} in {into.layout.wire_name(name)}" for name, count in held.items() if count]:
        raise Fatal(
            f"the prefix {into.prefix} is not empty",
            value=f"{', '.join(there[:3])}{', ...' if len(there) > 3 else ''}",
            remedy="name another with --into; what a replay left is removed with `tape replay --purge --into "
            f"{into.prefix}`, what `tape rebuild --into` wrote by deleting its topics",
        )


def purge(into: Cluster, accounts: Iterable[str], database_url: str) -> int:
    """Delete the topics and consumer groups of the prefix, and its database schema; how many topics went.

    Raises Fatal without a prefix, Retry where the broker does not answer.
    """
    if not into.prefix:
        raise Fatal("only a prefix can be removed", remedy="name it with --into")
    admin = admin_of(into)
    ours = {into.layout.wire_name(each.name) for each in CATALOGUE}
    names = sorted(ours & describe(into).keys())
    groups = {group_name(into.layout, each) for each in (*MARKET_STAGES, *map(dispatcher_group, accounts))}
    try:
        for deleted in (admin.delete_topics(names, operation_timeout=_ANSWER_S) if names else {}).values():
            deleted.result(_ANSWER_S)
        listed = admin.list_consumer_groups(request_timeout=_ANSWER_S).result(_ANSWER_S)
        there = sorted(groups & {each.group_id for each in listed.valid})
        for gone in (admin.delete_consumer_groups(there) if there else {}).values():
            gone.result(_ANSWER_S)
    except KafkaException as error:
        what = f"the prefix was not removed: {error.args[0].str()}"
        raise Retry(what, value=into.prefix, remedy="do it again with `tape replay --purge`") from error
    schema = schema_name(into.prefix)
    if database_url and schema != DEFAULT_SCHEMA:
        with connect(database_url, role=None) as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    return len(names)


def dispatcher_group(account_id: str) -> str:
    """What an account's dispatcher calls its group behind the prefix, and itself in heartbeats."""
    return f"dispatch-{account_id}"
