"""The newest record of each key as of a moment, and when that can no longer be told."""

import polars as pl
import pytest

from tapedeck.tape.notebook.connection import Connection
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.tape.notebook.query import NotKept
from tapedeck.tape.notebook.times import shown
from tapedeck.topics.catalogue import Layout
from tests.support.taps import MINUTE, START, at, bar, log_of, minutes, played


def test_asof_gives_the_newest_record_of_each_key_up_to_and_with_that_moment():
    source = played()
    everything = Connection(source=source).tap("memberships")
    for moment in everything["event_time"].unique().sort().to_list()[::7]:
        found = Connection(source=source).asof("memberships", at=moment)
        wanted = everything.filter(pl.col("event_time") <= moment).unique("symbol", keep="last")
        assert found.sort("symbol").equals(wanted.sort("symbol"))
        assert found.schema == everything.schema


def test_asof_looks_at_the_microseconds_within_a_millisecond():
    messages = log_of("bars", [bar("AMD", START + us) for us in (100, 300, 900)])
    found = Connection(source=MemoryTape(Layout(), messages)).asof("bars", at=shown(START + 300))
    assert found["event_time"].dt.epoch("us").to_list() == [START + 300]


def test_asof_is_not_taken_in_by_an_older_record_that_was_written_later():
    messages = log_of("bars", [bar("AMD", START + m * MINUTE) for m in (1, 3, 2)])
    connected = Connection(source=MemoryTape(Layout(), messages))
    assert minutes(connected.asof("bars", at=at(9))) == [3]
    assert minutes(connected.asof("bars", at=at(2))) == [2]


def test_asof_leaves_out_a_key_whose_newest_record_is_a_tombstone():
    messages = log_of("bars", [bar("AMD", START), bar("WMT", START)])
    gone = next(m for m in messages if m.key == b"AMD")
    tombstone = gone._replace(offset=5, timestamp=gone.timestamp + 1, value=None)
    connected = Connection(source=MemoryTape(Layout(), [*messages, tombstone]))
    assert connected.asof("bars", at=at(1))["symbol"].to_list() == ["WMT"]
    assert len(connected.asof("bars", at=shown(START))) == 2


def test_asof_by_other_columns_than_the_record_key():
    connected = Connection(source=played())
    found = connected.asof("proposals", at="0s", key="account_id", columns=["symbol", "verdict"])
    everything = connected.tap("proposals")
    wanted = everything.unique("account_id", keep="last", maintain_order=True)
    assert found.equals(wanted.select("symbol", "verdict"))
    assert 1 < len(found) < len(everything)


def compacted(lag_days: int | None) -> MemoryTape:
    """Watchlist evaluations of which the first were compacted away; the cluster keeps all for so long."""
    days = lag_days
    source = MemoryTape(Layout(keep="forever" if days is None else "catalogue"), ())
    everything = [
        m
        for part, (low, end) in played().ends(["watchlist"]).items()
        for block in played().stream(part, low, end)
        for m in block.messages()
    ]
    return MemoryTape(source.layout, [m for m in everything if m.offset == 0 or m.offset > 40])


def test_asof_before_the_compaction_lag_is_refused_with_what_is_kept():
    source = compacted(30)
    with pytest.raises(NotKept, match="holds only the newest record of each key from before 20"):
        Connection(source=source).asof("watchlist", at="5min")


def test_asof_within_the_compaction_lag_is_answered_though_older_records_are_gone():
    assert len(Connection(source=compacted(None)).asof("watchlist", at="5min")) == 1


def test_asof_where_nothing_was_compacted_is_answered_whatever_the_lag():
    everything = played()
    whole = MemoryTape(
        Layout(keep="catalogue"),
        [m for b in everything.stream(("watchlist", 0), 0, 10**6) for m in b.messages()],
    )
    assert len(Connection(source=whole).asof("watchlist", at="5min")) == 1
