"""The audit tables fit the records, and a record becomes the row that its table expects."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import types
from sqlalchemy.dialects.postgresql import ENUM

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.postgres.base import COMMON_COLUMNS, Base, avro_enum
from tapedeck.connectors.postgres.mapping import PG_EPOCH_US, TopicMap, maps
from tapedeck.connectors.postgres.sink_input import is_punctuation
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, Layout, Topic, declare
from tapedeck.topics.catalogue import topic as topic_of
from tests.support.avro import bodies

TABLES = {topic.name: table_of(topic) for topic in CATALOGUE.audited}
RECORD_TOPICS = [topic for topic in CATALOGUE.audited if topic.schema is not None]
AVRO_TO_SQL: dict[str, type[types.TypeEngine[Any]]] = {
    "string": types.Text,
    "int": types.Integer,
    "long": types.BigInteger,
    "double": types.Double,
    "boolean": types.Boolean,
    "timestamp-micros": types.DateTime,
    "date": types.Date,
    "decimal": types.Numeric,
}
# DOMAIN 21 names the columns of these tables.
NAMED_COLUMNS = {
    "bars": "feed symbol t revision open high low close volume",
    "watchlist": "evaluation",
    "signals": "signal_id symbol action strategy confidence",
    "proposals": "account_id signal_id verdict quantity worst_price",
    "orders": "account_id client_order_id seq state reason broker_order_id side intent qty limit_price"
    " attempt",
    "executions": "account_id execution_id client_order_id side qty price fee source",
    "positions": "account_id position_id seq qty average_cost realised state",
    "revision_audit": "symbol bar_t revision would_differ old_action new_action",
}


def _message(topic: str, value: bytes | None, **given: Any) -> Message:
    defaults = {"partition": 1, "offset": 7, "timestamp": 1_700_000_060_000, "key": b"K", "headers": ()}
    return Message(topic=topic, value=value, **(defaults | given))


def _bar(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": "e" * 32, "event_time": 1_700_000_060_000_000, "symbol": "AAPL", "feed": "iex",
        "t": 1_700_000_000_000_000, "revision": 0, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5,
        "volume": 100.0, "origin": "TEST",
    } | changes  # fmt: skip


def _row(topic: str, message: Message) -> dict[str, Any]:
    target = TopicMap(topic)
    return dict(zip(target.columns, target.row(message), strict=True))


def test_every_audited_topic_has_a_table_and_no_other_topic_has_one() -> None:
    assert set(TABLES) == {topic.name for topic in CATALOGUE.audited}
    assert {table.name for table in TABLES.values()} <= set(Base.metadata.tables), (
        "a shipped one without a model"
    )


def test_a_declared_topic_has_a_table_made_of_its_schema() -> None:
    with CATALOGUE.scratch():
        declare(replace(topic_of("bars"), name="own.bars", owner="mine"))
        own, shipped = table_of(topic_of("own.bars")), TABLES["bars"]
        assert own.name == "t_own_bars"
        assert {(c.name, str(c.type), c.nullable) for c in own.columns} == {
            (c.name, str(c.type), c.nullable) for c in shipped.columns
        }
        declare(replace(topic_of("bars"), name="own.beats", schema="heartbeats", owner="mine"))
        with pytest.raises(Fatal, match=r"cannot be audited; got 'no field event_id.*audited=False"):
            table_of(topic_of("own.beats"))


@pytest.mark.parametrize("topic", RECORD_TOPICS, ids=lambda t: t.name)
def test_every_column_is_a_record_field_of_the_same_type_and_nullability(topic: Topic) -> None:
    assert topic.schema is not None
    fields = {field["name"]: field["type"] for field in load_schema(topic.schema)["fields"]}
    for column in TABLES[topic.name].columns:
        if column.name in COMMON_COLUMNS or (topic.name, column.name) == ("account_inbox", "kind"):
            continue
        branches = fields[column.name] if isinstance(fields[column.name], list) else [fields[column.name]]
        assert column.nullable == ("null" in branches), column.name
        (branch,) = (b for b in branches if b != "null")
        if isinstance(branch, dict) and branch["type"] == "enum":
            assert isinstance(column.type, ENUM), column.name
            assert list(column.type.enums) == branch["symbols"]
        else:
            kind = branch.get("logicalType", branch["type"]) if isinstance(branch, dict) else branch
            assert type(column.type) is AVRO_TO_SQL[kind], column.name
            if kind == "decimal":
                assert (column.type.precision, column.type.scale) == (branch["precision"], branch["scale"])


@pytest.mark.parametrize("topic", RECORD_TOPICS, ids=lambda t: t.name)
def test_key_fields_and_the_named_columns_are_columns(topic: Topic) -> None:
    wanted = {*topic.key, *topic.natural_key, *NAMED_COLUMNS.get(topic.name, "").split()}
    assert wanted <= set(TABLES[topic.name].columns.keys())


def test_every_scalar_field_of_a_feature_is_a_column() -> None:
    names = {field["name"] for field in load_schema("features")["fields"]}
    assert names - {"rules_version", "inputs"} <= set(TABLES["features"].columns.keys())


def test_enums_of_one_name_have_the_same_symbols_everywhere() -> None:
    seen: dict[str, list[str]] = {}
    for table in TABLES.values():
        for column in table.columns:
            if isinstance(column.type, ENUM):
                assert seen.setdefault(str(column.type.name), column.type.enums) == column.type.enums
    assert seen["order_state"] == avro_enum("orders", "state").enums


@pytest.mark.parametrize("topic", RECORD_TOPICS, ids=lambda t: t.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_record_becomes_a_row_whose_payload_is_its_body(topic: Topic, data: st.DataObject) -> None:
    assert topic.schema is not None
    body = data.draw(bodies(load_schema(topic.schema)))
    row = _row(topic.name, _message(topic.name, encode(topic.schema, body)))
    assert row["event_id"] == body["event_id"]
    assert (row["first_topic"], row["first_partition"], row["first_offset"]) == (topic.name, 1, 7)
    assert row["event_time"] + PG_EPOCH_US == body["event_time"]
    payload = json.loads(row["payload"][1:])
    assert set(payload) == set(body)
    for field, value in body.items():
        if isinstance(value, Decimal):
            assert Decimal(payload[field]) == value and isinstance(payload[field], str)
        elif isinstance(value, int | str | float | None):
            assert payload[field] == value


def test_times_and_dates_count_from_2000_and_null_stays_null() -> None:
    body = {field["name"]: None for field in load_schema("features")["fields"]} | {
        "event_id": "f", "event_time": 1_700_000_060_000_000, "config_digest": "d", "rules_version": "r",
        "inputs": [], "symbol": "AAPL", "feed": "iex", "t": 1_700_000_000_000_000,
        "as_of": 1_700_000_060_000_000,
        "revision": 0, "bar_revision": 0, "session_date": 19_675, "close": 1.0, "volume": 1.0, "bars": 1,
        "ready": False, "crosses_session": False, "suspect_split": False,
    }  # fmt: skip
    row = _row("features", _message("features", encode("features", body)))
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=row["t"]) == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (epoch + timedelta(days=row["session_date"])).date().isoformat() == "2023-11-14"
    assert row["sma20"] is None and row["or_state"] is None


def test_header_digests_fill_in_where_the_body_has_none() -> None:
    headers = [("tape-code-version", b"1.2.3"), ("tape-config-digest", b"abc")]
    row = _row("bars", _message("bars", encode("bars", _bar()), headers=headers))
    assert (row["code_version"], row["config_digest"]) == ("1.2.3", "abc")


def test_a_header_without_text_is_no_reason_to_refuse_a_record() -> None:
    row = _row("bars", _message("bars", encode("bars", _bar()), headers=[("tape-code-version", b"\xff")]))
    assert row["code_version"] == "\ufffd"


def test_another_body_under_the_same_event_id_has_another_hash() -> None:
    one = _row("bars", _message("bars", encode("bars", _bar())))
    same = _row("bars", _message("bars", encode("bars", _bar()), offset=99))
    other = _row("bars", _message("bars", encode("bars", _bar(close=1.6))))
    assert one["body_sha"] == same["body_sha"] != other["body_sha"]


def test_the_inbox_names_the_kind_and_leaves_the_time_out_of_the_hash() -> None:
    def inbox(time: int, detail: str) -> dict[str, Any]:
        payload = ("tapedeck.InboxStream", {"healthy": True, "detail": detail})
        return {"event_id": "i", "event_time": time, "account_id": "tiny", "payload": payload}

    rows = [
        _row("account_inbox", _message("account_inbox", encode("account_inbox", body)))
        for body in (inbox(1, "a"), inbox(2, "a"), inbox(1, "b"))
    ]
    assert rows[0]["kind"] == "InboxStream"
    assert json.loads(rows[0]["payload"][1:])["payload"] == {"healthy": True, "detail": "a"}
    assert rows[0]["body_sha"] == rows[1]["body_sha"] != rows[2]["body_sha"]


def _letter(message: Message, stage: str = "features") -> Message:
    wire = dead_letter(Layout(symbol_partitions=2), message, stage, DeadLetter("bad\x00", reason="MALFORMED"))
    return Message("dead_letters", wire.partition, 3, wire.timestamp, wire.key, wire.value, wire.headers)


def test_a_dead_letter_keeps_bytes_key_headers_and_where_it_came_from() -> None:
    source = _message("bars", b"\xff\x00", partition=3, headers=[("ce_id", b"x")])
    wire = dead_letter(Layout(symbol_partitions=2), source, "features", DeadLetter("bad", reason="MALFORMED"))
    assert (wire.topic, wire.partition, wire.key, wire.value) == ("dead_letters", 1, b"bars", b"\xff\x00")
    row = _row("dead_letters", _letter(source))
    assert (row["source_topic"], row["source_partition"], row["source_offset"]) == ("bars", 3, 7)
    assert (row["stage"], row["reason"], row["message"]) == ("features", "MALFORMED", "bad\ufffd")
    assert (row["value"], row["record_key"]) == (b"\xff\x00", b"K")
    assert json.loads(row["payload"][1:])["ce_id"] == "x"


def test_a_dead_letter_always_fits_its_topic() -> None:
    source = _message("bars", b"x" * 950_000, key=b"k" * 5_000)
    wire = dead_letter(Layout(), source, "features", DeadLetter("e" * 90_000, reason="MALFORMED"))
    headers = dict(wire.headers)
    assert wire.value is None and headers["tape-error-value-left-out"] == b"950000"
    assert sum(len(content) for content in headers.values()) < 3_000


def test_a_dead_letter_sent_twice_is_one_event_and_two_stages_are_two() -> None:
    source = _message("bars", b"\xff")
    first, again = _letter(source), _letter(source)._replace(offset=4)
    other = _letter(source, "sink")
    ids = [_row("dead_letters", m)["event_id"] for m in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    "headers", [(), [("__connect.errors.offset", b"x")], [("__connect.errors.topic", b"\xff\x00")]]
)
def test_a_dead_letter_with_strange_headers_still_has_a_row(headers: Any) -> None:
    row = _row("dead_letters", _message("dead_letters", None, key=None, headers=headers))
    assert row["source_offset"] == 7 and row["value"] is None
    assert "\x00" not in row["source_topic"]


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00\x00\x00", b"\x01abcde", b"\x00\xff\xff\xff\xffx"])
def test_a_value_without_a_known_schema_is_a_dead_letter(value: bytes | None) -> None:
    with pytest.raises(DeadLetter):
        TopicMap("bars").row(_message("bars", value))


def test_only_null_values_under_a_tilde_key_are_punctuation() -> None:
    assert is_punctuation(WATERMARK_KEY, None)
    assert not is_punctuation(WATERMARK_KEY, b"x")
    assert not is_punctuation(b"AAPL", None)
    assert not is_punctuation(None, None)


def test_a_topic_without_a_table_is_refused_by_name() -> None:
    with pytest.raises(Fatal, match="heartbeats"):
        maps(["bars", "heartbeats"])
