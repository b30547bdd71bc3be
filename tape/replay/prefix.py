"""The prefix of a replay: empty before, and removed afterwards if wanted."""

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.prefixes import DISPATCH, drop, pipelines
from tapedeck.tape.topology import topology_in_use
from tapedeck.topics.catalogue import CATALOGUE


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
            remedy="name another with --into, or remove a replay with `tape replay --purge --into "
            f"{into.prefix}`, a rebuilt pipeline with `tape prefix drop {into.prefix}`",
        )


def purge(into: Cluster, database_url: str) -> int:
    """Delete the topics and consumer groups of the prefix, and its database schema; returns the topic count.

    Raises Fatal without a prefix, Retry where the broker does not answer.
    """
    if not into.prefix:
        raise Fatal("only a prefix can be removed", remedy="name it with --into")
    owned = pipelines(topology_in_use(), into, database_url).get(into.prefix)
    if owned is None:
        return 0
    drop(owned, into, database_url)
    return len(owned.topics)


def dispatcher_group(account_id: str) -> str:
    """The name of an account's dispatcher in its group, after the prefix, and in heartbeats."""
    return f"{DISPATCH}{account_id}"
