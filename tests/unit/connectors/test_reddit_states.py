"""What Reddit's answers mean, and how long they ask to wait."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from tapedeck.connectors.reddit.states import (
    OF_ALL,
    REMEDIES,
    Answer,
    RedditState,
    no_app,
    refused_by,
    unanswered,
    used_up,
    wait_of,
)
from tapedeck.schemas.errors import Retry
from tapedeck.streams.protocol import SECOND_US
from tests.support.reddit import BLOCKED, EXPIRED, NOW, UNAVAILABLE, Reply, limited, private


def answer(reply: Reply, *, is_token: bool = False) -> Answer:
    status, headers, body = reply
    low = {name.lower(): value for name, value in headers.items()}
    return Answer(status=status, headers=low, text=body.decode(), is_token=is_token)


OK = (200, {}, b"{}")
CASES = [
    ("a token that was just renewed is refused", EXPIRED, False, "TOKEN_EXPIRED"),
    ("so it is without a challenge", (401, {}, b""), False, "TOKEN_EXPIRED"),
    ("a 403 with that challenge", (403, EXPIRED[1], b"{}"), False, "TOKEN_EXPIRED"),
    ("network security", BLOCKED, False, "NETWORK_BLOCKED"),
    ("network security at the login", BLOCKED, True, "NETWORK_BLOCKED"),
    ("the older page of the gateway", (403, {}, b"<title>Whoa there, pardner!"), False, "NETWORK_BLOCKED"),
    ("a refused rate", limited(), False, "RATE_LIMITED"),
    ("a refused rate at the login", limited(), True, "RATE_LIMITED"),
    ("a private subreddit", private(), False, "SUBREDDIT_PRIVATE"),
    ("a subreddit for subscribers", private("gold_only"), False, "SUBREDDIT_PRIVATE"),
    ("a quarantined subreddit", private("quarantined"), False, "QUARANTINED"),
    ("a wrong secret", (401, {}, b'{"message": "Unauthorized", "error": 401}'), True, "NO_APP"),
    ("a login that says an error in a good answer", (200, {}, b'{"error": "invalid_grant"}'), True, "NO_APP"),
    ("an app of the wrong type", (400, {}, b'{"error": "unsupported_grant_type"}'), True, "NO_APP"),
    ("a login that fails", UNAVAILABLE, True, "FAILING"),
    ("a login elsewhere", (302, {"Location": "/elsewhere"}, b""), True, "FAILING"),
    ("a server's error", UNAVAILABLE, False, "FAILING"),
    ("a banned subreddit", (404, {}, b'{"reason": "banned", "error": 404}'), False, "FAILING"),
    ("no such subreddit", (302, {"location": "/subreddits/search"}, b""), False, "FAILING"),
    ("a 403 without a reason", (403, {}, b'{"message": "Forbidden"}'), False, "FAILING"),
    ("a bad request", (400, {}, b"[1, 2"), False, "FAILING"),
]


@pytest.mark.parametrize(("_case", "reply", "is_token", "state"), CASES, ids=[case for case, *_ in CASES])
def test_each_answer_has_its_state_with_words_and_a_remedy(_case, reply, is_token, state):
    refused = refused_by(answer(reply, is_token=is_token), NOW)
    assert refused is not None and isinstance(refused, Retry)
    assert refused.state is RedditState[state] and refused.reason == state
    assert refused.what and refused.remedy == REMEDIES[refused.state] and refused.remedy in str(refused)


def test_a_good_answer_is_no_refusal():
    assert refused_by(answer(OK), NOW) is None
    assert refused_by(answer((200, {}, b'{"access_token": "x"}'), is_token=True), NOW) is None


def test_every_state_is_shown_by_a_test_and_has_a_remedy():
    shown = {RedditState[state] for *_, state in CASES}
    assert shown == set(RedditState) - {RedditState.OK}
    assert set(REMEDIES) == set(RedditState)
    assert all(REMEDIES[state] for state in shown) and shown > OF_ALL


def test_no_credentials_are_no_app_and_name_the_variable():
    refused = no_app("REDDIT_CLIENT_ID")
    assert refused.state is RedditState.NO_APP and "REDDIT_CLIENT_ID is not set" in str(refused)


def test_an_error_without_an_answer_is_no_answer_and_one_after_an_answer_takes_its_meaning():
    refused = unanswered(OSError("timed out"), NOW)
    assert refused.state is RedditState.FAILING and refused.is_passing and "timed out" in str(refused)
    # praw looks up 401 in a table that has none, and fails.
    assert unanswered(KeyError(401), NOW, answer((401, {}, b""))).state is RedditState.TOKEN_EXPIRED
    refused = unanswered(ValueError("no JSON"), NOW, answer(OK))
    assert refused.state is RedditState.FAILING and "no data" in str(refused)


def test_a_wait_is_read_in_seconds_as_a_date_and_from_the_window():
    date = format_datetime(datetime.fromtimestamp(NOW // SECOND_US + 90, tz=UTC), usegmt=True)
    assert wait_of(answer(limited(Retry_After="7")), NOW) == 7
    assert wait_of(answer(limited(Retry_After=date)), NOW) == 90
    assert wait_of(answer(limited(x_ratelimit_reset="41")), NOW) == 41
    assert wait_of(answer(limited(Retry_After="7", x_ratelimit_reset="41")), NOW) == 7


@pytest.mark.parametrize("given", ["soon", "", "nan", "inf", "-3", "1e400", "Fri, 99 Foo 2026 00:00:00 GMT"])
def test_a_wait_that_cannot_be_read_is_none(given):
    assert wait_of(answer(limited(Retry_After=given)), NOW) is None


def test_a_window_is_used_up_below_one_request():
    headers = {"x-ratelimit-remaining": "0.0", "x-ratelimit-used": "600", "x-ratelimit-reset": "33"}
    assert used_up(answer((200, headers, b""))) == 33
    assert used_up(answer((200, headers | {"x-ratelimit-remaining": "1.0"}, b""))) is None
    assert used_up(answer(OK)) is None
