"""The cluster's topics against the catalogue: describe, compare, create missing ones, alter nothing."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import Described, describe_ids
from tapedeck.connectors.kafka.scan import new_consumer
from tapedeck.schemas.errors import CatalogueMismatch, Fatal, Retry
from tapedeck.topics.catalogue import CATALOGUE, FOREVER, Cleanup, Layout
from tapedeck.topics.catalogue import topic as topic_of
from tapedeck.topics.keeping import COPIES, KEEP, REPLICATION, in_days

TIMEOUT_S = 20.0
_AT_LEAST = {Cleanup.DELETE: "retention.ms", Cleanup.COMPACT: "min.compaction.lag.ms"}
"""The setting that says how long a topic keeps everything; a higher value is fine."""
_POLL_S = 0.05
_REFUSED = (KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_CONFIG)


class Kind(StrEnum):
    """How a topic of the cluster differs from the catalogue."""

    MISSING = "MISSING"
    PARTITIONS = "PARTITIONS"
    CONFIG = "CONFIG"
    UNEXPECTED = "UNEXPECTED"


class Found(NamedTuple):
    """One topic on the cluster. ``config`` has the settings that the catalogue defines.

    ``copies``: the fewest replicas of any partition, 0 if unknown.
    """

    partitions: int
    config: Mapping[str, str]
    copies: int = 0


class Difference(NamedTuple):
    """One difference, by name on the cluster."""

    topic: str
    kind: Kind
    what: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, expected {self.expected}; {self.remedy}"


def describe(cluster: Cluster, timeout_s: float = TIMEOUT_S) -> dict[str, Found]:
    """Catalogue topics that exist, and everything else under a non-empty prefix, by name on the cluster.

    Raises Retry if the broker does not answer.
    """
    admin, layout = admin_of(cluster), cluster.layout
    try:
        known = admin.list_topics(timeout=timeout_s).topics
        ours = {layout.wire_name(topic.name) for topic in CATALOGUE}
        names = [
            name for name in known if name in ours or (layout.prefix and name.startswith(f"{layout.prefix}."))
        ]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}
        configs = {resource.name: _unless_gone(future, timeout_s) for resource, future in futures.items()}
    except (KafkaException, TimeoutError) as error:
        raise _unreachable(cluster, error) from error
    wanted = layout.topic_config(next(iter(CATALOGUE)).name)
    return {
        name: Found(
            len(known[name].partitions),
            {key: str(each.value) for key, each in config.items() if key in wanted},
            min((len(each.replicas) for each in known[name].partitions.values()), default=0),
        )
        for name in names
        if (config := configs[name]) is not None
    }


def _unless_gone(answer: "Future[Any]", timeout_s: float) -> Any:
    """The answer about a topic; None if it was deleted since it was listed."""
    try:
        return answer.result(timeout_s)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def compare(found: Mapping[str, Found], layout: Layout) -> list[Difference]:
    """Every difference between the cluster's topics and the catalogue, in the catalogue's order."""
    differences: list[Difference] = []
    for topic in CATALOGUE:
        name = layout.wire_name(topic.name)
        differences += _differences(name, found.get(name), layout.partitions(topic.name), topic.name, layout)
    expected = {layout.wire_name(topic.name) for topic in CATALOGUE}
    for name in sorted(set(found) - expected):
        remedy = f"delete it, or keep other topics out of the prefix {layout.prefix!r}"
        differences.append(Difference(name, Kind.UNEXPECTED, "the topic", "there", "none", remedy))
    return differences


def _differences(
    name: str, found: Found | None, partitions: int, catalogue_name: str, layout: Layout
) -> Iterable[Difference]:
    if found is None:
        remedy = "create it with `tape topics --create`"
        yield Difference(name, Kind.MISSING, "the topic", "missing", f"{partitions} partitions", remedy)
        return
    if found.partitions != partitions:
        yield Difference(
            name,
            Kind.PARTITIONS,
            "the number of partitions",
            str(found.partitions),
            str(partitions),
            "it is fixed at creation: write its records again under another prefix, or here after "
            f"`tape topics --recreate {catalogue_name}`",
        )
    if 0 < found.copies < layout.replication:
        yield Difference(
            name,
            Kind.CONFIG,
            "the number of copies",
            str(found.copies),
            str(layout.replication),
            f"add some with your cluster's tool (`kafka-reassign-partitions`), or set {REPLICATION} to it",
        )
    cleanup = topic_of(catalogue_name).cleanup
    for key, expected in layout.topic_config(catalogue_name).items():
        value = found.config.get(key, "unknown")
        if key == _AT_LEAST[cleanup]:
            if _shorter(value, expected):
                yield Difference(
                    name, Kind.CONFIG, key, value, expected, _lengthen(name, key, value, expected)
                )
        elif key not in _AT_LEAST.values() and value != expected:
            remedy = "set it with your cluster's tool (`kafka-configs --alter`); the records stay"
            yield Difference(name, Kind.CONFIG, key, value, expected, remedy)


def _shorter(value: str, expected: str) -> bool:
    """Whether a topic keeps less than expected; anything but a number counts as less."""
    try:
        found, wanted = int(value), int(expected)
    except ValueError:
        return True
    if FOREVER in (found, wanted):
        return found != FOREVER
    return found < wanted


def _lengthen(name: str, key: str, value: str, expected: str) -> str:
    return (
        f"it keeps records for {in_days(value)} instead of {in_days(expected)}: `kafka-configs --alter "
        f"--entity-type topics --entity-name {name} --add-config {key}={expected}`, or say in {KEEP} that "
        "less is intended"
    )


def ensure(cluster: Cluster, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Create the catalogue's missing topics; returns their names on the cluster.

    Nothing is created or altered if an existing topic differs: raises CatalogueMismatch naming each
    difference. Raises Retry if the broker does not answer.
    """
    differences = compare(describe(cluster, timeout_s), cluster.layout)
    refuse([d for d in differences if d.kind in (Kind.PARTITIONS, Kind.CONFIG)])
    missing = {d.topic for d in differences if d.kind is Kind.MISSING}
    created = _create(cluster, missing, timeout_s)
    deadline = time.monotonic() + timeout_s
    # The broker's metadata shows a creation, by us or by another process, with a delay.
    while missing:
        time.sleep(_POLL_S)
        differences = compare(describe(cluster, timeout_s), cluster.layout)
        refuse([d for d in differences if d.kind in (Kind.PARTITIONS, Kind.CONFIG)])
        missing = {d.topic for d in differences if d.kind is Kind.MISSING}
        if missing and time.monotonic() > deadline:
            refuse([d for d in differences if d.topic in missing])
    return created


def _create(cluster: Cluster, missing: set[str], timeout_s: float) -> list[str]:
    if not missing:
        return []
    layout, admin = cluster.layout, admin_of(cluster)
    copies = layout.replication or _copies(cluster, admin, timeout_s)
    new = [
        NewTopic(
            layout.wire_name(topic.name),
            num_partitions=layout.partitions(topic.name),
            replication_factor=copies,
            config=layout.topic_config(topic.name),
        )
        for topic in CATALOGUE
        if layout.wire_name(topic.name) in missing
    ]
    created = []
    try:
        answers = admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s)
        for name, answer in answers.items():
            try:
                answer.result(timeout_s)
                created.append(name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        if error.args[0].code() in _REFUSED:
            raise Fatal(
                f"the cluster refuses to create topics: {error.args[0].str()}",
                value=f"{copies} copies",
                remedy=f"set {REPLICATION} to a number of copies that it allows",
            ) from error
        raise _unreachable(cluster, error) from error
    return created


def _copies(cluster: Cluster, admin: AdminClient, timeout_s: float) -> int:
    """As many as the catalogue asks for, fewer if there are fewer brokers."""
    try:
        return min(COPIES, len(admin.list_topics(timeout=timeout_s).brokers))
    except KafkaException as error:
        raise _unreachable(cluster, error) from error


def recreate(cluster: Cluster, names: Iterable[str], timeout_s: float = TIMEOUT_S) -> None:
    """Delete the catalogue's topics ``names``, where they exist, and recreate them, empty.

    Returns when the cluster reports the new ones. Raises Retry if it does not; the call may then be repeated.
    """
    names = list(names)
    wires = [cluster.layout.wire_name(name) for name in names]
    before = describe_ids(cluster, names)
    _delete(cluster, [wire for wire, name in zip(wires, names, strict=True) if before[name]], timeout_s)
    deadline = time.monotonic() + timeout_s
    while any((now := describe_ids(cluster, names)).values()):
        if all(each is None or _is_another(each, before[name]) for name, each in now.items()):
            break  # another process, or the broker itself, was faster
        _wait(cluster, deadline, "the deleted topics still exist")
    _create(cluster, set(wires), timeout_s)
    while any(each is None for each in describe_ids(cluster, names).values()):
        _wait(cluster, deadline, "the new topics do not exist yet")
    check(cluster, timeout_s, names)


def _is_another(now: Described, before: Described | None) -> bool:
    return before is None or (bool(now.topic_id) and now.topic_id != before.topic_id)


def record_counts(
    cluster: Cluster, names: Iterable[str], timeout_s: float = TIMEOUT_S
) -> dict[str, int | None]:
    """How many offsets the catalogue's topics ``names`` keep, over all their partitions; None for one that
    does not exist. Raises Retry if the broker does not answer."""
    counts: dict[str, int | None] = {}
    consumer = new_consumer(cluster)
    try:
        known = consumer.list_topics(timeout=timeout_s).topics
        for name in names:
            wire = cluster.layout.wire_name(name)
            found = known.get(wire)
            parts = [TopicPartition(wire, partition) for partition in found.partitions] if found else []
            kept = [consumer.get_watermark_offsets(part, timeout=timeout_s) for part in parts]
            counts[name] = sum(high - low for low, high in kept) if found else None
    except KafkaException as error:
        raise _unreachable(cluster, error) from error
    finally:
        consumer.close()
    return counts


def _delete(cluster: Cluster, wires: list[str], timeout_s: float) -> None:
    if not wires:
        return
    admin = admin_of(cluster)
    try:
        answers = admin.delete_topics(wires, operation_timeout=timeout_s, request_timeout=timeout_s)
        for answer in answers.values():
            _unless_gone(answer, timeout_s)
    except KafkaException as error:
        raise _unreachable(cluster, error) from error


def _wait(cluster: Cluster, deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise Retry(what, value=cluster.bootstrap, remedy="run this again: it continues where it stopped")
    time.sleep(_POLL_S)


def check(cluster: Cluster, timeout_s: float = TIMEOUT_S, names: Iterable[str] = ()) -> None:
    """Raise CatalogueMismatch if the cluster differs from the catalogue. Workers call this at start.

    ``names``: only these topics; by default all.
    """
    wires = {cluster.layout.wire_name(name) for name in names}
    differences = compare(describe(cluster, timeout_s), cluster.layout)
    refuse([d for d in differences if d.kind is not Kind.UNEXPECTED and (not wires or d.topic in wires)])


def refuse(differences: list[Difference]) -> None:
    """Raise CatalogueMismatch naming ``differences``, if there are any."""
    if differences:
        raise CatalogueMismatch("\n".join(map(str, differences)), reason=differences[0].kind)


def admin_of(cluster: Cluster) -> AdminClient:
    """A client for a few requests. It is cheap; a long-lived one outlives the brokers it was made for.

    Keep it until its futures are done: they fail when it is garbage collected.
    """
    return admin_client(cluster, "admin")


def _unreachable(cluster: Cluster, error: KafkaException | TimeoutError) -> Retry:
    late = "its answer is late" if isinstance(error, TimeoutError) else "unknown"
    reason = error.args[0].str() if isinstance(error, KafkaException) and error.args else late
    remedy = "check the address and that the broker runs"
    return Retry(f"the broker did not answer: {reason}", value=cluster.bootstrap, remedy=remedy)
