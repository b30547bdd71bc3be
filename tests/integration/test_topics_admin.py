"""Topics on a real broker: created from the catalogue, compared with it, never altered."""

import time

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, NewTopic, ResourceType

from tapedeck.connectors.kafka.admin import Kind, admin_of, check, compare, describe, ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids
from tapedeck.schemas.errors import CatalogueMismatch
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.chart import chart_data
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.chart import golden, of_kind
from tests.support.custom_resources import TOPIC_KEYS

pytestmark = pytest.mark.integration


def test_topics_are_created_once_as_the_catalogue_says(kafka, prefix):
    layout = Layout(prefix)
    assert sorted(ensure(Cluster(kafka.bootstrap, layout))) == sorted(
        layout.wire_name(t.name) for t in CATALOGUE
    )
    assert compare(describe(Cluster(kafka.bootstrap, layout)), layout) == []
    assert ensure(Cluster(kafka.bootstrap, layout)) == []
    check(Cluster(kafka.bootstrap, layout))


def test_a_topic_that_differs_is_reported_and_left_alone(kafka, prefix):
    layout = Layout(prefix)
    name = layout.wire_name("bars")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    new = [NewTopic(name, 2, 1, config={"retention.ms": "1000"}), NewTopic(f"{prefix}.stray", 1, 1)]
    for future in admin.create_topics(new).values():
        future.result(20)
    deadline = time.monotonic() + 20
    while len(describe(Cluster(kafka.bootstrap, layout))) < 2:
        assert time.monotonic() < deadline, "the topics never showed up"
    with pytest.raises(CatalogueMismatch, match=name):
        ensure(Cluster(kafka.bootstrap, layout))
    found = describe(Cluster(kafka.bootstrap, layout))
    assert set(found) == {name, f"{prefix}.stray"}, "nothing is created beside a topic that differs"
    assert found[name].partitions == 2
    assert found[name].config["retention.ms"] == "1000"
    kinds = {(d.topic, d.kind) for d in compare(found, layout) if d.kind is not Kind.MISSING}
    assert kinds == {(name, Kind.PARTITIONS), (name, Kind.CONFIG), (f"{prefix}.stray", Kind.UNEXPECTED)}
    with pytest.raises(CatalogueMismatch, match="missing"):
        check(Cluster(kafka.bootstrap, layout))


def test_a_topic_that_was_made_anew_has_another_id_and_a_missing_one_has_none(kafka, prefix):
    cluster = Cluster(kafka.bootstrap, Layout(prefix))
    ensure(cluster)
    admin = admin_of(cluster)
    before = describe_ids(cluster, ["bars", "quotes"])
    assert {len(each.topic_id) for each in before.values()} == {16}
    assert before["bars"].topic_id != before["quotes"].topic_id
    admin.delete_topics([cluster.layout.wire_name("bars")])[cluster.layout.wire_name("bars")].result(10)
    deadline = time.monotonic() + 10  # the broker's metadata follows with a delay
    while describe_ids(cluster, ["bars"]) != {"bars": None}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ensure(cluster)
    after = describe_ids(cluster, ["bars", "quotes"])
    assert after["quotes"] == before["quotes"]
    assert after["bars"].partitions == before["bars"].partitions
    assert after["bars"].topic_id != before["bars"].topic_id


@pytest.mark.parametrize("keep", ["catalogue", "forever"])
def test_topics_of_the_chart_are_set_like_those_that_the_command_creates(kafka, prefix, keep):
    cluster = Cluster(kafka.bootstrap, Layout(prefix, 1, 1, keep))
    ensure(cluster)
    of_chart = {
        cluster.layout.wire_name(each["name"]): each["config"][keep]
        for each in chart_data(TOPOLOGY)["topics"]
    }
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in of_chart]
    admin = admin_of(cluster)
    answers = admin.describe_configs(asked, request_timeout=20)
    found = {resource.name: answer.result(20) for resource, answer in answers.items()}
    for config in found.values():
        assert set(config) >= TOPIC_KEYS, "the broker knows every setting that the chart may make"
    # a value that equals the broker's own default is a setting of the topic too
    on_topic = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    told = {
        name: {key: each.value for key, each in config.items() if each.source == on_topic}
        for name, config in found.items()
    }
    assert len(told) == len(list(CATALOGUE))
    assert told == of_chart


def test_a_broker_takes_every_topic_of_the_rendered_chart_and_refuses_a_typo(kafka, prefix):
    specs = [each["spec"] for each in of_kind(golden("default"), "KafkaTopic")]
    assert len(specs) == len(list(CATALOGUE))

    admin = admin_of(Cluster(kafka.bootstrap))

    def refused(spelled: str) -> dict[str, str]:
        """What the broker says of each topic, with ``spelled`` for retention.ms. Nothing is created."""
        new = [
            NewTopic(
                f"{prefix}.{spec['topicName']}",
                spec["partitions"],
                1,  # there is one broker, where the chart has three
                config={spelled if key == "retention.ms" else key: it for key, it in spec["config"].items()},
            )
            for spec in specs
        ]
        said = {}
        for name, answer in admin.create_topics(new, validate_only=True).items():
            try:
                answer.result(20)
            except KafkaException as error:
                assert error.args[0].code() == KafkaError.INVALID_CONFIG
                said[name] = error.args[0].str()
        return said

    assert refused("retention.ms") == {}
    typos = refused("retention.msec")
    assert len(typos) == len(specs) and all("retention.msec" in each for each in typos.values())
