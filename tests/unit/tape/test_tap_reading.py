"""What the tap reads, in which order, and what it refuses."""

import doctest
import subprocess
import sys
import warnings
from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import tapedeck as td
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import Message
from tapedeck.tape.notebook import place
from tapedeck.tape.notebook.connection import Connection, default
from tapedeck.tape.notebook.decoding import Reader, RecordsLeftOut
from tapedeck.tape.notebook.follow import follow
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.tape.notebook.place import Place
from tapedeck.tape.notebook.query import NotKept, ask
from tapedeck.tape.notebook.times import shown
from tapedeck.topics.catalogue import Layout
from tests.support.taps import MINUTE, START, Watched, at, bar, log_of, minutes, played

DAY = 86_400_000_000
DAYS = 40


def tapped(messages, name="bars", **asked):
    return Connection(source=MemoryTape(Layout(), messages)).tap(name, **asked)


def test_since_is_inclusive_and_until_exclusive_to_the_microsecond():
    bodies = [bar("AMD", START + us) for us in (0, 1, 999, 1000, 1001)]
    frame = tapped(log_of("bars", bodies), since=shown(START + 1), until=shown(START + 1001))
    assert frame["event_time"].dt.epoch("us").to_list() == [START + us for us in (1, 999, 1000)]


def test_rows_are_in_the_order_of_time_over_all_partitions():
    bodies = [bar(symbol, START + m * MINUTE) for symbol in ("AMD", "WMT", "NVDA") for m in (3, 1, 2)]
    frame = tapped(log_of("bars", bodies))
    assert minutes(frame) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert len(set(frame["_partition"])) > 1
    again = frame.sort("event_time", "_partition", "_offset")
    assert frame.equals(again)


def days_of_bars() -> Watched:
    """Forty days of a bar an hour for four symbols, in blocks of ten."""
    hours = [START + hour * 60 * MINUTE for hour in range(24 * DAYS)]
    bodies = [bar(symbol, hour) for hour in hours for symbol in ("AMD", "WMT", "NVDA", "BAC")]
    return Watched(Layout(), log_of("bars", bodies), size=10)


def test_a_day_is_found_through_the_time_index_and_not_by_a_scan():
    source = days_of_bars()
    frame = Connection(source=source).tap("bars", since=at(10 * 1440), until=at(11 * 1440), late="1d")
    assert len(frame) == 24 * 4
    assert source.read <= 2 * 24 * 4 + 4 * 10
    assert source.read < 4 * 24 * DAYS / 10


def test_the_newest_hours_are_found_without_reading_what_is_before():
    source = days_of_bars()
    frame = Connection(source=source).tap("bars", since="2h")
    assert len(frame) == 3 * 4
    assert source.read < 200


@pytest.mark.parametrize(
    "asked", [{"since": "2h"}, {"since": timedelta(days=1), "until": "5min"}, {"until": "1h"}], ids=str
)
def test_counting_back_on_a_topic_without_records_gives_an_empty_typed_frame(asked):
    full, none = tapped(log_of("bars", [bar("AMD", START)])), tapped([], **asked)
    assert (len(none), none.schema) == (0, full.schema)
    raw = tapped([], raw=True, **asked)
    assert (len(raw), raw.schema) == (0, tapped(log_of("bars", [bar("AMD", START)]), raw=True).schema)
    signals = tapped([], "signals", columns=["symbol", "confidence"], **asked)
    assert dict(signals.schema) == {"symbol": pl.String, "confidence": pl.Float64}


def test_as_of_so_long_before_the_newest_record_of_none_is_an_empty_typed_frame():
    found = Connection(source=MemoryTape(Layout(), [])).asof("positions", at="1h")
    assert (len(found), found.schema) == (0, tapped([], "positions").schema)


def test_following_a_topic_without_records_from_two_hours_back_gives_what_comes():
    source = MemoryTape(Layout(), log_of("bars", [bar("AMD", START)]))
    empty = MemoryTape(Layout(), [])
    asked = ask(empty, "bars", symbols=None, since="2h", until=None, columns=None, zone="UTC", late=None,
                repeats=False)  # fmt: skip
    assert len(next(follow(source, Reader(source, asked), lambda: None, 0.01))) == 1


@pytest.mark.parametrize("raw", [False, True])
def test_a_zone_may_be_an_object_with_a_name(raw):
    zones = ZoneInfo("America/New_York"), timezone.utc  # noqa: UP017 - as a notebook writes it
    bars, column = log_of("bars", [bar("AMD", START)]), "time" if raw else "event_time"
    frames = [tapped(bars, raw=raw, zone=zone) for zone in zones]
    assert [frame.schema[column].time_zone for frame in frames] == ["America/New_York", "UTC"]
    assert frames[0].equals(tapped(bars, raw=raw, zone="America/New_York"))


def test_symbols_give_their_own_records_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = Connection(source=days_of_bars()).tap("bars", symbols="AMD")
    assert set(frame["symbol"]) == {"AMD"}
    assert len(frame) == 24 * DAYS


def test_symbols_choose_by_underlying_where_the_key_is_another():
    stock, option, other = ("AMD", "AMD"), ("AMD260320C00100000", "AMD"), ("WMT", "WMT")
    quotes = [
        {
            "event_id": instrument, "event_time": START, "instrument": instrument, "underlying": underlying,
            "feed": "iex", "quote_time": START, "bid": None, "ask": None, "bid_size": None, "ask_size": None,
            "origin": "test",
        }
        for instrument, underlying in (stock, option, other)
    ]  # fmt: skip
    frame = tapped(log_of("quotes", quotes), "quotes", symbols=["AMD"], columns="instrument")
    assert frame["instrument"].to_list() == ["AMD", "AMD260320C00100000"]


def test_history_that_is_written_after_later_marks_is_found():
    old = bar("AMD", START - 3 * DAY)
    mark = Message("bars", Layout().partition("bars", old), 0, START // 1000, b"~watermark", None, ())
    late = [m._replace(offset=1) for m in log_of("bars", [old])]
    assert len(tapped([mark, *late], since=shown(START - 4 * DAY), until=shown(START - 2 * DAY))) == 1
    near = tapped([mark, *late], since=shown(START - 4 * DAY), until=shown(START - 2 * DAY), late="1h")
    assert len(near) == 0


def test_a_record_that_was_written_twice_stands_once_unless_repeats_are_wanted():
    bodies = [bar("AMD", START), bar("AMD", START), bar("AMD", START + MINUTE)]
    once, twice = tapped(log_of("bars", bodies)), tapped(log_of("bars", bodies), repeats=True)
    assert once["_offset"].to_list() == [0, 2]
    assert twice["_offset"].to_list() == [0, 1, 2]


def test_watermarks_are_no_rows_and_raw_shows_them():
    source = played()
    held = sum(end - low for low, end in source.ends(["bars"]).values())
    raw = Connection(source=source).tap("bars", raw=True)
    assert len(raw) == held > len(Connection(source=source).tap("bars"))
    marks = raw.filter(pl.col("key") == b"~watermark")
    assert marks["value"].null_count() == len(marks) > 0
    assert marks["headers"][0].struct.field("name").to_list() == ["tape-watermark"]
    assert Connection(source=source).tap("features.changelog", raw=True).schema == raw.schema


def test_columns_come_as_asked_for_and_in_that_order():
    frame = Connection(source=played()).tap("features", columns=["rsi14", "_offset", "symbol"])
    assert frame.columns == ["rsi14", "_offset", "symbol"]


def damaged() -> list[Message]:
    messages = log_of("bars", [bar("AMD", START + m * MINUTE) for m in range(6)])
    messages[1] = messages[1]._replace(value=b"\x00\xff\xff\xff\xff....")
    messages[3] = messages[3]._replace(value=messages[3].value[:-3])
    messages[4] = messages[4]._replace(value=b"no prefix")
    return messages


def test_records_that_cannot_be_decoded_are_left_out_counted_and_told_of_once():
    with pytest.warns(RecordsLeftOut) as warned:
        frame = tapped(damaged())
    assert minutes(frame) == [0, 2, 5]
    (only,) = [each for each in warned if each.category is RecordsLeftOut]
    part = Layout().partition("bars", {"symbol": "AMD"})
    assert f"3 records of bars could not be decoded and are left out: bars/{part}@1 (UNKNOWN_SCHEMA)" in str(
        only.message
    )
    assert "(MALFORMED)" in str(only.message)
    assert only.filename == __file__


def test_a_block_of_nothing_but_damage_is_an_empty_frame():
    with pytest.warns(RecordsLeftOut):
        frame = tapped(damaged()[3:5])
    assert len(frame) == 0 and frame.columns[0] == "event_id"


UNASKABLE = {
    "topic": (lambda c: c.tap("featurs"), "did you mean 'features'"),
    "no text": (lambda c: c.tap(7), "must be a string"),
    "column": (lambda c: c.tap("features", columns=["rsi"]), "did you mean 'rsi14'"),
    "symbol": (lambda c: c.tap("features", symbols="MFST"), "did you mean 'MSFT'"),
    "case": (lambda c: c.tap("features", symbols=["amd"]), "did you mean 'AMD'"),
    "no symbols": (lambda c: c.tap("features", symbols=[]), "must be names"),
    "symbolless": (lambda c: c.tap("accounts", symbols="AMD"), "no symbol to select by"),
    "zone": (lambda c: c.tap("features", zone="Berlin"), "did you mean 'Europe/Berlin'"),
    "bytes": (lambda c: c.tap("dead_letters"), "raw=True"),
    "empty span": (lambda c: c.tap("bars", since="2024-03-08", until="2024-03-08"), "until is exclusive"),
    "raw symbols": (lambda c: c.tap("bars", raw=True, symbols="AMD"), "have no symbols"),
    "raw follow": (lambda c: c.tap("bars", raw=True, follow=True), "have no follow"),
    "follow until": (lambda c: c.tap("bars", follow=True, until="1h"), "has no end"),
    "late": (lambda c: c.tap("bars", until="1h", late="soon"), "not a duration"),
    "asof key": (lambda c: c.asof("bars", "1h", key="simbol"), "did you mean 'symbol'"),
}


@pytest.mark.parametrize("asked, what", UNASKABLE.values(), ids=UNASKABLE)
def test_what_cannot_be_asked_is_refused_with_the_remedy_and_the_source_is_closed(monkeypatch, asked, what):
    source = played()
    monkeypatch.setattr(place, "find", lambda *_: Place(source, source.close))
    with pytest.raises(Fatal, match=what):
        asked(Connection())
    assert not source.is_open


def test_a_symbol_of_the_universe_without_rows_gives_an_empty_frame():
    frame = Connection(source=played()).tap("signals", symbols=["BAC", "AMD"], since="1min")
    assert len(frame) == 0 and "symbol" in frame.columns


def test_a_time_that_is_no_longer_kept_is_refused_with_what_is():
    messages = log_of("bars", [bar("AMD", START + m * MINUTE) for m in range(5)], first=100)
    with pytest.raises(NotKept, match="kept from 2024-03-08T14:30:00Z on"):
        tapped(messages, since=shown(START - DAY))
    assert len(tapped(messages)) == 5
    assert len(tapped(messages, since=at(2))) == 3


class Growing(Watched):
    """A log to which ``later`` is appended, one list each time that somebody waits."""

    def __init__(self, messages, later):
        super().__init__(Layout(), messages)
        self._later = list(later)

    def wait(self, seconds):
        if not self._later:
            raise KeyboardInterrupt
        for message in self._later.pop(0):
            self._parts[message.topic, message.partition].append(message)


def followed(source, **asked):
    query = ask(
        source, "bars", **{"symbols": None, "since": None, "until": None, "columns": None, "zone": "UTC",
                           "late": None, "repeats": False} | asked,
    )  # fmt: skip
    return follow(source, Reader(source, query), source.close, 0.1, source.wait)


def test_following_gives_what_comes_once_and_an_interrupt_closes_the_source():
    messages = log_of("bars", [bar("AMD", START + m * MINUTE) for m in range(4)])
    again = messages[3]._replace(offset=4)
    source = Growing(messages[:1], [messages[1:3], [], [messages[3]], [again]])
    frames = []
    with pytest.raises(KeyboardInterrupt):
        frames.extend(followed(source))  # what was extended before the interrupt stays
    assert [minutes(frame) for frame in frames] == [[1, 2], [3]]
    assert not source.is_open


def test_following_from_a_moment_gives_what_is_there_first():
    messages = log_of("bars", [bar("AMD", START + m * MINUTE) for m in range(4)])
    source = Growing(messages[:3], [messages[3:]])
    frames = followed(source, since=at(1))
    assert [minutes(next(frames)) for _ in range(2)] == [[1, 2], [3]]
    assert source.is_open
    frames.close()
    assert not source.is_open


def test_a_connection_closes_what_it_opened_when_an_answer_is_there_or_following_ends(monkeypatch):
    source = played()
    monkeypatch.setattr(place, "find", lambda *_: Place(source, source.close))
    frames = Connection().tap("bars", since="5min", follow=True)
    assert len(next(frames)) and source.is_open
    frames.close()
    assert not source.is_open
    source.is_open = True
    assert len(Connection().tap("bars", since="5min"))
    assert not source.is_open


def test_a_source_that_was_given_is_its_givers_to_close():
    source = played()
    assert len(Connection(source=source).tap("bars", since="5min"))
    assert source.is_open


def test_the_list_of_topics_counts_records_and_says_how_they_are_kept():
    listed = Connection(source=played()).topics()
    features = listed.row(by_predicate=pl.col("topic") == "features", named=True)
    assert features["records"] == len(Connection(source=played()).tap("features", raw=True))
    assert (features["key"], features["partitions"], features["kept"]) == ("symbol", 4, "for ever")
    assert listed.filter(pl.col("topic") == "bars.late")["first"].to_list() == [None]


def test_a_schema_shows_type_and_meaning_as_text_and_as_a_page():
    schema = td.schema("positions")
    assert "Decimal, scale 6" in repr(schema) and "Enum(CALL, PUT, STOCK)" in repr(schema)
    assert schema["qty"].type == pl.Decimal(38, 6) and not schema["qty"].nullable
    assert schema.columns == [field.name for field in schema] and len(schema) == len(schema.columns)
    page = td.schema("features")._repr_html_()
    assert "<td" in page and "left edge of the newest bar" in page and page.count("<tr>") == 45


def test_a_schema_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(Fatal, match="did you mean 'features'"):
        td.schema("feature")
    with pytest.raises(Fatal, match="did you mean 'rsi14'"):
        td.schema("features")["rsi"]
    with pytest.raises(Fatal, match="raw=True"):
        td.schema("dead_letters")


def test_the_examples_of_the_docstrings_are_true(monkeypatch):
    monkeypatch.setattr(default, "connection", Connection(source=played()))
    ran = 0
    for each in (Connection.tap, Connection.asof, Connection.topics, Connection.schema):
        for test in doctest.DocTestFinder().find(each, each.__name__, globs={"td": td, "pl": pl}):
            result = doctest.DocTestRunner().run(test)
            assert result.failed == 0
            ran += result.attempted
    assert ran >= 6


def test_connect_names_what_the_functions_read_from_now_on(monkeypatch):
    monkeypatch.setattr(default, "connection", default.connection)
    source = played()
    connected = td.connect(source=source)
    assert repr(connected) == "td.connect(source=Watched)"
    assert td.tap("bars").equals(connected.tap("bars"))
    assert td.asof("bars", at="1h").equals(connected.asof("bars", at="1h"))
    assert len(td.topics()) == len(connected.topics())


def test_without_a_cluster_the_error_says_how_to_start_one(monkeypatch, tmp_path):
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "TAPE_HOME", "TAPE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fatal, match="start one with `tape up`"):
        Connection().tap("bars")


def test_importing_tape_imports_nothing_heavy():
    code = (
        "import sys, tapedeck as td, tapedeck.tape.cli.main; dir(td); "
        "print([m for m in ('polars', 'numba', 'numpy', 'confluent_kafka') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert found.stdout == "[]\n", found.stderr


def test_the_names_that_are_public_are_the_ones_that_are_listed():
    assert {"asof", "connect", "explain", "schema", "tap", "topics", "why"} <= set(dir(td))
    assert all(callable(getattr(td, name)) for name in td.__all__)
    with pytest.raises(AttributeError, match="there are: asof"):
        td.tapp  # noqa: B018 - looking is what is tested


def test_the_room_of_topics_is_also_the_function_that_lists_them():
    code = (
        "import tapedeck as td; from tapedeck.topics.catalogue import Layout; from tapedeck import topics; "
        "from unittest.mock import patch; patch('tapedeck.topics.catalogue.Layout').start(); "
        "print(*map(callable, (td.topics, topics)), td.topics.catalogue.Layout is not Layout)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert found.stdout == "True True True\n", found.stderr


def test_the_import_alone_brings_in_nothing_heavy():
    code = (
        "import sys; import tapedeck; "
        "print(*({'polars', 'numpy', 'numba', 'confluent_kafka', 'pydantic', 'fastavro'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert found.stdout == "\n", found.stderr
