"""The incremental job at its limits: caps, rates and refusals."""

import pytest

from tapedeck.connectors.news.items import IngestReason
from tapedeck.connectors.reddit.saved import load
from tapedeck.connectors.reddit.states import RedditState, Refused
from tapedeck.connectors.reddit.threads import Cap
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tests.support.reddit import (
    BLOCKED,
    EXPIRED,
    NOW,
    UNAVAILABLE,
    Hours,
    SmallReddit,
    Written,
    job,
    limited,
    post,
    private,
    reddit_with,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "reddit.json"


@pytest.fixture
def hours():
    return Hours()


@pytest.fixture
def sink():
    return Written()


def test_the_cap_of_comments_counts_what_it_leaves_out(path, hours, sink):
    report = job(reddit_with(30, shown=20), sink, path, hours, Reddit(max_comments_per_thread=12)).run()
    kept = [body for body in sink.bodies if body["kind"] == "COMMENT"]
    assert len(kept) == 12 and report.caps == {Cap.COMMENTS: 18}
    assert report.counts[IngestReason.CAP_REACHED] == 18


def test_the_cap_of_expansions_counts_what_it_leaves_out(path, hours, sink):
    reddit = reddit_with(450, shown=50)
    report = job(reddit, sink, path, hours, Reddit(max_expansions=2)).run()
    assert reddit.paths().count("api/morechildren") == 2
    assert report.caps == {Cap.EXPANSIONS: 200} and report.counts[IngestReason.CAP_REACHED] == 200


def test_the_budget_ends_a_run_and_the_thread_that_waits_longest_is_next(path, hours, sink):
    reddit = SmallReddit()
    reddit.put(*(post(f"d{n}", "Daily discussion") for n in range(10)), hot=True)
    config = Reddit(budget_min=1, requests_per_min=6)
    report = job(reddit, sink, path, hours, config).run()
    assert report.requests == 6 and report.caps == {Cap.BUDGET: 6}
    assert hours.now() - NOW < MINUTE_US
    hours.pass_minutes(15)
    job(reddit, sink, path, hours, config).run()
    visited = [path for path in reddit.paths() if path.startswith("comments/")]
    assert len(set(visited)) == len(visited) == 8


def test_a_budget_that_ends_within_a_thread_keeps_what_was_read(path, hours, sink):
    reddit = reddit_with(300, shown=50)
    report = job(reddit, sink, path, hours, Reddit(budget_min=1, requests_per_min=4)).run()
    assert report.requests == 4 and report.caps == {Cap.BUDGET: 150}
    assert len([body for body in sink.bodies if body["kind"] == "COMMENT"]) == 150


def test_requests_come_at_an_even_rate(path, hours, sink):
    report = job(reddit_with(), sink, path, hours, Reddit(requests_per_min=30)).run()
    assert report.requests == 3 and hours.slept == [2.0, 2.0]


def test_a_used_up_window_of_reddits_is_waited_for(path, hours, sink):
    left = iter(["0.0", "500.0", "500.0"])
    reddit = reddit_with(
        every=lambda: {
            "x-ratelimit-remaining": next(left),
            "x-ratelimit-used": "9",
            "x-ratelimit-reset": "44",
        }
    )
    assert job(reddit, sink, path, hours).run().state is RedditState.OK
    assert hours.slept == [44.0, 1.0]


def test_the_wait_that_reddit_states_is_obeyed(path, hours, sink):
    reddit = reddit_with(faults=[("hot", limited(Retry_After="17"))])
    report = job(reddit, sink, path, hours).run()
    assert hours.slept[0] == 17 and report.state is RedditState.OK
    assert report.counts[IngestReason.RATE_LIMITED] == 1 and len(sink.bodies) == 5


def test_without_a_stated_wait_three_tries_wait_longer_and_the_next_run_waits_too(path, hours, sink):
    reddit = reddit_with(always={"hot": limited()})
    report = job(reddit, sink, path, hours).run()
    assert report.state is RedditState.RATE_LIMITED and reddit.paths() == ["r/wallstreetbets/hot"] * 3
    first, second = (wait for wait in hours.slept if wait > 1)
    assert 30 < first < 35 and 60 < second < 65
    assert (report.next_due - hours.now()) / SECOND_US > 120 or report.next_due >= NOW + 15 * MINUTE_US
    assert 120 * SECOND_US < load(path).not_before - hours.now() < 125 * SECOND_US
    asked = len(reddit.asked)
    assert job(reddit, sink, path, hours).run().state is RedditState.RATE_LIMITED
    assert len(reddit.asked) == asked, "nothing is asked before that"


def test_a_stated_wait_beyond_the_cap_ends_the_run_and_is_obeyed_by_the_next(path, hours, sink):
    reddit = reddit_with(faults=[("hot", limited(Retry_After="1800"))])
    report = job(reddit, sink, path, hours).run()
    assert report.state is RedditState.RATE_LIMITED and not hours.slept
    assert report.next_due == NOW + 1800 * SECOND_US
    hours.pass_minutes(31)
    assert job(reddit, sink, path, hours).run().state is RedditState.OK


def test_a_stated_wait_of_a_month_is_taken_for_a_day(path, hours, sink):
    reddit = reddit_with(faults=[("hot", limited(Retry_After="2592000"))])
    assert job(reddit, sink, path, hours).run().next_due == NOW + 24 * 60 * MINUTE_US


@pytest.mark.parametrize(
    ("reply", "state"),
    [(EXPIRED, "TOKEN_EXPIRED"), (BLOCKED, "NETWORK_BLOCKED")],
)
def test_a_state_of_all_ends_the_run_with_words_and_a_remedy(reply, state, path, hours, sink):
    reddit = reddit_with(always={"": reply})
    config = Reddit(subreddits=("wallstreetbets", "stocks"))
    report = job(reddit, sink, path, hours, config).run()
    assert report.state is RedditState[state] and "; " in report.words and len(reddit.asked) == 1
    assert {found for found, _ in report.subreddits.values()} == {RedditState[state]}
    assert not sink.bodies and load(path).states == {"wallstreetbets": state, "stocks": state}


def test_a_refused_connection_is_a_report_and_no_crash(path, hours, sink):
    made = job(reddit_with(), sink, path, hours)

    def refuse(_gate):
        raise Refused(RedditState.NO_APP, "REDDIT_CLIENT_ID is not set")

    made._connect = refuse
    report = made.run()
    assert (
        report.state is RedditState.NO_APP
        and report.requests == 0
        and "reddit.com/prefs/apps" in report.words
    )


@pytest.mark.parametrize(
    ("reason", "state"), [("private", "SUBREDDIT_PRIVATE"), ("quarantined", "QUARANTINED")]
)
def test_a_closed_subreddit_does_not_stop_the_others(reason, state, path, hours, sink):
    reddit = reddit_with(always={"r/closed": private(reason)})
    report = job(reddit, sink, path, hours, Reddit(subreddits=("closed", "wallstreetbets"))).run()
    assert report.state is RedditState.OK and len(sink.bodies) == 5
    assert report.subreddits["closed"][0] is RedditState[state]
    assert report.subreddits["wallstreetbets"] == (RedditState.OK, "")
    assert report.counts[IngestReason.FETCH_FAILED] == 1


def test_one_failed_thread_is_counted_and_read_by_the_next_run(path, hours, sink):
    reddit = reddit_with(faults=[("comments/talk", UNAVAILABLE)])
    report = job(reddit, sink, path, hours).run()
    assert report.subreddits["wallstreetbets"][0] is RedditState.FAILING
    assert report.counts[IngestReason.FETCH_FAILED] == 1 and len(sink.bodies) == 2
    hours.pass_minutes(15)
    assert job(reddit, sink, path, hours).run().subreddits["wallstreetbets"][0] is RedditState.OK
    assert len(sink.bodies) == 5


def test_a_reddit_that_is_away_ends_the_run_after_three_failures(path, hours, sink):
    reddit = SmallReddit()
    reddit.put(*(post(f"d{n}", "Daily discussion") for n in range(10)), hot=True)
    reddit.always["comments"] = UNAVAILABLE
    report = job(reddit, sink, path, hours).run()
    assert report.state is RedditState.FAILING and report.requests == 5


def test_a_failure_within_a_thread_keeps_what_was_read(path, hours, sink):
    reddit = reddit_with(300, shown=50, always={"morechildren": UNAVAILABLE})
    report = job(reddit, sink, path, hours).run()
    assert report.counts[IngestReason.FETCH_FAILED] == 1
    assert len([body for body in sink.bodies if body["kind"] == "COMMENT"]) == 50


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"kind": "Listing"}', b'"hello"', b"null", b"[1, 2]", b"7"])
def test_an_answer_that_is_no_data_is_a_failure_and_no_crash(body, path, hours, sink):
    for letters in ("hot", "top", "comments", "info", "morechildren"):
        reddit = reddit_with(20, shown=5, always={letters: (200, {}, body)})
        report = job(reddit, sink, path.with_name(letters), hours).run()
        if letters != "info":  # nothing is asked by name in a first run
            assert report.counts[IngestReason.FETCH_FAILED] == 1, letters
