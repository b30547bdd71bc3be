"""The secured broker of this machine: who may come in, and what each may do there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer

from tapedeck.connectors.kafka.acls import ADMIN, demand_rights, grants_of, write_acls
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import ask_cluster_id
from tapedeck.connectors.kafka.principals import principals
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.local.secured import INTERNAL
from tapedeck.topics.catalogue import Layout
from tests.support.cases import REPOSITORY
from tests.support.secured import ADDED, SecuredKafka

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("listener", ["CLIENTS", INTERNAL, *ADDED])
def test_every_listener_answers_the_administrator(secured: SecuredKafka, listener: str) -> None:
    assert ask_cluster_id(secured.cluster(listener=listener), 10.0) == secured.cluster_id


@pytest.fixture
def granted(secured: SecuredKafka, prefix: str) -> Iterator[str]:
    """A prefix whose topics are there, and whose rights are granted as the table says."""
    layout = Layout(prefix)
    ensure(secured.cluster(ADMIN, prefix))
    table = principals(TOPOLOGY, layout, ["main"])
    write_acls(
        secured.server.cluster, {f"User:{name}": grants_of(each, layout) for name, each in table.items()}
    )
    yield prefix


def refusal(cluster: Cluster, name: str) -> KafkaError | None:
    """What the broker answers to a record for a topic."""
    answers: list[KafkaError | None] = []
    producer = Producer(cluster.librdkafka("test", **{"message.timeout.ms": 20_000}))
    producer.produce(
        cluster.layout.wire_name(name), b"x", partition=0, on_delivery=lambda error, _: answers.append(error)
    )
    producer.flush(30)
    return answers[0]


def test_a_process_writes_its_own_topics_and_no_others(secured: SecuredKafka, granted: str) -> None:
    for user, own, others in (
        ("features", ("features", "dead_letters"), ("bars", "signals", "account_inbox", "signals.changelog")),
        ("dispatch-main", ("account_inbox", "orders"), ("bars", "signals", "controls")),
        ("sink", ("dead_letters",), ("bars", "orders")),
        ("operator", ("controls",), ("bars", "orders", "features.changelog")),
    ):
        cluster = secured.cluster(user, granted)
        assert [refusal(cluster, name) for name in own] == [None] * len(own), user
        for name in others:
            found = refusal(cluster, name)
            assert found is not None and found.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, (user, name)
    assert read_topic(secured.cluster(ADMIN, granted), "bars") == [], "nothing of what was refused"


def test_rights_are_there_or_named_with_whom_they_lack(secured: SecuredKafka, granted: str) -> None:
    table = principals(TOPOLOGY, Layout(granted), ["main"])
    for user in ("features", "signals", "dispatch-main", "sink", "operator"):
        demand_rights(secured.cluster(user, granted), table[user])
    with pytest.raises(Fatal) as raised:
        demand_rights(secured.cluster("signals", granted), table["dispatch-main"])
    said = str(raised.value)
    assert said.startswith("User:signals lacks rights on the cluster that this process needs: ")
    assert f"Read on group {granted}-dispatch-main" in said
    assert f"--add --allow-principal User:signals --operation Read --group {granted}-dispatch-main" in said


def test_worker_that_lacks_rights_says_which_before_it_begins(
    secured: SecuredKafka, granted: str, tmp_path: Path
) -> None:
    (tmp_path / "tape.toml").write_text(Config().to_toml())
    done = subprocess.run(
        [sys.executable, "-m", "tapedeck", "worker", "features"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            **secured.cluster("nobody", granted).environment(),
            "TAPE_CONFIG": str(tmp_path / "tape.toml"),
            "TAPE_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "User:nobody lacks rights on the cluster that this process needs: " in done.stderr
    assert f"--operation Read --operation DescribeConfigs --topic {granted}.bars" in done.stderr
    assert secured.password("nobody") not in done.stderr + done.stdout
