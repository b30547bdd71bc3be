"""The cases D9 to D25 of the field that are about records, one test each; D1 to D8 are the stream's.

D15 (cancels and corrections of trades) and D26 (Alpaca's test stream) are not ours: no trades are subscribed,
and the data server of this project has a clock of its own.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.frames import Status
from tapedeck.connectors.alpaca.market.inbox import FrameQueue, Gap
from tapedeck.connectors.alpaca.market.ingest import Ingest, sessions_at, since
from tapedeck.connectors.alpaca.market.steps import Ask, Kind, Why, Write
from tapedeck.connectors.alpaca.updates import TradeUpdates
from tapedeck.streams.sessions import iso_date, xnys
from tests.support.market_core import (
    MINUTE,
    SECOND,
    STARTED,
    TEN,
    WANTED,
    asks,
    at,
    bar,
    bars,
    events,
    labels,
    started,
)
from tests.support.market_script import KEYS


def test_FLD_D9_updated_bar_is_the_next_revision_of_its_minute() -> None:
    core = started()
    core.on_bar(bar(), TEN + 61 * SECOND)
    core.on_bar(bar("AMD"), TEN + 61 * SECOND)
    steps = core.on_bar(bar(close=2.5, updated=True), TEN + 90 * SECOND)
    assert bars(steps) == [("NVDA", TEN, 1, 2.5)] and labels(steps) == []
    assert core.on_bar(bar(close=2.5, updated=True), TEN + 91 * SECOND) == [], "a repeat of the update"
    first, second = (
        s.body["event_id"] for s in (*started().on_bar(bar(), TEN), *steps) if isinstance(s, Write)
    )
    assert first != second


def test_FLD_D10_several_differing_bars_of_one_minute_are_counted_revisions() -> None:
    core = started()
    found = [
        step
        for close in (2.0, 2.1, 2.1, 2.2, 2.0)
        for step in core.on_bar(bar(close=close), TEN + 61 * SECOND)
    ]
    assert bars(found) == [("NVDA", TEN, n, close) for n, close in enumerate((2.0, 2.1, 2.2, 2.0))]
    assert core.counts["DUPLICATE_BAR"] == 1


def test_FLD_D11_missing_minute_is_asked_for_once_after_90_seconds() -> None:
    core = started()
    core.on_bar(bar(), TEN + 61 * SECOND)
    assert asks(core.on_tick(TEN + 149 * SECOND)) == []
    (ask,) = asks(core.on_tick(TEN + 150 * SECOND))
    assert ask == Ask(Why.GAP, ("AMD",), TEN, TEN)
    assert asks(core.on_tick(TEN + 151 * SECOND)) == [], "once"
    steps = core.on_answer(ask, [], TEN + 152 * SECOND)
    assert bars(steps) == [], "prices are never filled forward"
    (event,) = events(steps)
    assert event | {"event_id": ""} == {
        "event_id": "", "event_time": TEN + 150 * SECOND, "symbol": "AMD", "feed": "iex", "kind": "NO_TRADE",
        "origin": "alpaca/iex",
        "t": TEN, "detail": "REST has no bar", "expected": None, "found": None,
    }  # fmt: skip


def test_FLD_D11_bar_that_rest_has_fills_the_gap() -> None:
    core = started()
    (ask,) = asks(core.on_tick(TEN + 150 * SECOND))
    steps = core.on_answer(ask, [bar("AMD")], TEN + 152 * SECOND)
    assert bars(steps) == [("AMD", TEN, 0, 2.0)]
    assert [(e["symbol"], e["kind"]) for e in events(steps)] == [("AMD", "GAP_FILLED"), ("NVDA", "NO_TRADE")]


def test_FLD_D11_bar_that_came_before_the_answer_is_no_gap() -> None:
    core = started()
    (ask,) = asks(core.on_tick(TEN + 150 * SECOND))
    core.on_bar(bar(), TEN + 151 * SECOND)
    core.on_bar(bar("AMD"), TEN + 151 * SECOND)
    assert core.on_answer(ask, [bar("AMD")], TEN + 152 * SECOND) == []


def test_FLD_D12_minute_is_ended_by_data_and_never_asked_for_on_the_full_minute() -> None:
    core = started()
    core.lacks(WANTED)
    assert core.on_tick(TEN + 60 * SECOND) == [], "REST would still give the bar before"
    core.on_bar(bar(), TEN + 59 * SECOND)
    assert labels(core.on_bar(bar("AMD"), TEN + 59 * SECOND)) == [TEN], "our clock may be a second behind"


def test_FLD_D13_session_that_is_missing_as_a_whole_keeps_a_symbol_cold_until_it_is_there() -> None:
    core = Ingest("iex", ("NVDA",), xnys(), now=STARTED)
    (ask,) = asks(core.begin(STARTED))
    today = [bar(t=t) for t in range(at("2026-02-17T14:30"), TEN, MINUTE)]
    covered = events(core.on_answer(ask, today, STARTED), Kind.COVERAGE)
    assert [(e["detail"], e["expected"], e["found"], e["t"]) for e in covered] == [
        ("2026-02-13: 0 of 390 minutes", 390, 0, at("2026-02-13T14:30")),
        ("2026-02-17: 30 of 30 minutes", 30, 30, at("2026-02-17T14:30")),
    ]  # fmt: skip
    assert core.cold == {"NVDA"}
    (again,) = [a for a in asks(core.on_tick(STARTED + 10 * MINUTE)) if a.why is Why.BACKFILL]
    friday = at("2026-02-13T14:30")
    assert (again.first, again.last) == (friday, friday + 389 * MINUTE)
    steps = core.on_answer(again, [bar(t=friday)], STARTED + 10 * MINUTE)
    assert core.cold == set() and events(steps, Kind.COVERAGE)[0]["found"] == 1


def test_FLD_D14_halt_mutes_gap_alarms_until_trading_resumes() -> None:
    core = started()
    (halt,) = events(core.on_status(Status("AMD", TEN, "H", "Trading Halt", "T1"), TEN + SECOND))
    assert (halt["kind"], halt["event_time"], halt["detail"]) == ("HALTED", TEN, "H Trading Halt T1")
    assert core.on_status(Status("AMD", TEN, "H", "Trading Halt", "T1"), TEN + SECOND) == [], "a repeat"
    assert core.on_status(Status("AMD", TEN, "Q", "Quotation Resumption", ""), TEN + SECOND) == []
    assert labels(core.on_bar(bar(), TEN + 61 * SECOND)) == [TEN], "a halted symbol is not waited for"
    assert asks(core.on_tick(TEN + 150 * SECOND)) == []
    assert not core.quiet
    (resumed,) = events(
        core.on_status(Status("AMD", TEN + 3 * MINUTE, "T", "Resumption", ""), TEN + 3 * MINUTE)
    )
    assert resumed["kind"] == "RESUMED"
    assert [ask.symbols for ask in asks(core.on_tick(TEN + 7 * MINUTE))][-1:] == [WANTED]


def test_FLD_D14_halt_whose_resumption_was_missed_ends_with_the_next_bar() -> None:
    core = started(wanted=("AMD",))
    core.on_status(Status("AMD", TEN + 20 * SECOND, "2", "Halt", "M"), TEN + 21 * SECOND)
    assert core.quiet
    assert events(core.on_bar(bar("AMD"), TEN + 61 * SECOND)) == [], "the minute in which it was halted"
    (event,) = events(core.on_bar(bar("AMD", TEN + 9 * MINUTE), TEN + 10 * MINUTE))
    assert (event["kind"], event["event_time"]) == ("RESUMED", TEN + 9 * MINUTE) and not core.quiet


def test_FLD_D16_minutes_that_rest_refuses_for_now_are_asked_for_when_it_gives_them() -> None:
    core = started(recent_s=16 * 60)
    assert [a for a in asks(core.on_tick(TEN + 150 * SECOND)) if a.first >= TEN] == []
    late = asks(core.on_tick(TEN + 17 * MINUTE))
    assert [ask for ask in late if ask.first == TEN] == [Ask(Why.GAP, WANTED, TEN, TEN)]


def test_FLD_D17_D18_feed_is_part_of_every_key() -> None:
    ids = set()
    for feed in ("iex", "sip"):
        core = Ingest(feed, ("NVDA",), xnys(), now=STARTED)
        core.on_answer(asks(core.begin(STARTED))[0], [], STARTED)
        written = [s.body for s in core.on_bar(bar(), TEN + 61 * SECOND) if isinstance(s, Write)]
        ids |= {body["event_id"] for body in written}
        assert {body["feed"] for body in written} == {feed}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("day", "opens"),
    [("2026-03-06", "14:30"), ("2026-03-09", "13:30"), ("2026-10-30", "13:30"), ("2026-11-02", "14:30")],
)
def test_FLD_D19_both_weeks_of_a_clock_change_have_their_own_hours(day: str, opens: str) -> None:
    noon = at(f"{day}T17:00")
    opened = at(f"{day}T{opens}")
    core = started(noon, wanted=("NVDA",))
    assert sessions_at(xnys(), noon)[1].open == opened
    assert core._is_regular(opened) and not core._is_regular(opened - MINUTE)


def test_FLD_D20_new_york_times_are_never_the_offset_of_1883() -> None:
    for session in xnys().between(20_000, 20_700):
        assert session.open % (30 * MINUTE) == 0, "4:56 hours would show"


def test_FLD_D21_bars_after_16_utc_are_of_the_session() -> None:
    core = started(wanted=("NVDA",))
    late = at("2026-02-17T20:59")
    core.on_tick(late)
    assert labels(core.on_bar(bar(t=late), late + 61 * SECOND))[-1:] == [late], "all in, so it is regular"
    assert labels(core.on_bar(bar(t=late + MINUTE), late + 121 * SECOND)) == [], "after the close: the grace"


def test_FLD_D22_daily_bar_at_midnight_is_never_a_minute_bar() -> None:
    core = started()
    daily = {"T": "d", "S": "NVDA", "o": 1, "h": 2, "l": 1, "c": 2, "v": 9, "t": "2026-02-17T05:00:00Z"}
    (value,) = frames.read(repr([daily]).replace("'", '"'))
    assert core.on_value(value, TEN) == [] and core.counts["NotOurs.dailyBars"] == 1
    midnight = bar(t=at("2026-02-17T05:00"))
    assert not core._is_regular(midnight.t) and labels(core.on_bar(midnight, TEN)) == []


@pytest.fixture
def in_singapore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Singapore")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_singapore")
def test_FLD_D23_local_zone_of_the_machine_changes_nothing() -> None:
    assert os.environ["TZ"] == "Asia/Singapore" and time.timezone == -8 * 3600
    after_local_midnight = at("2026-02-17T16:30")
    assert [s.date for s in sessions_at(xnys(), after_local_midnight)] == [
        s.date for s in xnys().between(20_497, 20_501)
    ]
    assert started(after_local_midnight)._is_regular(after_local_midnight)
    test_FLD_D11_missing_minute_is_asked_for_once_after_90_seconds()


def test_FLD_D24_evening_is_still_the_days_session_and_before_the_open_is_not_closed_for_good() -> None:
    def dates(text: str) -> list[str]:
        return [str(iso_date(session.date)) for session in sessions_at(xnys(), at(text))]

    assert dates("2026-02-18T00:30") == ["2026-02-13", "2026-02-17"], "19:30 in New York"
    assert dates("2026-02-18T12:00") == ["2026-02-17", "2026-02-18"], "not yet open"
    assert dates("2026-02-16T15:00") == ["2026-02-12", "2026-02-13"], "a holiday"
    assert since(xnys(), at("2026-02-18T00:30")) == at("2026-02-13T14:30")
    core = started(at("2026-02-18T12:00"))
    assert core.cold == {"NVDA", "AMD"}, "yesterday is missing; today expects nothing yet"


def test_FLD_D5_queue_that_is_full_drops_counts_and_leaves_a_gap() -> None:
    queue = FrameQueue(most_bytes=10)
    for frame in (b"12345", b"123456", b"1234", b"1234567"):
        queue.put(frame)
    assert (queue.dropped, queue.depth) == (2, 3)
    first, gap, later = (arrival.content for arrival in queue.take(0))
    assert (first, later) == (b"12345", b"1234") and isinstance(gap, Gap)
    queue.put(b"1234567890")
    assert [type(a.content) for a in queue.take(0)] == [Gap, bytes]


async def heard_of_nulls(
    frames: int, every_s: float, until: Callable[[TradeUpdates], bool], **options: Any
) -> tuple[TradeUpdates, list[tuple[bool, str]]]:
    """A reader of a stream whose every connection brings so many updates without data, and nothing else."""
    heard: list[Any] = []
    health: list[tuple[bool, str]] = []

    async def serve_nulls(line: ServerConnection) -> None:
        await line.recv()
        await line.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}))
        await line.recv()
        await line.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}))
        for _ in range(frames):
            await line.send(json.dumps({"stream": "trade_updates", "data": None}))
            await asyncio.sleep(every_s)
        await line.wait_closed()

    async with serve(serve_nulls, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        reader = TradeUpdates(url, KEYS, heard.append, lambda *told: health.append(told), **options)
        task = asyncio.create_task(reader.run())
        async with asyncio.timeout(20):
            while not until(reader):
                await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert heard == []
    return reader, health


def test_FLD_D25_trade_updates_without_data_are_counted_and_told_and_cost_nothing() -> None:
    told: list[None] = []
    reader, health = asyncio.run(
        heard_of_nulls(100, 0, lambda each: each.empty == 100, on_empty=lambda: told.append(None))
    )
    assert (reader.connections, reader.unreadable, len(told)) == (1, 0, 100)
    assert [healthy for healthy, _ in health] == [True]


def test_FLD_D25_a_stream_that_sends_only_updates_without_data_is_silent_while_an_order_works() -> None:
    reader, health = asyncio.run(
        heard_of_nulls(
            1000, 0.05, lambda each: each.connections == 2, working=lambda: True, max_silence_s=0.4
        )
    )
    assert reader.empty > 1, "it never stopped sending"
    assert health[1] == (False, "trade updates lost: silent for 0.4 s while an order works")
