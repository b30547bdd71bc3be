"""The settings of Kafka Connect's JDBC sink cover the native sink's tables."""

import re

from tapedeck.connectors.postgres.base import COMMON_COLUMNS
from tapedeck.connectors.postgres.connect import PLACE, columns, connector, tables, topics
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.topics.catalogue import CATALOGUE, Layout


def test_every_audited_topic_with_a_schema_has_a_table_and_its_fields() -> None:
    named = [each.name for each in topics()]
    assert {each.name for each in CATALOGUE.audited} - set(named) == {"dead_letters"}
    assert connector()["topics"].split(",") == named
    assert re.findall(r"CREATE TABLE connect\.(\w+)", tables()) == [table_of(each).name for each in topics()]
    included = connector()["field.include.list"].split(",")
    for each in topics():
        for column in columns(each):
            name = column.name if column.name in PLACE else f"{each.name}:{column.name}"
            assert name in included


def test_only_what_a_connector_cannot_know_is_missing() -> None:
    for each in topics():
        missing = {c.name for c in table_of(each).columns} - {c.name for c in columns(each)}
        unknowable = {"config_digest", "code_version", "body_sha", "payload", "first_topic_id"}
        assert missing - unknowable == ({"kind"} if each.name == "account_inbox" else set())
        assert unknowable <= set(COMMON_COLUMNS)


def test_a_prefix_is_in_the_topics_and_taken_off_for_the_tables() -> None:
    made = connector(Layout("live.a"))
    assert made["topics"].startswith("live.a.bars,")
    assert re.fullmatch(made["transforms.prefix.regex"], "live.a.bars.late")[1] == "bars.late"
    assert made["transforms"].split(",") == ["watermarks", "prefix", "place"]
    assert ":" not in made["field.include.list"].split(",")[0]
