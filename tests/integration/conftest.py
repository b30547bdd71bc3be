"""One recorded run on the broker, for every test that only reads."""

import uuid
from collections import defaultdict
from typing import NamedTuple

import pytest

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.merge import Part
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin
from tapedeck.tape.rebuild.live import group_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.conftest import Broker
from tests.support.paths import morning


class Recorded(NamedTuple):
    """Where the simulated morning of two accounts lies: topics and offsets, as if workers had stopped."""

    cluster: Cluster

    @property
    def layout(self) -> Layout:
        return self.cluster.layout


@pytest.fixture(scope="session")
def recorded(kafka: Broker) -> Recorded:
    """A prefix that holds a run. Tests that write take a prefix of their own."""
    layout = Layout(f"recorded{uuid.uuid4().hex[:8]}")
    ensure(Cluster(kafka.bootstrap, layout))
    log = morning().log
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), Origin("test", "test", ""), linger_ms=5)
    writer.write_messages(message for each in CATALOGUE for message in log.messages(each.name))
    writer.close()
    _commit(KafkaGroups(Cluster(kafka.bootstrap, layout)), layout)
    return Recorded(Cluster(kafka.bootstrap, layout))


def _commit(groups: KafkaGroups, layout: Layout) -> None:
    """Commit what the run's tasks had committed."""
    run, offsets = morning(), defaultdict[str, dict[Part, int]](dict)
    for task in run.stages:
        offsets[group_of(TaskId(task.spec, task.home), layout)] |= task.committed
    for each in run.dispatchers:
        home = layout.partition("account_inbox", {"account_id": each.account_id})
        offsets[group_of(TaskId(TOPOLOGY.stage("account"), home, each.account_id), layout)] |= (
            each.task.committed
        )
    for group, at in offsets.items():
        groups.commit(group, at)
