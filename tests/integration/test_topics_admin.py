"""Topics on a real broker: created from the catalogue, compared with it, never altered."""

import time

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tapedeck.connectors.kafka.admin import Kind, admin_of, check, compare, describe, ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids
from tapedeck.schemas.errors import CatalogueMismatch
from tapedeck.topics.catalogue import CATALOGUE, Layout

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
