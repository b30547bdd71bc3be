"""`tape up --live`: what it needs is asked before anything starts, and what its worker gets."""

from pathlib import Path

import pytest

from tapedeck.connectors.reddit import client
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.groups import Bars
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.local.live import live_data
from tapedeck.tape.local.plan import workers
from tapedeck.tape.local.stack import LocalStack

CONFIG = Config(accounts=EXAMPLE_ACCOUNTS)
KEYS = {"APCA_API_KEY_ID": "k", "APCA_API_SECRET_KEY": "s"}


def test_keys_of_alpaca_are_named_by_their_variables_and_never_copied() -> None:
    bars, news = live_data(CONFIG, KEYS).workers("http://127.0.0.1:1")
    assert (bars.name, *bars.argv[3:]) == ("ingest-bars", "ingest", "bars")
    assert (news.name, *news.argv[3:]) == ("ingest-news", "ingest", "news")
    for worker in (bars, news):
        assert worker.login == "ingest" and worker.says_ready
        assert worker.env == {
            "TAPE_DATA_URL": "https://data.alpaca.markets",
            "TAPE_DATA_KEY_REF": "APCA_API_KEY_ID",
            "TAPE_DATA_SECRET_REF": "APCA_API_SECRET_KEY",
        }


REDDIT = {"REDDIT_CLIENT_ID": "id", "REDDIT_CLIENT_SECRET": "hush", "REDDIT_AUTHOR_SALT": "0123456789abcdef"}


def test_posts_are_read_where_reddits_app_and_the_salt_are_set_and_no_secret_is_copied() -> None:
    live = live_data(CONFIG, KEYS | REDDIT)
    *_, posts = live.workers("http://127.0.0.1:1")
    assert live.no_posts is None
    assert (posts.name, *posts.argv[3:]) == ("ingest-posts", "ingest", "posts")
    assert (posts.env, posts.login, posts.says_ready) == ({}, "ingest", True)


@pytest.mark.parametrize(
    ("config", "named", "words"),
    [
        (CONFIG, KEYS, "REDDIT_CLIENT_ID is not set"),
        (CONFIG, KEYS | REDDIT | {"REDDIT_CLIENT_SECRET": ""}, "REDDIT_CLIENT_SECRET is not set"),
        (CONFIG, KEYS | REDDIT | {"REDDIT_AUTHOR_SALT": ""}, "salt of the authors' hashes is not set"),
        (CONFIG, KEYS | REDDIT | {"REDDIT_AUTHOR_SALT": "short"}, "fewer than 16 characters"),
        (CONFIG, KEYS | REDDIT | {"REDDIT_CLIENT_ID_FILE": "/etc/id"}, "are both set"),
        (
            CONFIG,
            KEYS | REDDIT | {"REDDIT_CLIENT_ID": "", "REDDIT_CLIENT_ID_FILE": "/not/there"},
            "cannot be read",
        ),
        (Config(reddit=Reddit(subreddits=())), KEYS | REDDIT, "reddit.subreddits"),
        (CONFIG, REDDIT | {"TAPE_DATA_URL": "embedded"}, "a time of its own"),
    ],
)
def test_where_posts_cannot_be_read_the_reason_is_told_and_the_rest_starts(
    config: Config, named: dict[str, str], words: str
) -> None:
    live = live_data(config, named)
    assert [worker.name for worker in live.workers("http://127.0.0.1:1")] == ["ingest-bars", "ingest-news"]
    assert words in (live.no_posts or "")
    assert "hush" not in (live.no_posts or "")


def test_without_praw_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PRAW", "no_such_package")
    assert "tapedeck[reddit]" in (live_data(CONFIG, KEYS | REDDIT).no_posts or "")


def test_missing_key_stops_the_start_before_there_is_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TAPE_DATA_URL", "TAPE_DATA_KEY_REF", "TAPE_DATA_SECRET_REF", "APCA_API_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    stack = LocalStack(tmp_path / "stack", live=True)
    with pytest.raises(Fatal, match=r"needs keys.*APCA_API_KEY_ID") as refused, stack:
        pass
    assert "TAPE_DATA_URL=embedded" in (refused.value.remedy or "")
    assert not (tmp_path / "stack" / "kafka").exists() and not (tmp_path / "stack" / "postgres").exists()


def test_keys_may_be_files_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    (tmp_path / "key").chmod(0o600)
    named = {"TAPE_DATA_KEY_REF": f"{tmp_path}/key", "TAPE_DATA_SECRET_REF": f"{tmp_path}/secret"}
    with pytest.raises(Fatal, match=f"needs keys.*{tmp_path}/secret"):
        live_data(CONFIG, named)


def test_embedded_data_comes_from_the_exchange_of_the_stack_whose_time_runs() -> None:
    live = live_data(CONFIG, {"TAPE_DATA_URL": "embedded"})
    worker, news = live.workers("http://127.0.0.1:7")
    assert worker.env == news.env, "news has the same server, and so the same time"
    assert worker.env["TAPE_DATA_URL"] == "http://127.0.0.1:7"
    assert worker.env[worker.env["TAPE_DATA_KEY_REF"]] == f"paper-{EXAMPLE_ACCOUNTS[0].account_id}"
    plain, running = (workers(TOPOLOGY, CONFIG, runs=runs)[0] for runs in (False, live.is_embedded))
    assert plain.argv[3:] == ("exchange",) and running.argv[3:] == ("exchange", "--run")


@pytest.mark.parametrize(
    ("config", "named", "words"),
    [
        (CONFIG, KEYS | {"TAPE_DATA_URL": "http://data.example"}, "to Alpaca, encrypted"),
        (Config(bars=Bars(feed="otc")), KEYS, "no stream of stock bars of this feed"),
        (Config(), {"TAPE_DATA_URL": "embedded"}, "there is none"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_at_once(config: Config, named: dict[str, str], words: str) -> None:
    with pytest.raises(Fatal, match=words):
        live_data(config, named)
