"""The scores and the watchlist stage: when they evaluate, on what, and what they write."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Watchlist
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.scores.stage import ScoresStage
from tapedeck.streams.stages.watchlist.stage import WatchlistStage
from tests.support.market_bodies import (
    OPEN,
    SESSION,
    Table,
    bodies,
    feature_row,
    minute,
    score_row,
    universe_row,
)

CONFIG = Config()


def scores(config: Config = CONFIG) -> Table:
    return Table(ScoresStage(config, xnys()))


def watchlist(config: Config = CONFIG) -> Table:
    return Table(WatchlistStage(config, xnys()))


def before(n: int) -> int:
    """The label whose watermark evaluates the session's n-th minute."""
    return minute(n) - MINUTE_US


def test_score_is_emitted_for_every_known_symbol_at_a_boundary_only() -> None:
    made = scores()
    made.feed([feature_row("NVDA", minute(4)), feature_row("AMD", minute(2), trend_state=None)])
    assert [made.mark(before(n)) for n in (4, 6)] == [[], []]
    outs = made.mark(before(5))
    assert [(b["symbol"], b["watch_score"], b["as_of"]) for b in bodies(outs, "scores")] == [
        ("AMD", None, minute(3)),
        ("NVDA", 0.35, minute(5)),
    ]
    body = outs[1].body
    assert (body["event_time"], body["evaluation"]) == (minute(5), minute(5))
    assert body["inputs"] == [f"f-iex-NVDA-{minute(4)}-0"]
    assert (body["sentiment_n"], body["sentiment_avg"], body["sentiment_age_s"]) == (0, 0.0, 3600.0)


def test_first_boundary_is_the_open_and_the_close_is_none() -> None:
    made = scores()
    made.feed([feature_row()])
    assert made.mark(OPEN - MINUTE_US)
    assert made.mark(SESSION.close - 6 * MINUTE_US)
    assert made.mark(SESSION.close - MINUTE_US) == []


def test_period_is_configurable() -> None:
    made = scores(Config(watchlist=Watchlist(period_s=120)))
    made.feed([feature_row()])
    assert [bool(made.mark(before(n))) for n in range(5)] == [True, False, True, False, True]


def test_newest_feature_of_the_selected_feed_counts() -> None:
    made = scores()
    made.feed(
        [
            feature_row(t=minute(3), revision=1, distance_sma20=0.0),
            feature_row(t=minute(3)),
            feature_row(t=minute(2), revision=9),
            feature_row(t=minute(4), feed="sip"),
            feature_row(t=minute(3), revision=1),
        ]
    )
    assert made.reasons() == ["SUPERSEDED", "SUPERSEDED", "FEED_NOT_SELECTED", "DUPLICATE"]
    assert made.mark(before(5))[0].body["setup_quality"] == 1.0


def test_symbol_seen_on_another_feed_only_has_no_score() -> None:
    made = scores()
    made.feed([feature_row(feed="sip")])
    assert made.mark(before(5)) == []


def window_row(t: int, n: int, avg: float, newest: int | None) -> Row:
    """A sentiment window of NVDA that ends at ``t``."""
    body = {"event_id": f"w-{t}", "event_time": t, "n_60": n, "avg_60": avg, "newest_at_60": newest}
    return Row("sentiment_windows", b"NVDA", body, t - MINUTE_US, t)


def scored_with(*windows: Row, at: int = 65) -> dict[str, Any]:
    """NVDA's score at the session's minute ``at``, with a feature of the one before."""
    made = scores()
    made.feed(
        [feature_row("NVDA", minute(at - 1), distance_sma20=0.0, vol_ratio=1.5, trend_state=1), *windows]
    )
    (body,) = bodies(made.mark(before(at)), "scores")
    return body | {"reasons": made.reasons()}


@pytest.mark.parametrize(
    "n, avg, age_s, score",
    [(5, 0.8, 0, 0.965), (5, -0.8, 0, 0.765), (5, 1.0, 0, 1.0)],
    ids=["W2", "W3", "W11"],
)
def test_a_score_takes_the_window_of_its_symbol(n: int, avg: float, age_s: int, score: float) -> None:
    at = minute(65)
    body = scored_with(window_row(at, n, avg, at - age_s * 1_000_000))
    assert body["watch_score"] == score
    assert (body["sentiment_n"], body["sentiment_avg"], body["sentiment_age_s"]) == (n, avg, age_s)
    assert body["inputs"] == [f"f-iex-NVDA-{minute(64)}-0", f"w-{at}"]


def test_the_age_of_news_is_that_at_the_evaluation_and_the_newest_window_counts() -> None:
    at = minute(65)
    earlier = at - 20 * MINUTE_US
    body = scored_with(
        window_row(earlier, 3, 0.5, earlier - 5_500_000),
        window_row(earlier, 3, 0.5, earlier - 5_500_000),
        window_row(earlier - MINUTE_US, 9, -0.5, earlier - MINUTE_US),
    )
    assert (body["sentiment_n"], body["sentiment_age_s"]) == (3, 20 * 60 + 5.5)
    assert body["reasons"] == ["DUPLICATE", "SUPERSEDED"]


@pytest.mark.parametrize("minutes, n", [(59, 4), (60, 0), (61, 0)])
def test_a_window_that_nothing_followed_for_its_whole_length_counts_no_more(minutes: int, n: int) -> None:
    ended = minute(65) - minutes * MINUTE_US
    body = scored_with(window_row(ended, 4, 0.7, ended))
    assert body["sentiment_n"] == n
    assert len(body["inputs"]) == (2 if n else 1)


def test_a_window_without_a_feature_is_kept_for_it() -> None:
    made = scores()
    made.feed([window_row(minute(4), 2, 0.4, minute(4))])
    assert made.mark(before(5)) == []
    made.feed([feature_row("NVDA", minute(5))])
    (body,) = bodies(made.mark(before(10)), "scores")
    assert body["sentiment_n"] == 2


def test_a_state_of_the_release_before_news_is_read() -> None:
    stage = ScoresStage(CONFIG, xnys())
    old = stage.step(b"NVDA", None, [feature_row("NVDA", minute(4))]).state
    assert old.startswith(b"[1,")
    joined = stage.step(b"NVDA", old, [window_row(minute(4), 2, 0.4, None)]).state
    assert joined.startswith(b"[2,") and stage.open(joined).feature == stage.open(old).feature


def test_list_and_memberships_are_written_at_a_boundary() -> None:
    made = watchlist()
    made.feed([universe_row(7, "NVDA", "AMD", "JPM")])
    made.feed([score_row("NVDA", minute(5), 0.7), score_row("AMD", minute(5), 0.4)])
    outs = made.mark(before(5))
    whole = bodies(outs, "watchlist")[0]
    assert (whole["evaluation"], whole["event_time"], whole["universe_version"]) == (minute(5), minute(5), 7)
    assert [(m["symbol"], m["rank"], m["flag"], m["reason"], m["entered_at"]) for m in whole["members"]] == [
        ("NVDA", 1, "SCORED", "ENTER_SCORE", minute(5)),
        ("AMD", 2, "BACKFILL", "BACKFILL", None),
    ]
    assert whole["members"][0]["trend_alignment"] == 0.5
    assert whole["events"] == [
        {"symbol": "AMD", "reason": "BACKFILL"},
        {"symbol": "NVDA", "reason": "ENTER_SCORE"},
    ]
    assert whole["inputs"] == ["u-7", f"s-AMD-{minute(5)}", f"s-NVDA-{minute(5)}"]
    places = bodies(outs, "memberships")
    assert [(m["symbol"], m["on_watchlist"], m["rank"], m["reason"]) for m in places] == [
        ("AMD", True, 2, "BACKFILL"),
        ("JPM", False, None, "NO_FRESH_BAR"),
        ("NVDA", True, 1, "ENTER_SCORE"),
    ]
    assert all(m["inputs"] == [whole["event_id"]] for m in places)


def test_nothing_is_evaluated_without_a_universe() -> None:
    made = watchlist()
    made.feed([score_row("NVDA", minute(5), 0.7)])
    assert made.mark(before(5)) == []
    assert made.reasons() == ["NO_UNIVERSE"]
    assert made.mark(before(6)) == []
    assert made.reasons() == ["NO_UNIVERSE"]


def test_new_universe_is_evaluated_at_the_next_watermark_and_only_once() -> None:
    made = watchlist()
    made.feed([universe_row(1, "NVDA", "AMD"), score_row("NVDA", minute(5), 0.7)])
    made.mark(before(5))
    assert made.mark(before(6)) == []
    made.feed([universe_row(2, "AMD")])
    outs = made.mark(before(7))
    whole = bodies(outs, "watchlist")[0]
    assert whole["universe_version"] == 2 and whole["members"] == []
    assert whole["events"] == [{"symbol": "NVDA", "reason": "UNIVERSE_REMOVED"}]
    assert [(m["symbol"], m["reason"]) for m in bodies(outs, "memberships")] == [
        ("AMD", "NO_FRESH_BAR"),
        ("NVDA", "UNIVERSE_REMOVED"),
    ]
    assert made.mark(before(8)) == []


def test_first_universe_writes_everybodys_place_before_the_session() -> None:
    made = watchlist()
    made.feed([universe_row(1, "NVDA")])
    outs = made.mark(OPEN - 90 * MINUTE_US)
    assert [m["on_watchlist"] for m in bodies(outs, "memberships")] == [False]


def test_older_universe_and_score_are_dropped() -> None:
    made = watchlist()
    made.feed([universe_row(2, "NVDA"), universe_row(1, "AMD"), universe_row(2, "NVDA")])
    made.feed(
        [
            score_row("NVDA", minute(5), 0.7),
            score_row("NVDA", minute(0), 0.1),
            score_row("NVDA", minute(5), 0.7),
        ]
    )
    assert made.reasons() == ["SUPERSEDED", "DUPLICATE", "SUPERSEDED", "DUPLICATE"]
    assert bodies(made.mark(before(5)), "watchlist")[0]["members"][0]["score"] == 0.7


def test_lists_are_chained_by_their_event_ids() -> None:
    made = watchlist()
    made.feed([universe_row(1, "NVDA"), score_row("NVDA", minute(5), 0.7)])
    first = bodies(made.mark(before(5)), "watchlist")[0]
    made.feed([score_row("NVDA", minute(10), 0.65)])
    second = bodies(made.mark(before(10)), "watchlist")[0]
    assert second["inputs"] == [first["event_id"], "u-1", f"s-NVDA-{minute(10)}"]
    assert second["members"][0]["entered_at"] == minute(5)


def test_member_whose_bars_stopped_leaves_as_stale() -> None:
    made = watchlist()
    made.feed([universe_row(1, "NVDA"), score_row("NVDA", minute(5), 0.7)])
    made.mark(before(5))
    made.feed([score_row("NVDA", minute(10), 0.7, age_s=301)])
    assert bodies(made.mark(before(10)), "watchlist")[0]["events"] == [{"symbol": "NVDA", "reason": "STALE"}]


def test_new_universe_between_boundaries_does_not_make_a_fresh_member_stale() -> None:
    made = watchlist()
    made.feed([universe_row(1, "NVDA"), score_row("NVDA", minute(5), 0.7, age_s=120)])
    made.mark(before(5))
    made.feed([universe_row(2, "NVDA", "AMD")])
    assert bodies(made.mark(before(9)), "watchlist")[0]["events"] == []
    made.feed([universe_row(3, "NVDA")])
    stale = [{"symbol": "NVDA", "reason": "STALE"}]
    assert bodies(made.mark(before(10)), "watchlist")[0]["events"] == stale


def test_without_news_nobody_is_more_than_a_backfill() -> None:
    made_scores, made_list = scores(), watchlist()
    made_scores.feed([feature_row("NVDA", minute(4), distance_sma20=0.0, vol_ratio=1.5)])
    score = made_scores.mark(before(5))[0]
    assert score.body["watch_score"] == 0.55
    made_list.feed(
        [universe_row(1, "NVDA"), Row("scores", score.record_key, score.body, before(5), minute(5))]
    )
    assert bodies(made_list.mark(before(5)), "watchlist")[0]["members"][0]["flag"] == "BACKFILL"


NAMES = ["A", "B", "C", "D", "E"]
PERIOD = st.dictionaries(st.sampled_from(NAMES), st.none() | st.floats(0, 1), max_size=5)


@given(st.lists(PERIOD, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_list_does_not_depend_on_batches_or_the_order_of_symbols(
    periods: list[dict[str, float | None]], shuffler: random.Random
) -> None:
    whole, cut = watchlist(), watchlist()
    for made in (whole, cut):
        made.feed([universe_row(1, *NAMES[:4])])
    for n, period in enumerate(periods):
        rows = [score_row(symbol, minute(5 * n), score) for symbol, score in period.items()]
        whole.feed(rows)
        shuffler.shuffle(rows)
        for row in rows:
            cut.feed([row])
        assert cut.mark(before(5 * n)) == whole.mark(before(5 * n))
    assert (cut.own, cut.values) == (whole.own, whole.values)
