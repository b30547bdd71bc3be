"""Consumer groups from outside: who is in one, what it has committed, and offsets set while it is empty."""

from collections.abc import Iterable, Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import Fatal, Retry
from streams.merge import Part
from topics.catalogue import Layout

_ANSWER_S = 10.0
_OCCUPIED = (
    KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP, KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
)  # fmt: skip


class KafkaGroups:
    """The groups of one cluster, each by its whole name."""

    def __init__(self, bootstrap: str, layout: Layout) -> None:
        self._bootstrap, self._layout = bootstrap, layout
        self._admin = AdminClient(
            {"bootstrap.servers": bootstrap, "client.id": "tape-groups", "log_level": 2}
        )

    def members(self, group: str) -> list[str]:
        """The members, as client id and host. Raises Retry where the broker does not answer."""
        try:
            found = self._admin.describe_consumer_groups([group], request_timeout=_ANSWER_S)[group].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise self._silent(error) from error
        return [f"{each.client_id} at {each.host}" for each in found.members]

    def committed(self, group: str, parts: Iterable[Part]) -> dict[Part, int | None]:
        """The committed offset per partition, None where there is none. Raises Retry as ``members`` does."""
        parts = list(parts)
        asked = [TopicPartition(self._layout.wire_name(name), partition) for name, partition in parts]
        request = [ConsumerGroupTopicPartitions(group, asked)]
        try:
            answer = self._admin.list_consumer_group_offsets(request, request_timeout=_ANSWER_S)
            found = answer[group].result().topic_partitions
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return dict.fromkeys(parts)
            raise self._silent(error) from error
        by_wire = {(each.topic, each.partition): each.offset for each in found or ()}
        offsets = (by_wire.get((each.topic, each.partition), -1) for each in asked)
        return {part: at if at >= 0 else None for part, at in zip(parts, offsets, strict=True)}

    def commit(self, group: str, offsets: Mapping[Part, int]) -> None:
        """Set the offsets of an empty group. Raises Fatal, setting none, where it has members."""
        wire = [TopicPartition(self._layout.wire_name(n), p, at) for (n, p), at in sorted(offsets.items())]
        request = [ConsumerGroupTopicPartitions(group, wire)]
        try:
            answer = self._admin.alter_consumer_group_offsets(request, request_timeout=_ANSWER_S)
            answer[group].result()
        except KafkaException as error:
            if error.args[0].code() in _OCCUPIED:
                raise occupied(group, self.members(group)) from error
            raise self._silent(error) from error

    def _silent(self, error: KafkaException) -> Retry:
        remedy = "check that it runs (`tape status`)"
        return Retry(
            f"the broker did not tell about a group: {error.args[0].str()}",
            value=self._bootstrap,
            remedy=remedy,
        )


def occupied(group: str, members: list[str]) -> Fatal:
    """What is said where a group must be empty and is not."""
    return Fatal(
        f"the consumer group {group} has members: nothing was changed",
        value=", ".join(members) or "a member that has just left",
        remedy="stop them and wait for the session time-out of 6 s: scale the workers to 0, or `tape down`, "
        "then `tape up --servers-only` where the broker is the stack's own",
    )
