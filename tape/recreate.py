"""A topic deleted and created again, together with every table that was computed from it.

If a topic were recreated under a table of the old one, readers would skip it up to the old offsets. So the
tables of the stages that read or write it are deleted too, and their groups restart at the beginning of all
their inputs: every record that the topics then hold is applied once. Outputs that are written again have the
same event_ids, which their readers recognize.

An account is not started over if its inbox is kept: it would ask its broker for everything again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tapedeck.connectors.dispatch.inputs import routed
from tapedeck.connectors.kafka.admin import record_counts, recreate
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups, occupied
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import Layout, topic


@dataclass(frozen=True)
class Plan:
    """``topics`` to delete and create; ``groups`` that start over, with their inputs."""

    topics: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    stages: tuple[str, ...]


def plan_of(topology: Topology, name: str, layout: Layout, accounts: Sequence[str]) -> Plan:
    """The plan to recreate ``name``. Raises Fatal for an unknown topic and for an account's changelog."""
    topic(name)
    if name in {spec.changelog for spec in topology.accounts}:
        raise Fatal(
            "an account that starts over would ask its broker for everything again",
            value=name,
            remedy="`tape rebuild account --apply` rebuilds its table without asking the broker",
        )
    topics, stages, groups = [name], [], {}
    for spec in topology:
        depends = name in (*spec.inputs, spec.changelog)
        if depends or (name in spec.outputs and not spec.per_account):
            topics.append(spec.changelog)
            stages.append(spec.name)
            if not spec.per_account:
                groups[layout.group(spec.name)] = spec.inputs
    inboxes = {name for spec in topology.accounts for name in spec.inputs}
    dispatched = (name,) if name in {*routed(topology), *inboxes} else ()
    if dispatched:
        groups |= {layout.group(f"dispatch-{each}"): dispatched for each in accounts}
    return Plan(tuple(dict.fromkeys(topics)), groups, tuple(stages))


def told(plan: Plan, cluster: Cluster) -> list[str]:
    """What ``plan`` deletes and starts over, one line each."""
    counts = record_counts(cluster, plan.topics)
    lines = [
        f"{cluster.layout.wire_name(name)}: "
        + ("does not exist, will be created" if count is None else f"{count} records are deleted")
        for name, count in counts.items()
    ]
    for group, inputs in plan.groups.items():
        lines.append(f"{group} restarts at the beginning of {', '.join(inputs)}")
    return lines


def refuse_members(plan: Plan, groups: KafkaGroups) -> None:
    """Raise Fatal if a process uses what ``plan`` deletes."""
    for group in plan.groups:
        if members := groups.members(group):
            raise occupied(group, members)


def carry_out(plan: Plan, cluster: Cluster, say: Callable[[str], None]) -> None:
    """Delete, create, and set the groups back. Every step may be repeated; a worker that starts between two
    of them stops by itself."""
    groups = KafkaGroups(cluster)
    refuse_members(plan, groups)
    with KafkaSource(cluster) as source:
        _set_back(plan, groups, source, left_out=plan.topics)  # the broker refuses if a member joined
        recreate(cluster, plan.topics)
        say(f"created again: {', '.join(map(cluster.layout.wire_name, plan.topics))}")
        _set_back(plan, groups, source, left_out=())
    for group, inputs in plan.groups.items():
        say(f"{group} restarts at the beginning of {', '.join(inputs)}")


def _set_back(plan: Plan, groups: KafkaGroups, source: KafkaSource, left_out: Sequence[str]) -> None:
    for group, inputs in plan.groups.items():
        names = [name for name in inputs if name not in left_out]
        starts = {part: first for part, (first, _) in source.ends(names).items()}
        if starts:
            groups.commit(group, starts)
