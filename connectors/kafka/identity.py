"""What is at the other end: which cluster, and which topics. A name does not tell.

Two brokers on one machine are easy to mix up. A topic that was deleted and recreated under its name is
another log: offsets of the old one mean nothing in it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import CLUSTER_ID, Cluster
from tapedeck.connectors.kafka.security import PLAINTEXT
from tapedeck.schemas.errors import CatalogueMismatch, Fatal, Retry
from tapedeck.topics.catalogue import Layout, Spread, topic

ANSWER_S = 5.0
_SETTINGS = {Spread.SYMBOL: "TAPE_SYMBOL_PARTITIONS", Spread.ACCOUNT: "TAPE_ACCOUNT_PARTITIONS"}


def ask_cluster_id(cluster: Cluster, timeout_s: float) -> str:
    """The id of the cluster that answers. Raises KafkaException, or TimeoutError where even that is late."""
    silent = {"log_level": 0, "socket.timeout.ms": max(10, int(timeout_s * 1000))}
    client = admin_client(cluster, "identity", **silent)
    description = client.describe_cluster(request_timeout=timeout_s).result(timeout_s + 1)
    return str(description.cluster_id)


def cluster_id_of(cluster: Cluster, timeout_s: float = ANSWER_S) -> str:
    """The id of the cluster that answers; if one is expected, it must be that one.

    Raises Fatal if nothing listens (stopped), if a connection is accepted and nothing answers (frozen), if
    the listener is of another kind or refuses the certificate or login, and if another cluster answers.
    """
    if cluster.security.protocol != PLAINTEXT:
        _demand_answer(cluster, timeout_s)  # librdkafka retries everything that fails until the time is up
    try:
        found = ask_cluster_id(cluster, timeout_s)
    except (KafkaException, TimeoutError) as error:
        _demand_answer(cluster, timeout_s)
        why = error.args[0].str() if isinstance(error, KafkaException) else "its answer is late"
        raise Fatal(
            f"the Kafka broker did not answer within {timeout_s:g} s: {why}",
            value=cluster.bootstrap,
            remedy="run this again; if that does not help, check its process and log",
        ) from error
    refuse_other(cluster, found)
    return found


def refuse_other(cluster: Cluster, found: str) -> None:
    """Raise Fatal if the cluster that answers, ``found``, is not the expected one."""
    if cluster.expected_id and found != cluster.expected_id:
        raise Fatal(
            f"another Kafka cluster answers at {cluster.bootstrap}: "
            f"its cluster id is not {cluster.expected_id}",
            value=found,
            remedy=f"nothing was written; stop the other broker, or correct the address or {CLUSTER_ID}",
        )


def _demand_answer(cluster: Cluster, timeout_s: float) -> None:
    """Raise Fatal if a connection to the cluster, made step by step, shows what is wrong."""
    from tapedeck.connectors.kafka.diagnosis import diagnose  # noqa: PLC0415 - needed where something is wrong

    if (fault := diagnose(cluster, timeout_s)) is not None:
        raise fault


UNKNOWN_ID = b""
"""The id of a topic whose broker has no topic ids."""


class Described(NamedTuple):
    """A topic on the cluster now. ``topic_id``: 16 bytes, or UNKNOWN_ID."""

    topic_id: bytes
    partitions: int


def describe_ids(
    cluster: Cluster, names: Iterable[str], timeout_s: float = ANSWER_S
) -> dict[str, Described | None]:
    """Id and partition count of the catalogue's topics ``names``; None for one that does not exist.

    Raises Retry if the broker does not answer, Fatal if this login may not see a topic.
    """
    wires = {cluster.layout.wire_name(name): name for name in names}
    if not wires:
        return {}
    client = admin_client(cluster, "identity")
    answers = client.describe_topics(TopicCollection(list(wires)), request_timeout=timeout_s)
    found: dict[str, Described | None] = {}
    for wire, answer in answers.items():
        try:
            told = answer.result(timeout_s + 1)
        except TimeoutError as error:  # librdkafka's own time is up by then, and a busy machine says so later
            what = f"the broker did not describe topic {wire} within {timeout_s:g} s"
            raise Retry(what, value=cluster.bootstrap, remedy="check that it runs") from error
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise Fatal(
                    f"this login may not see topic {wire}",
                    value=cluster.security.principal,
                    remedy="grant it the rights that `tape topics --acls` prints, then restart",
                ) from error
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                what = f"the broker did not describe topic {wire}: {error.args[0].str()}"
                remedy = "check that it runs"
                raise Retry(what, value=cluster.bootstrap, remedy=remedy) from error
            found[wires[wire]] = None
        else:
            found[wires[wire]] = Described(_bytes_of(told.topic_id), len(told.partitions))
    return found


def refuse_changed(cluster: Cluster, known: Mapping[str, Described | None]) -> None:
    """Raise Fatal if a topic changed since ``known`` was described, Retry like ``describe_ids``.

    For long-running readers: they would not read the records of a new topic, or of added partitions.
    """
    for name, now in describe_ids(cluster, known).items():
        if now != known[name] or now is None or now.partitions != cluster.layout.partitions(name):
            wire = cluster.layout.wire_name(name)
            raise Fatal(
                f"topic {wire} was deleted, recreated or given more partitions: some of it would not be read",
                value=None if now is None else f"{now.partitions} partitions, id {now.topic_id.hex()[:12]}",
                remedy="`tape topics` shows what differs; then restart",
            )


def _bytes_of(topic_id: object) -> bytes:
    """The 16 bytes of librdkafka's Uuid; a broker without ids gives all zeros."""
    if topic_id is None:
        return UNKNOWN_ID
    halves = (topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits())  # type: ignore[attr-defined]
    content = b"".join(half.to_bytes(8, "big", signed=True) for half in halves)
    return content if any(content) else UNKNOWN_ID


def other_count(layout: Layout, name: str, count: int) -> CatalogueMismatch:
    """The error for topic ``name`` with ``count`` partitions: more than are read, or fewer."""
    wanted, setting = layout.partitions(name), _SETTINGS.get(topic(name).spread)
    remedy = f"copy its records, by their keys, into a topic of {wanted} under a new prefix"
    if setting:
        remedy = f"set {setting}={count} if that is intended for all topics, or {remedy}"
    what = f"topic {layout.wire_name(name)} has {count} partitions, but the layout says {wanted}"
    unread = ": the others would not be read" if count > wanted else ""
    return CatalogueMismatch(what + unread, value=count, remedy=remedy)
