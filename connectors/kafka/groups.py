"""Consumer groups from outside: members, committed offsets, and setting offsets while a group is empty."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ConsumerGroupDescription

from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.merge import Part

_ANSWER_S = 10.0
_OCCUPIED = (
    KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP, KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
)  # fmt: skip
_NOT_YET = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT,
)  # fmt: skip
"""Error codes of a broker that has just started, or whose group has just moved: ask again."""
_PATIENCE_S = 30.0
_AGAIN_S = 0.2

T = TypeVar("T")


class KafkaGroups:
    """The groups of one cluster, each by its full name."""

    def __init__(self, cluster: Cluster) -> None:
        self._bootstrap, self._layout = cluster.bootstrap, cluster.layout
        self._admin = admin_client(cluster, "groups")

    def members(self, group: str) -> list[str]:
        """The members, as client id and host. Raises Retry if the broker does not answer."""

        def ask() -> ConsumerGroupDescription:
            answer = self._admin.describe_consumer_groups([group], request_timeout=_ANSWER_S)
            return cast(ConsumerGroupDescription, answer[group].result())

        try:
            found = patiently(ask)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise self._silent(error) from error
        return [f"{each.client_id} at {each.host}" for each in found.members]

    def committed(self, group: str, parts: Iterable[Part]) -> dict[Part, int | None]:
        """The committed offset per partition, None if there is none. Raises Retry as ``members`` does."""
        parts = list(parts)
        asked = [TopicPartition(self._layout.wire_name(name), partition) for name, partition in parts]
        request = [ConsumerGroupTopicPartitions(group, asked)]

        def ask() -> list[TopicPartition]:
            answer = self._admin.list_consumer_group_offsets(request, request_timeout=_ANSWER_S)
            return _each(answer[group].result())

        try:
            found = patiently(ask)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return dict.fromkeys(parts)
            raise self._silent(error) from error
        by_wire = {(each.topic, each.partition): each.offset for each in found}
        offsets = (by_wire.get((each.topic, each.partition), -1) for each in asked)
        return {part: at if at >= 0 else None for part, at in zip(parts, offsets, strict=True)}

    def commit(self, group: str, offsets: Mapping[Part, int]) -> None:
        """Set the offsets of an empty group. Raises Fatal, setting none, if it has members."""
        wire = [TopicPartition(self._layout.wire_name(n), p, at) for (n, p), at in sorted(offsets.items())]
        request = [ConsumerGroupTopicPartitions(group, wire)]

        def ask() -> list[TopicPartition]:
            answer = self._admin.alter_consumer_group_offsets(request, request_timeout=_ANSWER_S)
            return _each(answer[group].result())

        try:
            patiently(ask)
        except KafkaException as error:
            if error.args[0].code() in _OCCUPIED:
                raise occupied(group, self.members(group)) from error
            raise self._silent(error) from error

    def _silent(self, error: KafkaException) -> Retry:
        remedy = "check that it runs"
        return Retry(
            f"the broker did not describe a group: {error.args[0].str()}",
            value=self._bootstrap,
            remedy=remedy,
        )


def patiently(ask: Callable[[], T]) -> T:
    """The answer to ``ask``, repeated while the broker is not ready. Raises KafkaException."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _NOT_YET or time.monotonic() > until:
                raise
        time.sleep(_AGAIN_S)


def _each(answer: ConsumerGroupTopicPartitions) -> list[TopicPartition]:
    """The partitions of an answer. Raises the first error of any: the answer as a whole reports none."""
    found = list(answer.topic_partitions or ())
    for each in found:
        if each.error is not None:
            raise KafkaException(each.error)
    return found


def occupied(group: str, members: list[str]) -> Fatal:
    """The error for a group that must be empty and is not."""
    return Fatal(
        f"the consumer group {group} has members: nothing was changed",
        value=", ".join(members) or "a member that has just left",
        remedy="stop them and wait for the session timeout of 6 s: scale the workers to 0, or `tape down`, "
        "then `tape up --servers-only` if the broker belongs to the stack",
    )
