"""The core of market-data ingest: the cases D9 to D24 of the field that are about records, one test each."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any, get_args

import pytest

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.frames import Bar, Quote, Status, Unread
from tapedeck.connectors.alpaca.market.ingest import Ingest, sessions_at, since
from tapedeck.connectors.alpaca.market.steps import Ask, Kind, Mark, Refuse, Step, Why, Write
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.sessions import iso_date, micros, xnys
from tests.support.mutations import mutated, reworded

SECOND, MINUTE = 1_000_000, 60_000_000
WANTED = ("NVDA", "AMD")
KINDS = {kind.__name__ for kind in get_args(frames.Value)}


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


TEN = at("2026-02-17T15:00")
STARTED = TEN + 5 * SECOND  # the minute 14:59 is over


def bar(symbol: str = "NVDA", t: int = TEN, close: float = 2.0, updated: bool = False) -> Bar:
    return Bar(symbol, t, 1.0, 3.0, 0.5, close, 10.0, updated)


def started(now: int = STARTED, **options: Any) -> Ingest:
    """After its start, with the first backfill answered by nothing."""
    core = Ingest("iex", options.pop("wanted", WANTED), xnys(), now=now, **options)
    (ask,) = asks(core.begin(now))
    core.on_answer(ask, [], now)
    core._later.clear()
    return core


def asks(steps: list[Step]) -> list[Ask]:
    return [step for step in steps if isinstance(step, Ask)]


def bars(steps: list[Step]) -> list[tuple[str, int, int, float]]:
    return [
        (s.body["symbol"], s.body["t"], s.body["revision"], s.body["close"])
        for s in steps if isinstance(s, Write) and s.topic == "bars"
    ]  # fmt: skip


def labels(steps: list[Step]) -> list[int]:
    return [step.label for step in steps if isinstance(step, Mark)]


def events(steps: list[Step], *kinds: Kind) -> list[dict[str, Any]]:
    found = [s.body for s in steps if isinstance(s, Write) and s.topic == "market_events"]
    return [body for body in found if not kinds or body["kind"] in kinds]


def refused(steps: list[Step]) -> list[str]:
    return [step.reason for step in steps if isinstance(step, Refuse)]


def test_start_marks_the_last_minute_that_is_over_and_asks_for_two_sessions() -> None:
    core = Ingest("iex", WANTED, xnys(), now=STARTED)
    assert core.begin(STARTED) == [
        Mark(TEN - MINUTE), Ask(Why.BACKFILL, WANTED, at("2026-02-13T14:30"), TEN),
    ]  # fmt: skip


def test_minute_ends_when_every_symbol_is_in_and_at_the_latest_after_the_grace() -> None:
    core = started()
    assert labels(core.on_bar(bar("NVDA"), TEN + 61 * SECOND)) == []
    assert labels(core.on_bar(bar("AMD"), TEN + 61 * SECOND)) == [TEN], "all in: at once"
    assert labels(core.on_bar(bar("NVDA", TEN + MINUTE), TEN + 121 * SECOND)) == []
    assert labels(core.on_tick(TEN + 122 * SECOND)) == []
    assert labels(core.on_tick(TEN + 123 * SECOND)) == [TEN + MINUTE], "AMD has none: after 3 s"
    late = core.on_bar(bar("AMD", TEN + MINUTE), TEN + 124 * SECOND)
    assert bars(late) == [("AMD", TEN + MINUTE, 0, 2.0)] and labels(late) == []


def test_grace_is_a_parameter() -> None:
    core = started(grace_s=1.0)
    assert labels(core.on_tick(TEN + 60 * SECOND)) == [] and labels(core.on_tick(TEN + 61 * SECOND)) == [TEN]


def test_empty_minutes_are_marked_one_by_one_and_nights_are_skipped() -> None:
    core = started()
    assert labels(core.on_tick(TEN + 3 * MINUTE + 3 * SECOND)) == [TEN, TEN + MINUTE, TEN + 2 * MINUTE]
    evening = at("2026-02-18T00:59")
    core = started(evening + 65 * SECOND)
    assert labels(core.on_tick(at("2026-02-18T01:30"))) == [], "20:00 in New York"
    assert labels(core.on_tick(at("2026-02-18T09:01:03"))) == [at("2026-02-18T09:00")]


def test_live_bars_wait_for_what_was_missed_so_that_the_oldest_is_written_first() -> None:
    core = started()
    core.on_bar(bar(), TEN + 61 * SECOND)
    (ask,) = asks(core.on_gap(TEN + 200 * SECOND))
    assert (ask.why, ask.first, ask.last) == (Why.BACKFILL, TEN - 16 * MINUTE, TEN + 3 * MINUTE)
    assert core.on_bar(bar(t=TEN + 3 * MINUTE), TEN + 241 * SECOND) == []
    missed = [bar(t=TEN + 2 * MINUTE), bar(t=TEN + MINUTE), bar()]
    steps = core.on_answer(ask, missed, TEN + 242 * SECOND)
    assert [t for _, t, _, _ in bars(steps)] == [TEN + MINUTE, TEN + 2 * MINUTE, TEN + 3 * MINUTE]
    assert core.counts["DUPLICATE_BAR"] == 1


def test_live_bars_wait_until_the_last_of_two_questions_is_answered() -> None:
    core = started()
    (first,), (second,) = asks(core.on_gap(TEN)), asks(core.on_gap(TEN + SECOND))
    core.on_bar(bar(), TEN + 61 * SECOND)
    assert bars(core.on_answer(first, [], TEN + 61 * SECOND)) == []
    assert bars(core.on_answer(second, [], TEN + 62 * SECOND)) == [("NVDA", TEN, 0, 2.0)]


def test_live_bars_wait_no_longer_where_rest_is_away() -> None:
    core = started()
    (ask,) = asks(core.on_gap(TEN))
    core.on_bar(bar(), TEN + 61 * SECOND)
    assert bars(core.on_failed(ask, TEN + 62 * SECOND)) == [("NVDA", TEN, 0, 2.0)]
    assert ask in asks(core.on_tick(TEN + 122 * SECOND)), "it is asked again"
    core = started()
    core.on_gap(TEN)
    core.on_bar(bar(), TEN + 61 * SECOND)
    assert bars(core.on_tick(TEN + 120 * SECOND)) == [("NVDA", TEN, 0, 2.0)], "no answer at all"


def test_restart_writes_nothing_twice_and_only_what_the_log_lacks() -> None:
    written = [s.body for s in started().on_bar(bar(), TEN + 61 * SECOND) if isinstance(s, Write)]
    now = TEN + 130 * SECOND
    core = Ingest("iex", WANTED, xnys(), now=now, last=[TEN, TEN - MINUTE], standing=written)
    mark, ask = core.begin(now)
    assert mark == Mark(TEN + MINUTE)
    steps = core.on_answer(ask, [bar(), bar("AMD"), bar(t=TEN + MINUTE)], now)
    assert bars(steps) == [("AMD", TEN, 0, 2.0), ("NVDA", TEN + MINUTE, 0, 2.0)]
    revised = core.on_bar(bar(close=2.5, updated=True), now)
    assert bars(revised) == [("NVDA", TEN, 1, 2.5)], "the counter goes on where the log stands"


@pytest.mark.parametrize(
    "broken",
    [
        bar(t=TEN + 1), bar(t=TEN + 60 * MINUTE), bar(t=0), bar()._replace(open=0.0), bar()._replace(low=1.5),
        bar()._replace(high=1.5), bar()._replace(volume=-1.0), bar()._replace(close=float("inf")),
    ],
)  # fmt: skip
def test_bar_that_is_not_valid_is_a_dead_letter(broken: Bar) -> None:
    core = started()
    (step,) = core.on_bar(broken, TEN + 61 * SECOND)
    assert isinstance(step, Refuse) and step.reason == "BAD_BAR" and b"NVDA" in step.raw


def test_messages_are_counted_and_unreadable_ones_are_dead_letters() -> None:
    core, now = started(), TEN + 61 * SECOND
    values = frames.read(b'[{"T":"b"},{"T":"t"},{"T":"zz"},{"T":"success","msg":"connected"}]')
    assert refused([step for value in values for step in core.on_value(value, now)]) == [
        "UNREADABLE", "UNRECOGNISED",
    ]  # fmt: skip
    assert core.on_bar(bar("IBM"), now) == [] and core.counts["NOT_WANTED"] == 1
    assert (core.counts["NotOurs.trades"], core.counts["Unread"], core.counts["Success"]) == (1, 1, 1)


def test_newest_quotes_are_written_once_a_second_and_before_their_watermark() -> None:
    core = started()
    for time_us, price in ((TEN, "100.1"), (TEN + 500_000, "100.2"), (TEN + 400_000, "100.3")):
        core.on_quote(Quote("NVDA", time_us, D(price), D("0.0000001"), 1, None), TEN + SECOND)
    (quote,) = [s.body for s in core.on_tick(TEN + 7 * SECOND) if isinstance(s, Write)]
    assert (quote["quote_time"], quote["bid"], quote["ask"]) == (TEN + 500_000, D("100.2"), None)
    assert decode("quotes", encode("quotes", quote))["bid_size"] == 1
    core.on_quote(Quote("AMD", TEN + 50 * SECOND, D(1), D(2), 1, 1), TEN + 50 * SECOND)
    core.on_bar(bar(), TEN + 61 * SECOND)
    steps = core.on_bar(bar("AMD"), TEN + 61 * SECOND)
    assert [s.topic if isinstance(s, Write) else "mark" for s in steps] == ["bars", "quotes", "mark"]
    ahead = Quote("AMD", TEN + 10 * MINUTE, D(1), D(2), 1, 1)
    assert refused(core.on_quote(ahead, TEN)) == ["BAD_QUOTE"]


def test_symbols_that_the_stream_does_not_send_are_polled_every_minute() -> None:
    core = started()
    core.lacks(("AMD",))
    polls = [ask for ask in asks(core.on_tick(TEN + 62 * SECOND)) if ask.why is Why.POLL]
    assert polls == [Ask(Why.POLL, ("AMD",), TEN - MINUTE, TEN)]
    core.on_bar(bar(), TEN + 61 * SECOND)
    assert labels(core.on_answer(polls[0], [bar("AMD")], TEN + 62 * SECOND)) == [TEN], "it counts as in"


def test_new_symbols_history_is_written_before_its_first_live_bar() -> None:
    core = started()
    (ask,) = asks(core.want((*WANTED, "IBM"), STARTED))
    assert (ask.symbols, ask.first) == (("IBM",), at("2026-02-13T14:30"))
    assert core.on_bar(bar("IBM"), TEN + 61 * SECOND) == []
    assert bars(core.on_bar(bar("AMD"), TEN + 61 * SECOND)) != [], "the others do not wait"
    steps = core.on_answer(ask, [bar("IBM", TEN - MINUTE)], TEN + 62 * SECOND)
    assert [t for _, t, _, _ in bars(steps)] == [TEN - MINUTE, TEN]


def test_bodies_fit_their_schemas() -> None:
    (write,) = [s for s in started().on_bar(bar(), TEN + 61 * SECOND) if isinstance(s, Write)]
    assert decode("bars", encode("bars", write.body)) == write.body
    assert (write.body["feed"], write.body["origin"], write.body["event_time"]) == (
        "iex",
        "alpaca/iex",
        TEN + MINUTE,
    )


def test_ten_thousand_mutated_messages_stop_nothing_and_every_one_has_one_outcome() -> None:
    rng = random.Random(17)
    row = {"o": 1, "h": 3, "l": 0.5, "c": 2, "v": 10, "t": "2026-02-17T15:00:00Z"}
    quote = {"T": "q", "S": "NVDA", "bp": 100.1, "ap": 100.2, "bs": 3, "as": 2, "t": row["t"]}
    status = {"T": "s", "S": "AMD", "sc": "H", "sm": "Halt", "rc": "T1", "t": row["t"]}
    messages = [{"T": kind, "S": symbol, **row} for kind in "bu" for symbol in WANTED] + [quote, status]
    core, outcomes, seen = started(), Counter[str](), 0
    for number in range(10_000):
        message = rng.choice(messages)
        frame = mutated(json.dumps([message]).encode(), rng) if number % 2 else reworded(message, rng)
        for value in frames.read(frame):
            seen += 1
            steps = core.on_value(value, TEN + 61 * SECOND)
            outcomes["dead letter" if refused(steps) else "written" if bars(steps) else "no record"] += 1
            for step in steps:
                if isinstance(step, Write) and step.topic != "market_events":
                    encode(step.topic, step.body)
    kinds = sum(count for name, count in core.counts.items() if name in KINDS)
    assert sum(outcomes.values()) == seen == kinds
    assert min(outcomes[name] for name in ("dead letter", "written", "no record")) > 50, outcomes
    assert [s.body["instrument"] for s in core.on_tick(TEN + 62 * SECOND) if isinstance(s, Write)][:1] == [
        "NVDA"
    ]


# The cases of the field


def test_d09_updated_bar_is_the_next_revision_of_its_minute() -> None:
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


def test_d10_several_differing_bars_of_one_minute_are_counted_revisions() -> None:
    core = started()
    found = [
        step
        for close in (2.0, 2.1, 2.1, 2.2, 2.0)
        for step in core.on_bar(bar(close=close), TEN + 61 * SECOND)
    ]
    assert bars(found) == [("NVDA", TEN, n, close) for n, close in enumerate((2.0, 2.1, 2.2, 2.0))]
    assert core.counts["DUPLICATE_BAR"] == 1


def test_d11_missing_minute_is_asked_for_once_after_90_seconds() -> None:
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
        "t": TEN, "detail": "REST has no bar", "expected": None, "found": None,
    }  # fmt: skip


def test_d11_bar_that_rest_has_fills_the_gap() -> None:
    core = started()
    (ask,) = asks(core.on_tick(TEN + 150 * SECOND))
    steps = core.on_answer(ask, [bar("AMD")], TEN + 152 * SECOND)
    assert bars(steps) == [("AMD", TEN, 0, 2.0)]
    assert [(e["symbol"], e["kind"]) for e in events(steps)] == [("AMD", "GAP_FILLED"), ("NVDA", "NO_TRADE")]


def test_d11_bar_that_came_before_the_answer_is_no_gap() -> None:
    core = started()
    (ask,) = asks(core.on_tick(TEN + 150 * SECOND))
    core.on_bar(bar(), TEN + 151 * SECOND)
    core.on_bar(bar("AMD"), TEN + 151 * SECOND)
    assert core.on_answer(ask, [bar("AMD")], TEN + 152 * SECOND) == []


def test_d12_minute_is_ended_by_data_and_never_asked_for_on_the_full_minute() -> None:
    core = started()
    core.lacks(WANTED)
    assert core.on_tick(TEN + 60 * SECOND) == [], "REST would still give the bar before"
    core.on_bar(bar(), TEN + 59 * SECOND)
    assert labels(core.on_bar(bar("AMD"), TEN + 59 * SECOND)) == [TEN], "our clock may be a second behind"


def test_d13_session_that_is_missing_as_a_whole_keeps_a_symbol_cold_until_it_is_there() -> None:
    core = Ingest("iex", ("NVDA",), xnys(), now=STARTED)
    (ask,) = asks(core.begin(STARTED))
    today = [bar(t=t) for t in range(at("2026-02-17T14:30"), TEN, MINUTE)]
    covered = events(core.on_answer(ask, today, STARTED), Kind.COVERAGE)
    assert [(e["detail"], e["expected"], e["found"], e["t"]) for e in covered] == [
        ("2026-02-13: 0 of 390 minutes", 390, 0, None), ("2026-02-17: 30 of 30 minutes", 30, 30, None),
    ]  # fmt: skip
    assert core.cold == {"NVDA"}
    (again,) = [a for a in asks(core.on_tick(STARTED + 10 * MINUTE)) if a.why is Why.BACKFILL]
    friday = at("2026-02-13T14:30")
    assert (again.first, again.last) == (friday, friday + 389 * MINUTE)
    steps = core.on_answer(again, [bar(t=friday)], STARTED + 10 * MINUTE)
    assert core.cold == set() and events(steps, Kind.COVERAGE)[0]["found"] == 1


def test_d14_halt_mutes_gap_alarms_until_trading_resumes() -> None:
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


def test_d14_halt_whose_resumption_was_missed_ends_with_the_next_bar() -> None:
    core = started(wanted=("AMD",))
    core.on_status(Status("AMD", TEN + 20 * SECOND, "2", "Halt", "M"), TEN + 21 * SECOND)
    assert core.quiet
    assert events(core.on_bar(bar("AMD"), TEN + 61 * SECOND)) == [], "the minute in which it was halted"
    (event,) = events(core.on_bar(bar("AMD", TEN + 9 * MINUTE), TEN + 10 * MINUTE))
    assert (event["kind"], event["event_time"]) == ("RESUMED", TEN + 9 * MINUTE) and not core.quiet


def test_d16_minutes_that_rest_refuses_for_now_are_asked_for_when_it_gives_them() -> None:
    core = started(recent_s=16 * 60)
    assert [a for a in asks(core.on_tick(TEN + 150 * SECOND)) if a.first >= TEN] == []
    late = asks(core.on_tick(TEN + 17 * MINUTE))
    assert [ask for ask in late if ask.first == TEN] == [Ask(Why.GAP, WANTED, TEN, TEN)]


def test_d17_d18_feed_is_part_of_every_key() -> None:
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
def test_d19_both_weeks_of_a_clock_change_have_their_own_hours(day: str, opens: str) -> None:
    noon = at(f"{day}T17:00")
    opened = at(f"{day}T{opens}")
    core = started(noon, wanted=("NVDA",))
    assert sessions_at(xnys(), noon)[1].open == opened
    assert core._is_regular(opened) and not core._is_regular(opened - MINUTE)


def test_d20_new_york_times_are_never_the_offset_of_1883() -> None:
    for session in xnys().between(20_000, 20_700):
        assert session.open % (30 * MINUTE) == 0, "4:56 hours would show"


def test_d21_bars_after_16_utc_are_of_the_session() -> None:
    core = started(wanted=("NVDA",))
    late = at("2026-02-17T20:59")
    core.on_tick(late)
    assert labels(core.on_bar(bar(t=late), late + 61 * SECOND))[-1:] == [late], "all in, so it is regular"
    assert labels(core.on_bar(bar(t=late + MINUTE), late + 121 * SECOND)) == [], "after the close: the grace"


def test_d22_daily_bar_at_midnight_is_never_a_minute_bar() -> None:
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
def test_d23_local_zone_of_the_machine_changes_nothing() -> None:
    assert os.environ["TZ"] == "Asia/Singapore" and time.timezone == -8 * 3600
    after_local_midnight = at("2026-02-17T16:30")
    assert [s.date for s in sessions_at(xnys(), after_local_midnight)] == [
        s.date for s in xnys().between(20_497, 20_501)
    ]
    assert started(after_local_midnight)._is_regular(after_local_midnight)
    test_d11_missing_minute_is_asked_for_once_after_90_seconds()


def test_d24_evening_is_still_the_days_session_and_before_the_open_is_not_closed_for_good() -> None:
    def dates(text: str) -> list[str]:
        return [str(iso_date(session.date)) for session in sessions_at(xnys(), at(text))]

    assert dates("2026-02-18T00:30") == ["2026-02-13", "2026-02-17"], "19:30 in New York"
    assert dates("2026-02-18T12:00") == ["2026-02-17", "2026-02-18"], "not yet open"
    assert dates("2026-02-16T15:00") == ["2026-02-12", "2026-02-13"], "a holiday"
    assert since(xnys(), at("2026-02-18T00:30")) == at("2026-02-13T14:30")
    core = started(at("2026-02-18T12:00"))
    assert core.cold == {"NVDA", "AMD"}, "yesterday is missing; today expects nothing yet"


def test_unread_rows_of_rest_are_dead_letters_and_the_others_are_taken() -> None:
    core = started()
    (ask,) = asks(core.on_gap(STARTED))
    steps = core.on_answer(
        ask, [Unread("KeyError", b"{}"), bar(t=TEN - MINUTE), bar("IBM", TEN - MINUTE)], STARTED
    )
    assert refused(steps) == ["UNREADABLE"] and bars(steps) == [("NVDA", TEN - MINUTE, 0, 2.0)]
