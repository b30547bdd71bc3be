"""The frames of the tap: every column of every topic has its type and holds what the codec reads."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from tapedeck.schemas.codec import decode, encode, load_schema
from tapedeck.schemas.columns import decode_columns, supports
from tapedeck.schemas.guard import is_record_union
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import Message
from tapedeck.tape.notebook import connection, frames
from tapedeck.tape.notebook.fields import columns_of
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.tape.notebook.numbers import FEW
from tapedeck.tape.notebook.spans import lists, texts
from tapedeck.tape.notebook.types import dtype
from tapedeck.topics.catalogue import CATALOGUE, Layout, topic
from tests.support.taps import bar, log_of, played

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WITH_SCHEMA = [each.name for each in CATALOGUE if each.schema]
MONEY = pl.Decimal(38, 6)
NOW = pl.Datetime("us", "UTC")


def shown(node, value):
    """A decoded value as a frame's row holds it."""
    if value is None:
        return None
    if is_record_union(node):
        name = value[0].removeprefix("tapedeck.")
        branch = next(b for b in node if b["name"] == name)
        inside = {b["name"]: None for b in node if b["fields"]}
        return {"kind": name, **inside, **({name: shown(branch, value[1])} if branch["fields"] else {})}
    if isinstance(node, list):
        node = next(branch for branch in node if branch != "null")
    if not isinstance(node, dict):
        return value
    match node.get("logicalType"):
        case "timestamp-micros":
            return EPOCH + timedelta(microseconds=value)
        case "date":
            return date(1970, 1, 1) + timedelta(days=value)
    match node["type"]:
        case "record":
            return {field["name"]: shown(field["type"], value[field["name"]]) for field in node["fields"]}
        case "array":
            return [shown(node["items"], item) for item in value]
        case "map":
            return [{"key": k, "value": v} for k, v in sorted(value.items())]
    return value


def tap(source, name, **asked):
    return connection.Connection(source=source).tap(name, **asked)


@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_every_row_of_a_simulated_morning_is_what_the_codec_reads(name):
    source = played()
    frame = tap(source, name, repeats=True, columns=None)
    messages = {
        (m.partition, m.offset): m
        for part, (low, end) in source.ends([name]).items()
        for block in source.stream(part, low, end)
        for m in block.messages()
        if m.value is not None
    }
    assert len(frame) == len(messages)
    document = load_schema(topic(name).schema)
    for row in frame.iter_rows(named=True):
        body = decode(topic(name).schema, messages[row.pop("_partition"), row.pop("_offset")].value)
        assert row == shown(document, body)


@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_an_empty_frame_has_the_columns_and_types_of_a_full_one(name):
    full, none = tap(played(), name), tap(MemoryTape(Layout(), ()), name)
    assert none.schema == full.schema
    assert list(none.columns) == [f["name"] for f in load_schema(topic(name).schema)["fields"]] + [
        "_partition",
        "_offset",
    ]


@pytest.mark.parametrize(
    "name, column, kind",
    [
        ("features", "t", NOW),
        ("features", "session_date", pl.Date()),
        ("features", "rsi14", pl.Float64()),
        ("features", "ready", pl.Boolean()),
        ("features", "volume_surge", pl.Boolean()),
        ("features", "bars", pl.Int64()),
        ("features", "inputs", pl.List(pl.String())),
        ("features", "or_state", pl.Enum(["ABOVE", "BELOW", "INSIDE"])),
        ("positions", "qty", MONEY),
        ("quotes", "bid", MONEY),
        ("decisions", "direction", pl.Enum(["BULL", "BEAR"])),
        (
            "decisions",
            "factors",
            pl.Struct({k: pl.Float64() for k in ("base", "sentiment", "volume", "move", "momentum")}),
        ),
        (
            "proposals",
            "quote",
            pl.Struct(
                {
                    "instrument": pl.String(),
                    "feed": pl.String(),
                    "quote_time": NOW,
                    "bid": MONEY,
                    "ask": MONEY,
                    "origin": pl.String(),
                }
            ),
        ),
        ("watchlist", "events", pl.List(pl.Struct({"symbol": pl.String(), "reason": pl.String()}))),
        ("heartbeats", "counts", pl.List(pl.Struct({"key": pl.String(), "value": pl.Int64()}))),
    ],
)
def test_a_column_has_its_type(name, column, kind):
    node = next(each.node for each in columns_of(topic(name).schema) if each.name == column)
    assert dtype(node) == kind


def test_a_heartbeats_counts_are_a_list_of_names_and_numbers():
    body = {
        "stage": "features", "partition": 0, "at": 5, "last_watermark": None, "lag": None, "records": 3,
        "code_version": "v", "config_digest": "d", "counts": {"b": 2, "a": 1},
    }  # fmt: skip
    message = Message("heartbeats", 0, 0, 0, b"features|0", encode("heartbeats", body), ())
    (row,) = tap(MemoryTape(Layout(), [message]), "heartbeats").to_dicts()
    assert row["counts"] == [{"key": "a", "value": 1}, {"key": "b", "value": 2}]
    assert row["at"] == EPOCH + timedelta(microseconds=5)


@pytest.mark.parametrize("name", [name for name in WITH_SCHEMA if supports(topic(name).schema)])
def test_columns_and_rows_make_the_same_frame(name):
    source = played()
    wanted = [each.name for each in columns_of(topic(name).schema)]
    for part, (low, end) in source.ends([name]).items():
        for block in source.stream(part, low, end):
            at = np.flatnonzero(block.values[:, 1] >= 0)
            if not len(at):
                continue
            kept: Block = frames.chosen(block, at)
            columns, rejected = decode_columns(topic(name).schema, kept.data, kept.values)
            assert not len(rejected)
            fast = frames.of_columns(columns, kept.partition, kept.offsets, wanted, "America/New_York")
            bodies = [decode(topic(name).schema, kept.value(row)) for row in range(len(kept))]
            places = [(kept.partition, offset) for offset in kept.offsets.tolist()]
            slow = frames.of_bodies(topic(name).schema, bodies, places, wanted, "America/New_York")
            assert fast.schema == slow.schema
            assert fast.equals(slow)


def test_times_are_shown_in_the_zone_that_was_asked_for_and_stay_the_same_moments():
    source = played()
    utc, york = tap(source, "bars"), tap(source, "bars", zone="America/New_York")
    assert york.schema["t"] == pl.Datetime("us", "America/New_York")
    assert york["t"].dt.convert_time_zone("UTC").equals(utc["t"])


def test_the_clock_change_lies_where_new_york_has_it():
    before, after = (int(datetime(2024, 3, 10, hour, 30, tzinfo=UTC).timestamp()) * 10**6 for hour in (6, 7))
    source = MemoryTape(Layout(), log_of("bars", [bar("AMD", before), bar("AMD", after)]))
    hours = tap(source, "bars", zone="America/New_York")["event_time"].dt.hour().to_list()
    assert hours == [1, 3]


def test_a_text_beyond_ascii_and_a_number_beyond_eight_bytes_are_read_all_the_same():
    bodies = [bar("AMD", 60_000_000, origin="file/été"), bar("AMD", 120_000_000)]
    frame = tap(MemoryTape(Layout(), log_of("bars", bodies)), "bars")
    assert frame["origin"].to_list() == ["file/été", "test"]
    large = Decimal("12345678901234567890.123456")
    quote = {
        "event_id": "q", "event_time": 60_000_000, "instrument": "AMD", "underlying": "AMD", "feed": "iex",
        "quote_time": 60_000_000, "bid": large, "ask": None, "bid_size": None, "ask_size": 1,
        "origin": "test",
    }  # fmt: skip
    quotes = tap(MemoryTape(Layout(), log_of("quotes", [quote, quote | {"event_id": "r"}])), "quotes")
    assert quotes["bid"].to_list() == [large, large]
    assert quotes["ask"].to_list() == [None, None]


@pytest.mark.parametrize("different", [1, FEW, FEW + 1, 3 * FEW])
def test_texts_are_the_same_whether_few_or_many_differ(different):
    rng = np.random.default_rng(different)
    known = [None, "", "é", *(f"text {n}" for n in range(different))][: different + 3]
    wanted = [known[n] for n in rng.integers(0, len(known), 5000)]
    data, spans = bytearray(), []
    for text in wanted:
        raw = (text or "").encode()
        spans.append((len(data), -1 if text is None else len(raw)))
        data += raw
    made = pl.select(
        texts(np.frombuffer(bytes(data), dtype=np.uint8), np.array(spans, dtype=np.int64))
    ).to_series()
    assert made.dtype == pl.String
    assert made.to_list() == wanted


@pytest.mark.parametrize("most", [0, 1, 4])
def test_lists_of_texts_are_cut_from_their_avro_bytes(most):
    rng = np.random.default_rng(most)
    wanted = [[f"id {rng.integers(9)}"] * int(rng.integers(0, most + 1)) for _ in range(300)]
    data, spans = bytearray(), []
    for each in wanted:
        raw = b"".join(bytes([2 * len(text)]) + text.encode() for text in each)
        raw = (bytes([2 * len(each)]) + raw if each else b"") + b"\0"
        spans.append((len(data), len(raw)))
        data += raw
    made = pl.select(
        lists(np.frombuffer(bytes(data), dtype=np.uint8), np.array(spans, dtype=np.int64))
    ).to_series()
    assert made.to_list() == wanted
