"""A topic deleted and created again, and with it every table that was applied from what it held.

A topic made anew under a table that knows the old one would not be read up to the old offsets. So the tables
of the stages that read or write it go as well, and their groups start at the beginning of all their inputs:
every record that the topics hold then is applied once. Outputs that are written again have their event_ids,
which their readers know.

An account is not started over where its inbox stays: it would ask its broker for everything again.
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
    """``topics`` to delete and create; ``groups`` that start over, with the inputs that they begin anew."""

    topics: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    stages: tuple[str, ...]


def plan_of(topology: Topology, name: str, layout: Layout, accounts: Sequence[str]) -> Plan:
    """What recreating ``name`` takes. Raises Fatal for an unknown topic and for an account's changelog."""
    topic(name)
    if name in {spec.changelog for spec in topology.accounts}:
        raise Fatal(
            "an account that starts over would ask its broker for everything again",
            value=name,
            remedy="`tape rebuild account --apply` makes its table again, and asks for nothing",
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
    """What carrying out ``plan`` deletes and starts over, a line each."""
    counts = record_counts(cluster, plan.topics)
    lines = [
        f"{cluster.layout.wire_name(name)}: "
        + ("not there, will be created" if count is None else f"{count} records are deleted")
        for name, count in counts.items()
    ]
    for group, inputs in plan.groups.items():
        lines.append(f"{group} begins again at the start of {', '.join(inputs)}")
    return lines


def refuse_members(plan: Plan, groups: KafkaGroups) -> None:
    """Raise Fatal if anybody works on what ``plan`` takes away."""
    for group in plan.groups:
        if members := groups.members(group):
            raise occupied(group, members)


def carry_out(plan: Plan, cluster: Cluster, say: Callable[[str], None]) -> None:
    """Delete, create, and set the groups back. Every step may be repeated; a worker that starts between two
    of them stops by itself."""
    groups = KafkaGroups(cluster)
    refuse_members(plan, groups)
    with KafkaSource(cluster) as source:
        _set_back(plan, groups, source, left_out=plan.topics)  # the broker refuses where a member came
        recreate(cluster, plan.topics)
        say(f"created again: {', '.join(map(cluster.layout.wire_name, plan.topics))}")
        _set_back(plan, groups, source, left_out=())
    for group, inputs in plan.groups.items():
        say(f"{group} begins again at the start of {', '.join(inputs)}")


def _set_back(plan: Plan, groups: KafkaGroups, source: KafkaSource, left_out: Sequence[str]) -> None:
    for group, inputs in plan.groups.items():
        names = [name for name in inputs if name not in left_out]
        starts = {part: first for part, (first, _) in source.ends(names).items()}
        if starts:
            groups.commit(group, starts)
