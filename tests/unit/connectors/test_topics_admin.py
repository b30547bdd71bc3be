"""The comparison of a cluster's topics with the catalogue: each kind of difference is found and named."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from tapedeck.connectors.kafka import admin
from tapedeck.connectors.kafka.admin import Found, Kind, compare, describe, refuse
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import CatalogueMismatch, Retry
from tapedeck.topics.catalogue import CATALOGUE, DAY_MS, Layout

LAYOUT = Layout("p")


def cluster():
    return {
        LAYOUT.wire_name(t.name): Found(LAYOUT.partitions(t.name), LAYOUT.topic_config(t.name))
        for t in CATALOGUE
    }


def test_a_cluster_made_from_the_catalogue_has_no_difference():
    assert compare(cluster(), LAYOUT) == []
    refuse([])


def test_a_missing_topic_is_named_with_how_to_create_it():
    found = cluster()
    del found["p.bars"]
    (difference,) = compare(found, LAYOUT)
    assert difference.kind is Kind.MISSING
    assert "p.bars" in str(difference)
    assert "tape topics --create" in str(difference)


def test_a_wrong_partition_count_names_both_counts():
    found = cluster()
    found["p.bars"] = found["p.bars"]._replace(partitions=7)
    (difference,) = compare(found, LAYOUT)
    assert (difference.kind, difference.found, difference.expected) == (Kind.PARTITIONS, "7", "4")
    with pytest.raises(CatalogueMismatch, match=r"p\.bars: the number of partitions is 7, expected 4"):
        refuse([difference])


@pytest.mark.parametrize(
    "name, key, value",
    [
        ("p.bars", "retention.ms", "604800000"),
        ("p.bars", "cleanup.policy", "compact"),
        ("p.watchlist", "cleanup.policy", "compact,delete"),
        ("p.features.changelog", "min.compaction.lag.ms", "0"),
        ("p.bars", "message.timestamp.type", "LogAppendTime"),
    ],
)
def test_a_wrong_setting_is_named_with_both_values(name, key, value):
    found = cluster()
    expected = found[name].config[key]
    found[name] = Found(found[name].partitions, {**found[name].config, key: value})
    (difference,) = compare(found, LAYOUT)
    assert difference[:5] == (name, Kind.CONFIG, key, value, expected)


def of_a_cluster(**changes):
    """The topics of a pipeline without a prefix, as the catalogue keeps them, but for ``changes`` of bars."""
    layout = Layout.described("", {})
    found = {t.name: Found(layout.partitions(t.name), layout.topic_config(t.name)) for t in CATALOGUE}
    found["bars"] = found["bars"]._replace(config={**found["bars"].config, **changes})
    return found


@pytest.mark.parametrize("kept", [400 * DAY_MS, 401 * DAY_MS, 2**62, -1])
def test_a_topic_that_is_kept_as_long_as_documented_or_longer_is_as_it_should_be(kept):
    assert compare(of_a_cluster(**{"retention.ms": str(kept)}), Layout.described("", {})) == []


def test_topics_of_a_stack_are_kept_longer_than_a_cluster_asks_for_and_are_no_difference():
    forever = {t.name: Found(LAYOUT.partitions(t.name), Layout().topic_config(t.name)) for t in CATALOGUE}
    assert compare(forever, Layout.described("", {})) == []


def test_a_topic_that_is_kept_shorter_than_documented_is_refused_in_words():
    found = of_a_cluster(**{"retention.ms": str(7 * DAY_MS)})
    (difference,) = compare(found, Layout.described("", {}))
    assert "it keeps records for 7 d instead of 400 d" in str(difference)
    assert f"--entity-name bars --add-config retention.ms={400 * DAY_MS}" in str(difference)
    assert compare(found, Layout.described("", {"TAPE_KEEP": "bars=7"})) == []
    (difference,) = compare(found, Layout.described("", {"TAPE_KEEP": "bars=forever"}))
    assert "7 d instead of for ever" in str(difference)


def test_settings_that_say_nothing_for_a_topics_cleanup_are_left_to_the_cluster():
    """Deletion ignores the compaction lag, compaction the retention."""
    found = of_a_cluster(**{"min.compaction.lag.ms": "1"})
    found["watchlist"] = found["watchlist"]._replace(
        config={**found["watchlist"].config, "retention.ms": "604800000"}
    )
    assert compare(found, Layout.described("", {})) == []


def test_fewer_copies_than_were_asked_for_are_a_difference_and_unasked_ones_none():
    found = {name: each._replace(copies=1) for name, each in of_a_cluster().items()}
    assert compare(found, Layout.described("", {})) == []
    differences = compare(found, Layout.described("", {"TAPE_REPLICATION": "3"}))
    assert {each.what for each in differences} == {"the number of copies"}
    assert len(differences) == len(CATALOGUE)


@pytest.mark.parametrize("brokers, said, copies", [(1, "", 1), (2, "", 2), (9, "", 3), (9, "2", 2)])
def test_topics_have_three_copies_where_there_are_brokers_for_them(monkeypatch, brokers, said, copies):
    made = []

    class Sized(Admin):
        def list_topics(self, timeout):
            return SimpleNamespace(topics={}, brokers=dict.fromkeys(range(brokers)))

        def create_topics(self, new, operation_timeout, request_timeout):
            made.extend(new)
            return {}

    monkeypatch.setattr(admin, "admin_of", lambda cluster: Sized([], [], None))
    layout = Layout.described("", {"TAPE_REPLICATION": said})
    admin._create(Cluster("x:1", layout), {"bars"}, 1.0)
    assert [each.replication_factor for each in made] == [copies]


def test_another_topic_under_the_prefix_is_unexpected():
    (difference,) = compare(cluster() | {"p.stray": Found(1, {})}, LAYOUT)
    assert (difference.topic, difference.kind) == ("p.stray", Kind.UNEXPECTED)


def test_an_address_without_a_broker_is_named():
    with pytest.raises(Retry, match=r"127\.0\.0\.1:1\b"):
        describe(Cluster("127.0.0.1:1", LAYOUT), timeout_s=0.5)


class Answer:
    """What an admin client answers later: a value, or an error."""

    def __init__(self, value=None, code=None):
        self._value, self._code = value, code

    def result(self, timeout=None):
        if self._code is not None:
            raise KafkaException(KafkaError(self._code))
        return self._value


class Admin:
    """Lists ``names``; ``gone`` were deleted by the time their settings are asked for, by ``code``."""

    def __init__(self, names, gone, code):
        self._names, self._gone, self._code = names, gone, code

    def list_topics(self, timeout):
        known = {
            name: SimpleNamespace(partitions={n: SimpleNamespace(replicas=[1]) for n in range(4)})
            for name in self._names
        }
        return SimpleNamespace(topics=known)

    def describe_configs(self, resources, request_timeout):
        return {
            each: Answer(code=self._code) if each.name in self._gone else Answer({}) for each in resources
        }


def test_a_topic_deleted_while_topics_are_described_counts_as_missing(monkeypatch):
    gone = Admin(["p.bars", "p.quotes"], ["p.bars"], KafkaError.UNKNOWN_TOPIC_OR_PART)
    monkeypatch.setattr(admin, "admin_of", lambda cluster: gone)
    assert set(describe(Cluster("x:1", LAYOUT))) == {"p.quotes"}


def test_any_other_answer_about_a_topic_is_not_taken_for_its_deletion(monkeypatch):
    silent = Admin(["p.bars"], ["p.bars"], KafkaError._TIMED_OUT)
    monkeypatch.setattr(admin, "admin_of", lambda cluster: silent)
    with pytest.raises(Retry, match="the broker did not answer"):
        describe(Cluster("x:1", LAYOUT))


@pytest.mark.parametrize("change", [{"partitions": 7}, {"config": {"retention.ms": "1"}}])
def test_no_remedy_advises_to_delete_a_topic_by_hand(change):
    found = cluster()
    found["p.bars"] = found["p.bars"]._replace(**change)
    assert all("delete" not in difference.remedy for difference in compare(found, LAYOUT))
