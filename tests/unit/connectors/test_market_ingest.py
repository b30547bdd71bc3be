"""The core of market-data ingest: watermarks, order, restarts, and what cannot be used."""

import json
import random
from collections import Counter
from decimal import Decimal as D
from typing import get_args

import pytest

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.frames import Bar, Quote, Unread
from tapedeck.connectors.alpaca.market.ingest import Ingest
from tapedeck.connectors.alpaca.market.steps import Ask, Mark, Refuse, Why, Write
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.sessions import xnys
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
    labels,
    refused,
    started,
)
from tests.support.mutations import mutated, reworded

KINDS = {kind.__name__ for kind in get_args(frames.Value)}


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
    assert polls == [Ask(Why.POLL, ("AMD",), TEN - 16 * MINUTE, TEN)], "late ones of the minutes before too"
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
                if isinstance(step, Write):
                    encode(step.topic, step.body)
    kinds = sum(count for name, count in core.counts.items() if name in KINDS)
    assert sum(outcomes.values()) == seen == kinds
    assert min(outcomes[name] for name in ("dead letter", "written", "no record")) > 50, outcomes
    assert [s.body["instrument"] for s in core.on_tick(TEN + 62 * SECOND) if isinstance(s, Write)][:1] == [
        "NVDA"
    ]


def test_unread_rows_of_rest_are_dead_letters_and_the_others_are_taken() -> None:
    core = started()
    (ask,) = asks(core.on_gap(STARTED))
    steps = core.on_answer(
        ask, [Unread("KeyError", b"{}"), bar(t=TEN - MINUTE), bar("IBM", TEN - MINUTE)], STARTED
    )
    assert refused(steps) == ["UNREADABLE"] and bars(steps) == [("NVDA", TEN - MINUTE, 0, 2.0)]
