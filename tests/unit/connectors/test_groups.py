"""Consumer groups from outside: errors per partition are heard, and a broker that starts is waited for."""

from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException

from tapedeck.connectors.kafka import groups as module
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.schemas.errors import Fatal, Retry

BARS = ("bars", 0)
LOADING = KafkaError.COORDINATOR_LOAD_IN_PROGRESS


class Told(NamedTuple):
    topic: str
    partition: int
    offset: int
    error: KafkaError | None


class Admin:
    """Answers with the errors of ``says`` one after the other, on each partition, as a broker does."""

    def __init__(self, *says: int | None) -> None:
        self.says, self.asked = list(says), 0

    def alter_consumer_group_offsets(self, request: list[Any], request_timeout: float) -> dict[str, Any]:
        code = self.says[min(self.asked, len(self.says) - 1)]
        self.asked += 1
        error = None if code is None else KafkaError(code)
        parts = [Told(each.topic, each.partition, 7, error) for each in request[0].topic_partitions]
        told: Future[Any] = Future()
        told.set_result(ConsumerGroupTopicPartitions("g", parts))
        return {"g": told}

    list_consumer_group_offsets = alter_consumer_group_offsets

    def describe_consumer_groups(self, names: list[str], request_timeout: float) -> dict[str, Any]:
        told: Future[Any] = Future()
        told.set_exception(KafkaException(KafkaError(KafkaError.GROUP_ID_NOT_FOUND)))
        return {names[0]: told}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> KafkaGroups:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    return KafkaGroups(Cluster("127.0.0.1:1"))


def test_a_coordinator_that_still_loads_is_asked_again(
    groups: KafkaGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Admin(LOADING, LOADING, None)
    monkeypatch.setattr(groups, "_admin", admin)
    groups.commit("g", {BARS: 7})
    assert admin.asked == 3
    assert groups.committed("g", [BARS]) == {BARS: 7}


@pytest.mark.parametrize("code", [KafkaError.GROUP_AUTHORIZATION_FAILED, LOADING])
def test_offsets_that_one_partition_did_not_take_are_no_success(
    groups: KafkaGroups, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(groups, "_admin", Admin(code))
    with pytest.raises(Retry, match="did not describe a group"):
        groups.commit("g", {BARS: 7})
    with pytest.raises(Retry):
        groups.committed("g", [BARS])


def test_a_group_with_members_keeps_its_offsets(groups: KafkaGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_admin", Admin(KafkaError.UNKNOWN_MEMBER_ID))
    with pytest.raises(Fatal, match="nothing was changed"):
        groups.commit("g", {BARS: 7})
