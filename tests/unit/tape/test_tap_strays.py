"""Logs of other producers in the tap: another partitioner, and Kafka times that are no event times."""

import warnings

import polars as pl
import pytest

from tapedeck.streams.protocol import Message
from tapedeck.tape.notebook.connection import Connection, OtherTimes
from tapedeck.tape.notebook.decoding import StrayRecords
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.taps import MINUTE, START, at, bar, log_of, minutes, played


def tapped(messages, name="bars", **asked):
    return Connection(source=MemoryTape(Layout(), messages)).tap(name, **asked)


def elsewhere(messages: list[Message], key: bytes) -> list[Message]:
    """``messages`` as another partitioner lays them: those of ``key`` one partition further."""
    moved = [m._replace(partition=(m.partition + 1) % 4) if m.key == key else m for m in messages]
    ends: dict[int, int] = {}
    found = []
    for message in moved:
        offset = ends.get(message.partition, 0)
        ends[message.partition] = offset + 1
        found.append(message._replace(offset=offset))
    return found


@pytest.mark.parametrize("symbols", ["AMD", ["AMD", "WMT", "NVDA"]])
def test_records_in_another_partition_than_their_keys_are_found_and_named_once(symbols):
    bodies = [bar(symbol, START + m * MINUTE) for m in range(5) for symbol in ("AMD", "WMT", "NVDA", "BAC")]
    home = Layout().partition("bars", {"symbol": "AMD"})
    with pytest.warns(StrayRecords) as warned:
        frame = tapped(elsewhere(log_of("bars", bodies), b"AMD"), symbols=symbols)
    assert minutes(frame.filter(pl.col("symbol") == "AMD")) == [0, 1, 2, 3, 4]
    assert set(frame["symbol"]) == ({symbols} if isinstance(symbols, str) else set(symbols))
    (only,) = [each for each in warned if each.category is StrayRecords]
    assert only.filename == __file__
    words = str(only.message)
    assert words.startswith("5 records of bars are in another partition than their key's")
    assert f"key AMD at bars/{(home + 1) % 4}@0 instead of bars/{home}" in words


def test_a_stray_record_that_is_not_keyed_by_its_symbol_is_found_too():
    def quote(instrument, underlying):
        return {
            "event_id": instrument, "event_time": START, "instrument": instrument, "underlying": underlying,
            "feed": "iex", "quote_time": START, "bid": None, "ask": None, "bid_size": None, "ask_size": None,
            "origin": "test",
        }  # fmt: skip

    bodies = [quote("AMD260320C00100000", "AMD"), quote("WMT", "WMT"), quote("XAMDX", "XAMDX")]
    with pytest.warns(StrayRecords, match="1 records of quotes"):
        frame = tapped(elsewhere(log_of("quotes", bodies), b"AMD260320C00100000"), "quotes", symbols="AMD")
    assert frame["instrument"].to_list() == ["AMD260320C00100000"]


def appended_at(messages: list[Message], ms: int) -> list[Message]:
    """``messages`` as a LogAppendTime topic stamps them, or a producer that sets no time."""
    return [message._replace(timestamp=ms + n) for n, message in enumerate(messages)]


NOW_MS = START // 1000 + 40 * 86_400_000


@pytest.mark.parametrize("ms", [NOW_MS, -1, 0], ids=["append time", "no time", "the epoch"])
def test_bounds_are_the_records_own_times_where_kafkas_are_others(ms):
    bodies = [bar(symbol, START + m * MINUTE) for m in range(90) for symbol in ("AMD", "WMT")]
    own, other = log_of("bars", bodies), appended_at(log_of("bars", bodies), ms)
    asked = {"since": at(30), "until": at(60)}
    with pytest.warns(OtherTimes) as warned:
        frame = tapped(other, **asked)
    assert frame.equals(tapped(own, **asked)) and len(frame) == 60
    (only,) = [each for each in warned if each.category is OtherTimes]
    assert only.filename == __file__
    assert "the Kafka times of bars are not the times of its records" in str(only.message)
    assert "LogAppendTime" in str(only.message)


def test_other_times_are_told_of_by_asof_relative_times_and_follow_too():
    bodies = [bar(symbol, START + m * MINUTE) for m in range(90) for symbol in ("AMD", "WMT")]
    other = appended_at(log_of("bars", bodies), NOW_MS)
    connection = Connection(source=MemoryTape(Layout(), other))
    with pytest.warns(OtherTimes):
        newest = connection.asof("bars", at(45))
    assert minutes(newest) == [45, 45]
    with pytest.warns(OtherTimes):
        assert minutes(connection.tap("bars", since="5min", symbols="AMD")) == [84, 85, 86, 87, 88, 89]
    with pytest.warns(OtherTimes):
        frames = connection.tap("bars", since=at(88), follow=True)
    assert minutes(next(frames)) == [88, 88, 89, 89]
    frames.close()


def test_a_topic_of_our_own_writers_is_believed():
    source = played()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in CATALOGUE:
            if each.schema and any(end > low for low, end in source.ends([each.name]).values()):
                Connection(source=source).tap(each.name, until="1min")
