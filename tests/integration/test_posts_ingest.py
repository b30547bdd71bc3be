"""`tape ingest posts` on a broker: a post, its deletion, a lease, and the erasure of what an audit keeps."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tapedeck.agents.settings import Settings
from tapedeck.connectors.clock import RunningClock, SystemClock
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.store import Store, Written
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.ingest import posts_live
from tapedeck.tape.status.lines import stages
from tapedeck.tape.status.standings import edges
from tests.conftest import Broker, Database
from tests.support.cases import REPOSITORY
from tests.support.live import Workers, eventually
from tests.support.reddit import SALT, PlainClient, SmallReddit, reddit_with

pytestmark = pytest.mark.integration


@contextmanager
def ingesting(settings: Settings, clock: RunningClock) -> Iterator[threading.Event]:
    """The process in a thread. Yields what stops it; it must end without an error."""
    stop, ended, failed = threading.Event(), threading.Event(), list[BaseException]()

    def main() -> None:
        try:
            posts_live.run(settings, stop, started=lambda: None, version="1", clock=clock)
        except BaseException as error:
            failed.append(error)
        ended.set()

    threading.Thread(target=main, daemon=True).start()
    yield stop
    stop.set()
    assert ended.wait(20)
    assert failed == []


@pytest.fixture
def reddit(monkeypatch: pytest.MonkeyPatch) -> SmallReddit:
    """A small Reddit in place of praw."""
    reddit = reddit_with()

    def client(app: object, gate: Any, clock: Any) -> PlainClient:
        return PlainClient(reddit, gate, clock)

    monkeypatch.setattr(posts_live, "PrawClient", client)
    monkeypatch.setattr(posts_live, "require_praw", lambda: None)
    monkeypatch.setenv("REDDIT_AUTHOR_SALT", SALT)
    return reddit


def test_a_post_and_its_deletion_are_written_and_an_operator_erases_it_in_the_audit_store(
    kafka: Broker, postgres: Database, prefix: str, tmp_path: Path, reddit: SmallReddit
) -> None:
    upgrade(postgres.url, prefix)
    workers = Workers(kafka.bootstrap, prefix, tmp_path, Config())
    cluster = workers.cluster
    settings = Settings(cluster, workers.config_path, tmp_path, postgres.url)
    now = SystemClock().now()
    clock = RunningClock(now, 1.0)

    def posts() -> list[dict[str, Any]]:
        return [decode("posts", m.value) for m in read_topic(cluster, "posts") if m.value is not None]

    with ingesting(settings, clock):
        eventually(lambda: len(posts()) == 5, "the first run")
        eventually(lambda: edges(stages(cluster), TOPOLOGY)[0].worst is not None, "its state")
        (line,) = edges(stages(cluster), TOPOLOGY)
        assert (line.name, line.worst and line.worst.state) == ("ingest-posts", "OK")
    reddit.change("t3_best", removed_by_category="deleted", selftext="[deleted]", author="[deleted]")
    clock.advance(now + 16 * MINUTE_US)
    with ingesting(settings, clock):
        eventually(lambda: [b["native_id"] for b in posts() if b["removed"]] == ["t3_best"], "the deletion")
        eventually(
            lambda: len([m for m in read_topic(cluster, "posts") if m.value is None]) > 10, "the minutes"
        )
    log = read_topic(cluster, "posts")
    labels = [label for each in log if (label := readable_label(each)) is not None]
    assert readable_label(log[0]) is not None
    assert labels == list(range(labels[0], labels[-1] + 1, MINUTE_US))

    found = [m for m in log if m.value is not None]
    with connect(postgres.url, prefix) as connection, connection.transaction():
        Store(connection).write(maps(["posts"])["posts"], found, Written())
    kept = "SELECT payload->>'title', payload->>'text', payload->>'author_hash' FROM t_posts"
    (sql,) = re.findall(r"```sql\n(.*?)```", (REPOSITORY / "docs" / "reddit.md").read_text(), re.DOTALL)
    with connect(postgres.url, prefix, role=None) as connection:
        before = connection.execute(f"{kept} WHERE native_id = 't3_best' ORDER BY updated_at").fetchall()
        assert before[0][:2] == ("The best of the day", "Gains") and before[0][2]
        assert before[1] == ("", "", None)
        others = connection.execute(f"{kept} WHERE native_id <> 't3_best' ORDER BY event_id").fetchall()
        for _ in range(2):
            connection.execute(sql)
        after = connection.execute(f"{kept} WHERE native_id = 't3_best' ORDER BY updated_at").fetchall()
        assert after == [("", "", None), ("", "", None)]
        unchanged = connection.execute(f"{kept} WHERE native_id <> 't3_best' ORDER BY event_id").fetchall()
        assert unchanged == others and all(row[2] for row in others)
