"""praw itself against a server on loopback."""

import gzip
import warnings
from datetime import UTC, datetime
from email.utils import format_datetime
from importlib import import_module

import pytest

from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.reddit import client as module
from tapedeck.connectors.reddit.client import App, PrawClient, app_of, authors_of
from tapedeck.connectors.reddit.job import Job
from tapedeck.connectors.reddit.pace import BudgetSpent
from tapedeck.connectors.reddit.states import RedditState, Refused
from tapedeck.connectors.secrets import Secret
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.protocol import SECOND_US
from tests.support.reddit import (
    AUTHORS,
    BLOCKED,
    EXPIRED,
    NOW,
    SALT,
    TOKEN,
    UNAVAILABLE,
    Free,
    Hours,
    SmallReddit,
    Written,
    comment,
    limited,
    post,
    private,
    serving,
)

DATE = format_datetime(datetime.fromtimestamp(NOW // SECOND_US + 9, tz=UTC), usegmt=True)
SECRET = "the-secret-of-the-tests"


class Told:
    """A gate that lets everything through and keeps what it is told."""

    def __init__(self, most=100):
        self.asked, self.answers, self.most = 0, [], most

    def before(self):
        if self.asked == self.most:
            raise BudgetSpent
        self.asked += 1

    def after(self, answer):
        self.answers.append(answer)


def app(server, **changed):
    given = {
        "client_id": Secret("REDDIT_CLIENT_ID", "the-app"),
        "client_secret": Secret("REDDIT_CLIENT_SECRET", SECRET),
        "user_agent": "python:tests:1 (by nobody)",
        "api_url": server.url,
        "login_url": server.url,
    }
    return App(**(given | changed))


@pytest.fixture
def served():
    reddit = SmallReddit()
    reddit.put(post("talk", "Daily discussion"), hot=True)
    reddit.put(*(comment(f"c{n}", "talk") for n in range(150)))
    reddit.shown = 20
    with serving(reddit) as server:
        yield server


def client(server, gate=None, **changed):
    return PrawClient(app(server, **changed), gate or Told(), ManualClock(NOW))


def test_a_get_logs_in_once_and_gives_the_plain_json(served):
    gate = Told()
    reading = client(served, gate)
    page = reading.get("r/wallstreetbets/hot", {"limit": 20})
    assert page["data"]["children"][0]["data"]["title"] == "Daily discussion"
    reading.get("api/info", {"id": "t3_talk"})
    assert served.tokens == 1 and gate.asked == len(gate.answers) == 3
    assert served.reddit.asked[0][1] == {"limit": "20", "raw_json": "1"}
    login, first, _ = (headers for *_, headers in served.requests)
    assert login["authorization"].startswith("Basic ") and first["authorization"] == f"bearer {TOKEN}"
    assert first["user-agent"].startswith("python:tests:1 (by nobody)")
    assert [method for method, *_ in served.requests] == ["POST", "GET", "GET"]


def test_no_file_and_no_variable_sends_the_credentials_elsewhere(served, tmp_path, monkeypatch):
    elsewhere = "oauth_url=http://127.0.0.1:9\nreddit_url=http://127.0.0.1:9\n"
    planted = f"[DEFAULT]\n{elsewhere}username=u\npassword=p\nrefresh_token=r\ntimeout=0\n[evil]\n{elsewhere}"
    (tmp_path / "praw.ini").write_text(planted)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("praw_site", "evil")
    for name in ("username", "password", "refresh_token", "oauth_url", "check_for_updates"):
        monkeypatch.setenv(f"praw_{name}", "1")
    import_module(module.PRAW).config.Config.CONFIG = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = client(served)
    assert reading.get("api/info", {"id": "t3_talk"})["data"]["children"]
    assert reading._reddit.read_only and not reading._reddit.config.check_for_updates


@pytest.fixture
def swift(monkeypatch):
    """praw's own pauses between repeats take no time."""
    strategy = import_module(module.PRAWCORE).sessions.RetryStrategy
    monkeypatch.setattr(strategy, "sleep", lambda _self: None)


@pytest.mark.usefixtures("swift")
def test_an_expired_token_is_renewed_unseen(served):
    served.reddit.faults.append(("info", EXPIRED))
    assert client(served).get("api/info", {"id": "t3_talk"})["data"]["children"]
    assert served.tokens == 2


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (EXPIRED, "TOKEN_EXPIRED"),
        ((401, {}, b""), "TOKEN_EXPIRED"),
        (BLOCKED, "NETWORK_BLOCKED"),
        (private(), "SUBREDDIT_PRIVATE"),
        (private("quarantined"), "QUARANTINED"),
        (limited(Retry_After="9"), "RATE_LIMITED"),
        (
            limited(
                Retry_After=format_datetime(datetime.fromtimestamp(NOW // SECOND_US + 9, tz=UTC), usegmt=True)
            ),
            "RATE_LIMITED",
        ),
        ((403, {"WWW-Authenticate": "Basic realm=x"}, b""), "FAILING"),
        ((302, {"Location": "/subreddits/search"}, b""), "FAILING"),
        ((200, {}, b"<html>"), "FAILING"),
    ],
)
@pytest.mark.usefixtures("swift")
def test_each_refusal_comes_through_praw_with_its_state(reply, state, served):
    served.reddit.always["hot"] = reply
    with pytest.raises(Refused) as refused:
        client(served).get("r/wallstreetbets/hot", {"limit": 1})
    assert refused.value.state is RedditState[state]
    if state == "RATE_LIMITED":
        assert refused.value.wait_s == 9


@pytest.mark.parametrize(
    ("login", "state"),
    [
        ((401, {}, b'{"message": "Unauthorized", "error": 401}'), "NO_APP"),
        ((200, {}, b'{"error": "unsupported_grant_type"}'), "NO_APP"),
        (BLOCKED, "NETWORK_BLOCKED"),
        (limited(Retry_After="9"), "RATE_LIMITED"),
        (UNAVAILABLE, "FAILING"),
        ((200, {}, b"<html>log in to this network"), "FAILING"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "FAILING"),
    ],
)
def test_each_refused_login_comes_through_praw_with_its_state(login, state, served):
    served.login = login
    with pytest.raises(Refused) as refused:
        client(served).get("r/wallstreetbets/hot", {"limit": 1})
    assert refused.value.state is RedditState[state]
    assert SECRET not in str(refused.value) and refused.value.__cause__ is None


@pytest.mark.usefixtures("swift")
def test_a_server_that_is_away_is_failing(served):
    with pytest.raises(Refused) as refused:
        client(served, api_url="http://127.0.0.1:9").get("r/wallstreetbets/hot", {"limit": 1})
    assert refused.value.state is RedditState.FAILING and refused.value.is_passing


def test_praw_does_not_sleep_for_reddits_window_and_the_gate_hears_of_it(served, monkeypatch):
    def no_sleep(seconds):
        raise AssertionError(f"praw sleeps {seconds} s")

    monkeypatch.setattr(import_module(module.PRAWCORE).rate_limit.time, "sleep", no_sleep)
    served.reddit.every = lambda: {
        "x-ratelimit-remaining": "0", "x-ratelimit-used": "600", "x-ratelimit-reset": "300"
    }  # fmt: skip
    gate = Told()
    reading = client(served, gate)
    for _ in range(2):
        reading.get("api/info", {"id": "t3_talk"})
    assert gate.answers[-1].headers["x-ratelimit-reset"] == "300"


def test_an_answer_that_unpacks_to_too_much_is_left(served, monkeypatch):
    monkeypatch.setattr(module, "_ANSWER_LIMIT", 1_000_000)
    packed = gzip.compress(b" " * 50_000_000)
    served.reddit.always["hot"] = (200, {"Content-Encoding": "gzip"}, packed)
    with pytest.raises(Refused, match="longer than 1000000 bytes") as refused:
        client(served).get("r/wallstreetbets/hot", {"limit": 1})
    assert refused.value.state is RedditState.FAILING and len(packed) < 100_000


def test_an_answer_that_drips_is_left(served, monkeypatch):
    monkeypatch.setattr(module, "_ANSWER_S", -1.0)
    with pytest.raises(Refused, match="takes longer than"):
        client(served).get("r/wallstreetbets/hot", {"limit": 1})


def test_a_spent_budget_passes_through_praw(served):
    with pytest.raises(BudgetSpent):
        client(served, Told(most=1)).get("api/info", {"id": "t3_talk"})


def test_the_job_reads_a_thread_through_praw(served, tmp_path):
    hours, sink = Hours(), Written()
    report = Job(
        Reddit(),
        lambda gate: PrawClient(app(served), gate, hours),
        sink,
        AUTHORS,
        tmp_path / "state.json",
        lease=Free(),
        clock=hours,
        monotonic=hours.monotonic,
        sleep=hours.sleep,
    ).run()
    assert report.state is RedditState.OK and len(sink.bodies) == 151
    assert report.requests == len(served.requests) == 6
    assert SECRET not in (tmp_path / "state.json").read_text()


def test_without_credentials_nothing_is_asked_and_nothing_is_imported(served, monkeypatch):
    monkeypatch.setattr(module, "import_module", None)
    for name in ("client_id", "client_secret"):
        with pytest.raises(Refused, match=f"REDDIT_{name.upper()} is not set") as refused:
            client(served, **{name: Secret(f"REDDIT_{name.upper()}")})
        assert refused.value.state is RedditState.NO_APP
    assert not served.requests


def test_without_praw_the_extra_is_named(served, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(Fatal, match=r"pip install 'tapedeck\[reddit\]'"):
        client(served)


@pytest.mark.parametrize(
    "url",
    [
        "http://oauth.reddit.com",
        "https://reddit.com.evil.example",
        "https://evilreddit.com",
        "http://10.0.0.1",
        "",
    ],
)
def test_credentials_go_to_reddit_or_to_this_machine_alone(url, served):
    with pytest.raises(Fatal, match="not Reddit's"):
        client(served, api_url=url)


@pytest.mark.parametrize("agent", ["short", "two\nlines of it", "x" * 300])
def test_a_user_agent_that_is_none_is_refused(agent, served):
    with pytest.raises(Fatal, match="user agent"):
        client(served, user_agent=agent)


def test_app_and_salt_come_from_variables_and_are_not_shown():
    found = app_of(
        {"REDDIT_CLIENT_ID": "id", "REDDIT_CLIENT_SECRET": SECRET, "REDDIT_USER_AGENT": "an agent"}
    )
    assert (found.client_id.read(), found.client_secret.read(), found.user_agent) == (
        "id",
        SECRET,
        "an agent",
    )
    assert SECRET not in repr(found) and not app_of({}).client_id and "tapedeck" in app_of({}).user_agent
    assert authors_of({"REDDIT_AUTHOR_SALT": SALT}).hash_of("x") == AUTHORS.hash_of("x")
    with pytest.raises(Fatal, match="REDDIT_AUTHOR_SALT"):
        authors_of({})
