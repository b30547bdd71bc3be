"""Surges: which hours are judged and when, and what they are compared with."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.text_groups import Surge
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import NEW_YORK, day_number, hour_in_new_york, micros, new_york_hour, xnys
from tapedeck.streams.stages.mentions.told import TOLD as MENTIONS
from tapedeck.streams.stages.surges.rule import surge
from tapedeck.streams.stages.surges.stage import SurgesStage
from tapedeck.streams.stages.surges.told import TOLD as SURGES
from tests.support.market_bodies import Table, bodies

HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEDNESDAY = micros(datetime(2026, 2, 4, 10, tzinfo=NEW_YORK))
"""The hour that is judged: on a session day, with 19 sessions in the 28 days before it."""


def mentioned(
    hour: int,
    k: int,
    *,
    authors: int = 0,
    scope: str = "SOCIAL",
    as_of: int | None = None,
    symbol: str = "NVDA",
) -> dict[str, Any]:
    at = hour + HOUR_US if as_of is None else as_of
    return {
        "event_id": event_id("mentions", (symbol, hour, scope, at)),
        "event_time": at,
        "symbol": symbol,
        "hour": hour,
        "scope": scope,
        "as_of": at,
        "mentions": k,
        "authors": authors,
    }


def row(body: dict[str, Any], now: int | None = None) -> Row:
    moment = body["as_of"] if now is None else now
    return Row("mentions", body["symbol"].encode(), body, moment - MINUTE_US, moment)


def surges(since: int, config: Config | None = None) -> Table:
    """The stage, which has seen every hour from ``since`` on."""
    table = Table(SurgesStage(config or Config(), xnys()))
    table.mark(since - MINUTE_US)
    return table


def judged(table: Table, hour: int) -> dict[str, dict[str, Any]]:
    """What the watermark at the end of ``hour`` says, by symbol."""
    return {body["symbol"]: body for body in bodies(table.mark(hour + HOUR_US - MINUTE_US), "surges")}


def test_an_hour_is_judged_once_at_its_end_for_symbols_with_mentions() -> None:
    table = surges(WEDNESDAY)
    table.feed([row(mentioned(WEDNESDAY, 9, authors=9, as_of=WEDNESDAY + 5 * MINUTE_US))])
    table.feed([row(mentioned(WEDNESDAY, 2, scope="NEWS", as_of=WEDNESDAY + 5 * MINUTE_US))])
    table.feed([row(mentioned(WEDNESDAY, 0, symbol="AMD"))])
    assert table.mark(WEDNESDAY + 58 * MINUTE_US) == []
    found = judged(table, WEDNESDAY)
    assert list(found) == ["NVDA"]
    body = found["NVDA"]
    assert (body["event_time"], body["hour"]) == (WEDNESDAY + HOUR_US, WEDNESDAY)
    assert (body["mentions"], body["authors"], body["days"]) == (11, 9, 0)
    assert (body["level"], body["baseline"], body["score"]) == ("NO_BASELINE", None, None)
    assert len(body["inputs"]) == 2
    table.feed([row(mentioned(WEDNESDAY, 50, as_of=WEDNESDAY + 80 * MINUTE_US))])
    assert table.mark(WEDNESDAY + HOUR_US) == []
    assert judged(table, WEDNESDAY + HOUR_US) == {}


def test_a_session_day_is_compared_with_session_days_and_a_weekend_with_weekends() -> None:
    saturday = WEDNESDAY + 3 * DAY_US
    for hour, days in ((WEDNESDAY, 19), (saturday, 9)):
        table = surges(hour - 40 * DAY_US)
        for n in range(1, 30):
            table.feed([row(mentioned(hour - n * DAY_US, 1))])
            table.mark(hour - n * DAY_US + HOUR_US)
        table.feed([row(mentioned(hour, 12, authors=8))])
        body = judged(table, hour)["NVDA"]
        assert (body["days"], body["baseline"], body["score"], body["level"]) == (days, 1.0, 9.0801, "HIGH")
        assert len(body["inputs"]) == 1 + days


def test_hours_without_a_mention_are_zeros_from_the_first_hour_that_was_seen() -> None:
    table = surges(WEDNESDAY - 7 * DAY_US - 30 * MINUTE_US)
    table.feed([row(mentioned(WEDNESDAY, 5, authors=3))])
    assert judged(table, WEDNESDAY)["NVDA"]["days"] == 5
    table = surges(WEDNESDAY - 9 * DAY_US - 30 * MINUTE_US)
    table.feed([row(mentioned(WEDNESDAY, 5, authors=3))])
    body = judged(table, WEDNESDAY)["NVDA"]
    assert (body["days"], body["baseline"], body["level"]) == (7, 0.5, "MEDIUM")
    table = surges(WEDNESDAY - 9 * DAY_US + 1 * MINUTE_US)
    table.feed([row(mentioned(WEDNESDAY, 5, authors=3))])
    assert judged(table, WEDNESDAY)["NVDA"]["days"] == 6, "an hour that was seen in part is not known"


def test_late_mentions_count_in_baselines_and_are_not_judged_again() -> None:
    table = surges(WEDNESDAY - 20 * DAY_US)
    table.feed([row(mentioned(WEDNESDAY - DAY_US, 3))])
    assert judged(table, WEDNESDAY - DAY_US)["NVDA"]["mentions"] == 3
    late = mentioned(WEDNESDAY - DAY_US, 27, as_of=WEDNESDAY - DAY_US + 70 * MINUTE_US)
    table.feed([row(late), row(mentioned(WEDNESDAY, 1))])
    body = judged(table, WEDNESDAY)["NVDA"]
    assert body["hour"] == WEDNESDAY
    assert body["baseline"] == 27 / body["days"]
    assert late["event_id"] in body["inputs"]


def test_older_and_repeated_mentions_change_nothing() -> None:
    table = surges(WEDNESDAY)
    new, old = mentioned(WEDNESDAY, 4), mentioned(WEDNESDAY, 1, as_of=WEDNESDAY + MINUTE_US)
    table.feed([row(new)])
    state = dict(table.values)
    table.feed(
        [row(old, WEDNESDAY + HOUR_US), row(new), row(mentioned(WEDNESDAY - 40 * DAY_US, 9), WEDNESDAY)]
    )
    assert table.reasons() == ["SUPERSEDED", "DUPLICATE", "TOO_OLD"]
    assert table.values == state


def test_a_retracted_hour_is_not_judged() -> None:
    table = surges(WEDNESDAY)
    table.feed([row(mentioned(WEDNESDAY, 4, as_of=WEDNESDAY + MINUTE_US)), row(mentioned(WEDNESDAY, 0))])
    assert judged(table, WEDNESDAY) == {}


def test_labels_that_jump_judge_every_hour_between() -> None:
    table = surges(WEDNESDAY)
    table.feed([row(mentioned(WEDNESDAY + n * HOUR_US, n + 1)) for n in (0, 1, 3)])
    found = bodies(table.mark(WEDNESDAY + 9 * HOUR_US), "surges")
    assert [(body["hour"] - WEDNESDAY) // HOUR_US for body in found] == [0, 1, 3]


def test_the_state_forgets_what_no_baseline_reaches() -> None:
    table = surges(WEDNESDAY - 90 * DAY_US)
    for n in range(60 * 24, 0, -1):
        table.feed([row(mentioned(WEDNESDAY - n * HOUR_US, 1))])
    assert len(table.values[b"NVDA"]) <= 5 + 33 * (30 * 24 + 1)


def utc(year: int, month: int, day: int, hour: int) -> int:
    return micros(datetime(year, month, day, hour, tzinfo=UTC))


def test_the_clock_change_keeps_new_york_hours_together() -> None:
    """On 2026-03-08 New York has no 02:00; on 2026-11-01 it has 01:00 twice."""
    spring = day_number(date(2026, 3, 8))
    assert hour_in_new_york(spring, 2) is None
    assert hour_in_new_york(spring, 1) == utc(2026, 3, 8, 6)
    assert hour_in_new_york(spring, 3) == utc(2026, 3, 8, 7)
    autumn = day_number(date(2026, 11, 1))
    assert hour_in_new_york(autumn, 1) == utc(2026, 11, 1, 5)
    assert new_york_hour(utc(2026, 11, 1, 5)) == new_york_hour(utc(2026, 11, 1, 6)) == (autumn, 1)
    stage = SurgesStage(Config(), xnys())

    def before(*at: int) -> list[datetime]:
        return [datetime.fromtimestamp(h * 3600, UTC) for h in stage.baseline_hours(utc(*at) // HOUR_US)]

    found = before(2026, 3, 10, 14)
    assert [(t.month, t.day, t.hour) for t in found[:3]] == [(3, 9, 14), (3, 6, 15), (3, 5, 15)]
    sundays = before(2026, 3, 15, 6)
    assert (3, 8) not in {(t.month, t.day) for t in sundays}, "a day without the hour is left out"
    assert before(2026, 11, 7, 6)[0] == datetime(2026, 11, 1, 5, tzinfo=UTC)


def test_there_is_no_baseline_beyond_the_calendar() -> None:
    hour = utc(2031, 2, 3, 15)
    table = surges(hour - 40 * DAY_US)
    table.feed([row(mentioned(hour, 40, authors=20))])
    assert judged(table, hour)["NVDA"]["level"] == "NO_BASELINE"


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 12 * 24), st.sampled_from(["NEWS", "SOCIAL"])), st.integers(0, 30)
    ),
    st.integers(0, 11 * 24),
)
def test_every_hour_is_what_a_naive_look_at_the_days_before_gives(
    counts: dict[tuple[int, str], int], since: int
) -> None:
    config, calendar = Config(surge=Surge(days=9, min_days=3)), xnys()
    begin = utc(2026, 3, 3, 0)
    table = surges(begin + since * HOUR_US, config)
    k: dict[int, int] = {}
    for hour in range(since, 12 * 24 + 1):
        t = begin + hour * HOUR_US
        for scope in ("NEWS", "SOCIAL"):
            if (hour, scope) in counts:
                table.feed([row(mentioned(t, counts[hour, scope], authors=counts[hour, scope], scope=scope))])
                k[hour] = k.get(hour, 0) + counts[hour, scope]
        found = judged(table, t)
        local = datetime.fromtimestamp(t / 1e6, NEW_YORK)
        history = []
        for each in range(hour - 1, since - 1, -1):
            other = datetime.fromtimestamp((begin + each * HOUR_US) / 1e6, NEW_YORK)
            days = [day_number(moment.date()) for moment in (local, other)]
            kinds = [calendar.session_on(day) is not None for day in days]
            if other.hour == local.hour and 0 < days[0] - days[1] <= 9 and kinds[0] == kinds[1]:
                history.append(k.get(each, 0))
        if not k.get(hour):
            assert found == {}
            continue
        expected = surge(
            k[hour], counts.get((hour, "SOCIAL"), 0) + counts.get((hour, "NEWS"), 0), history, config.surge
        )
        body = found["NVDA"]
        assert (body["level"], body["baseline"], body["score"]) == expected
        assert body["days"] == len(history)


@pytest.mark.parametrize("name", ["surges", "mentions"])
def test_the_sentences_of_records_read_well(name: str) -> None:
    told = {**SURGES, **MENTIONS}[name].headline
    body = mentioned(WEDNESDAY, 12, authors=8) | {
        "pos": 7, "neg": 2, "neu": 3, "score_sum": 3.5, "days": 20, "baseline": 1.0, "score": 9.0801,
        "level": "HIGH",
    }  # fmt: skip
    if name == "surges":
        assert told(body) == (
            "NVDA HIGH in the hour of 10:00: 12 mentions, 8 authors of posts; "
            "1 expected of 20 days, score 9.0801"
        )
        assert told(body | {"baseline": None, "days": 3, "level": "NO_BASELINE"}).endswith(
            "8 authors of posts; only 3 days to compare with"
        )
    else:
        assert told(body) == (
            "NVDA hour of 10:00: 12 SOCIAL mentions by 8 authors, positive "
            "(7 positive, 2 negative, 3 neutral, scores 3.5)"
        )
