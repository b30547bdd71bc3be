"""The catalogue against the domain's topic list, and partitions against Kafka's own partitioner."""

import pytest
from aiokafka.partitioner import murmur2 as java_murmur2
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.topics.catalogue import CATALOGUE, DAY_MS, NEVER_MS, Cleanup, Layout, Spread, topic
from tapedeck.topics.partitioning import murmur2, murmur2_partition

DELETE, COMPACT = "delete", "compact"
DOMAIN = [
    ("bars", "S", ("symbol",), DELETE, 400),
    ("quotes", "S", ("instrument",), DELETE, 2),
    ("features", "S", ("symbol",), DELETE, 400),
    ("scores", "1", ("symbol",), DELETE, 30),
    ("watchlist", "1", (), COMPACT, 30),
    ("memberships", "S", ("symbol",), COMPACT, 30),
    ("news", "1", ("source", "native_id"), DELETE, 90),
    ("posts", "1", ("source", "native_id"), DELETE, 90),
    ("links", "1", ("source", "native_id"), DELETE, 90),
    ("post_links", "1", ("source", "native_id"), DELETE, 90),
    ("stories", "1", ("source", "native_id"), DELETE, 90),
    ("sentiment", "S", ("symbol",), DELETE, 400),
    ("sentiment_windows", "S", ("symbol",), COMPACT, 30),
    ("mentions", "S", ("symbol",), DELETE, 400),
    ("surges", "S", ("symbol",), DELETE, 400),
    ("market_events", "S", ("symbol",), DELETE, 400),
    ("regime", "1", ("date",), COMPACT, 400),
    ("earnings", "1", ("symbol",), COMPACT, 400),
    ("universe", "1", (), COMPACT, 400),
    ("decisions", "S", ("symbol",), DELETE, 400),
    ("signals", "S", ("symbol",), DELETE, 400),
    ("revision_audit", "S", ("symbol",), DELETE, 90),
    ("account_inbox", "A", ("account_id",), DELETE, -1),
    ("proposals", "A", ("account_id", "signal_id"), DELETE, 400),
    ("orders", "A", ("account_id", "client_order_id"), DELETE, -1),
    ("executions", "A", ("account_id", "execution_id"), DELETE, -1),
    ("positions", "A", ("account_id", "instrument"), COMPACT, 400),
    ("exits", "A", ("account_id", "position_id"), DELETE, 400),
    ("accounts", "A", ("account_id",), COMPACT, 30),
    ("controls", "A", ("scope",), DELETE, -1),
    ("heartbeats", "1", ("stage", "partition"), COMPACT, -1),
    ("dead_letters", "S", (), DELETE, 30),
]

CHANGELOGS = [spec.changelog for spec in TOPOLOGY]  # declared with the topology
NAMES = [t.name for t in CATALOGUE]


@pytest.mark.parametrize("name, spread, key, cleanup, days", DOMAIN)
def test_a_topic_of_the_domain_stands_in_the_catalogue_as_written(name, spread, key, cleanup, days):
    found = topic(name)
    assert (found.spread, found.key, found.cleanup, found.keep_days) == (spread, key, cleanup, days)


def test_the_catalogue_holds_nothing_but_the_domain_its_late_topics_and_changelogs():
    others = {t.name for t in CATALOGUE} - {row[0] for row in DOMAIN}
    assert all(name.endswith((".late", ".changelog")) for name in others), others


def test_ranks_are_distinct_and_follow_the_catalogue():
    assert [CATALOGUE.rank(t.name) for t in CATALOGUE] == list(range(len(CATALOGUE)))
    assert len({t.name for t in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("name", [t.name for t in CATALOGUE if t.schema])
def test_every_key_partition_and_natural_key_field_is_a_field_of_the_schema(name):
    found = topic(name)
    fields = {field["name"] for field in load_schema(found.schema)["fields"]}
    assert {*found.key, *found.natural_key} <= fields
    assert found.part is None or found.part in fields
    assert (found.spread is Spread.ONE) == (found.part is None)


def test_an_unknown_topic_names_the_nearest_one():
    with pytest.raises(Fatal, match="did you mean 'features'"):
        topic("feature")
    with pytest.raises(Fatal, match="tape topics"):
        topic("zzz")


# Vectors of Kafka's own UtilsTest.testMurmur2, as unsigned numbers.
@pytest.mark.parametrize(
    "text, signed",
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_the_numbers_of_the_java_client(text, signed):
    assert murmur2(text.encode()) == signed & 0xFFFFFFFF


@given(st.binary(max_size=64), st.integers(1, 32))
def test_partitions_are_those_of_the_java_and_faust_partitioner(key, partitions):
    assert murmur2_partition(key, partitions) == (java_murmur2(key) & 0x7FFFFFFF) % partitions


def test_record_key_and_partition_key_are_two_things():
    body = {"instrument": "NVDA260220C00190000", "underlying": "NVDA"}
    assert topic("quotes").record_key(body) == b"NVDA260220C00190000"
    assert Layout().partition("quotes", body) == murmur2_partition(b"NVDA", 4)
    assert Layout().partition("bars", {"symbol": "NVDA"}) == murmur2_partition(b"NVDA", 4)
    assert topic("watchlist").record_key({}) == b"watchlist"
    assert Layout().partition("watchlist", {}) == 0


def test_a_prefix_is_put_before_every_name_and_taken_off_again():
    layout = Layout("whatif")
    assert layout.wire_name("bars") == "whatif.bars"
    assert layout.catalogue_name("whatif.features.changelog") == "features.changelog"
    assert Layout().wire_name("bars") == "bars"


@pytest.mark.parametrize("layout", [Layout(), Layout.described("p", {})], ids=["local", "prefixed"])
@pytest.mark.parametrize("name", NAMES)
def test_local_and_prefixed_topics_are_kept_for_ever(layout, name):
    config = layout.topic_config(name)
    assert config["retention.ms"] == "-1"
    if topic(name).cleanup is Cleanup.COMPACT and topic(name).audited:
        assert config["min.compaction.lag.ms"] == str(NEVER_MS)


def test_on_a_cluster_topics_are_kept_as_the_domain_says():
    layout = Layout.described("", {})
    assert layout.topic_config("bars")["retention.ms"] == str(400 * DAY_MS)
    assert layout.topic_config("orders")["retention.ms"] == "-1"
    watchlist = layout.topic_config("watchlist")
    assert watchlist["cleanup.policy"] == "compact"
    assert watchlist["retention.ms"] == "-1"
    assert watchlist["min.compaction.lag.ms"] == str(30 * DAY_MS)
    assert layout.topic_config("heartbeats")["min.compaction.lag.ms"] == "0"


@pytest.mark.parametrize("layout", [Layout(), Layout.described("", {})])
@pytest.mark.parametrize("name", CHANGELOGS)
def test_a_changelog_is_compacted_after_a_day_at_the_earliest(layout, name):
    config = layout.topic_config(name)
    assert config["cleanup.policy"] == "compact"
    assert int(config["min.compaction.lag.ms"]) >= DAY_MS


@pytest.mark.parametrize("name", NAMES)
def test_kafkas_timestamp_is_the_records_own(name):
    assert Layout().topic_config(name)["message.timestamp.type"] == "CreateTime"


def test_topics_are_kept_as_tape_keep_says_for_those_it_names():
    layout = Layout.described("", {"TAPE_KEEP": "bars=800, quotes=forever,watchlist=7,accounts=forever"})
    assert layout.topic_config("bars")["retention.ms"] == str(800 * DAY_MS)
    assert layout.topic_config("quotes")["retention.ms"] == "-1"
    assert layout.topic_config("watchlist")["min.compaction.lag.ms"] == str(7 * DAY_MS)
    assert layout.topic_config("accounts")["min.compaction.lag.ms"] == str(NEVER_MS)
    assert layout.topic_config("features")["retention.ms"] == str(400 * DAY_MS)
    assert Layout.described("p", {"TAPE_KEEP": "catalogue"}).topic_config("quotes")["retention.ms"] == str(
        2 * DAY_MS
    )


@pytest.mark.parametrize("said", ["bars", "bars=", "bars=0", "bars=-3", "=7", "bars=a week", "never"])
def test_what_tape_keep_cannot_mean_is_refused_with_its_forms(said):
    with pytest.raises(Fatal, match="bars=800,quotes=forever"):
        Layout.described("", {"TAPE_KEEP": said})


def test_tape_keep_names_topics_of_the_audit_alone():
    with pytest.raises(Fatal, match="did you mean 'bars'"):
        Layout.described("", {"TAPE_KEEP": "bar=800"})
    with pytest.raises(Fatal, match="a state topic"):
        Layout.described("", {"TAPE_KEEP": "features.changelog=7"})


@pytest.mark.parametrize(
    "layout",
    [Layout(), Layout("p", 12, 3), Layout.described("", {"TAPE_KEEP": "bars=9", "TAPE_REPLICATION": "2"})],
)
def test_another_process_makes_the_same_layout_of_its_variables(layout):
    assert Layout.described(layout.prefix, layout.environment()) == layout


def test_what_is_written_beside_a_pipeline_is_kept_for_ever():
    live = Layout.described("live", {"TAPE_KEEP": "catalogue"})
    assert live.under("replay").topic_config("quotes")["retention.ms"] == "-1"
    assert live.under("live") == live
