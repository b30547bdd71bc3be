"""`tape ingest posts` with fakes: minutes, schedule, states, a stop in the middle, what ends it."""

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.dispatch.lease import LeaseHeld, LeaseShort
from tapedeck.connectors.news.minutes import Minutes
from tapedeck.connectors.reddit import client
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.ingest.posts import Ended, JobThread, PostsIngest, PostsLog
from tapedeck.topics.catalogue import Layout
from tests.support.memory_writer import Written
from tests.support.reddit import EXPIRED, NOW, Hours, SmallReddit, job, private, reddit_with

LAST_US = NOW // MINUTE_US * MINUTE_US - MINUTE_US
LABEL = LAST_US if NOW % MINUTE_US >= 3 * SECOND_US else LAST_US - MINUTE_US


class World:
    """The process over a small Reddit, its log in memory."""

    def __init__(self, folder: Path, reddit: SmallReddit | None = None, **options: Any) -> None:
        self.hours, self.written = Hours(), Written()
        self.reddit = reddit or reddit_with()
        self.looked: set[int] = set()
        self.log = PostsLog(self.written, Layout(), self.hours, **options)
        self.ended = Ended()
        made = job(self.reddit, self.log, folder / "reddit.json", self.hours)  # type: ignore[arg-type]
        self.thread = JobThread(made, self.hours, self.ended)
        self.process = PostsIngest(
            self.log, Minutes(None), self.hours, self.thread,
            about={"code_version": "1", "config_digest": "d"}, alone=self.alone,
            monotonic=self.hours.monotonic,
        )  # fmt: skip

    def alone(self, marked: Collection[int]) -> None:
        self.looked = set(marked)

    def beat(self) -> dict[str, Any]:
        """The next heartbeat."""
        self.hours.pass_minutes(2 / 60)
        self.process.tick()
        return decode("heartbeats", self.written.wires[-1].value)


def test_a_new_topic_begins_with_a_watermark_and_each_minute_ends_while_the_job_waits(tmp_path) -> None:
    world = World(tmp_path)
    world.process.begin()
    assert world.written.said == [("~posts", LABEL)]
    world.thread.turn()
    assert len(world.written.of("posts")) == 5
    for _ in range(3):
        world.hours.pass_minutes(1)
        world.process.tick()
    assert world.written.of("~posts") == [LABEL + n * MINUTE_US for n in range(4)]
    assert world.written.flushed == len(world.written.said)
    assert world.looked == set(world.written.of("~posts")), "another writer of them would be noticed"


def test_the_job_runs_when_it_is_due_and_no_sooner(tmp_path) -> None:
    world = World(tmp_path)
    world.thread.turn()
    asked = len(world.reddit.asked)
    assert world.thread.turn() == 1.0
    assert len(world.reddit.asked) == asked
    world.hours.pass_minutes(15)
    assert world.thread.turn() == 0.0
    assert len(world.reddit.asked) > asked
    assert world.thread.runs == 2


def test_the_heartbeat_tells_what_came_and_how_each_subreddit_fares(tmp_path) -> None:
    world = World(tmp_path)
    world.process.begin()
    first = world.beat()
    assert (first["stage"], first["records"], first["counts"]["RUNS"]) == ("ingest-posts", 0, 0)
    world.thread.turn()
    world.beat()
    second = world.beat()
    assert second["records"] == second["counts"]["OUT:posts"] == second["counts"]["ACCEPTED"] == 5
    assert second["counts"]["OK:wallstreetbets"] >= 1
    assert second["last_watermark"] == LABEL
    assert second["lag"] == 0
    world.hours.pass_minutes(20)
    assert world.beat()["lag"] >= 4, "minutes for which a run is due"


@pytest.mark.parametrize(
    "reply, state",
    [(private(), "SUBREDDIT_PRIVATE"), (private("quarantined"), "QUARANTINED"), (EXPIRED, "TOKEN_EXPIRED")],
)
def test_a_refusal_is_a_state_that_the_log_tells_and_not_an_end(tmp_path, reply, state, caplog) -> None:
    world = World(tmp_path)
    world.reddit.always["r/wallstreetbets"] = reply
    world.thread.turn()
    assert f"{state}:wallstreetbets" in world.beat()["counts"]
    assert world.beat()["counts"][f"{state}:wallstreetbets"] == 2
    assert [record.message for record in caplog.records if state in record.message]
    world.reddit.always.clear()
    world.hours.pass_minutes(15)
    world.thread.turn()
    assert "OK:wallstreetbets" in world.beat()["counts"]


def eventually(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_stop_ends_a_run_that_waits_for_reddit(tmp_path) -> None:
    world = World(tmp_path)
    waits = threading.Event()

    def pause(seconds: float) -> None:
        waits.set()
        world.ended.pause(60)

    world.hours.sleep = pause  # type: ignore[method-assign]
    made = job(world.reddit, world.log, tmp_path / "reddit.json", world.hours)  # type: ignore[arg-type]
    thread = JobThread(made, world.hours, world.ended)
    thread.start()
    assert waits.wait(10)
    thread.close()
    assert not thread._thread.is_alive()
    assert thread.failed is None
    assert thread.runs == 0


class Scripted:
    """A job that raises in its turn."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def due_at(self) -> int:
        return 0

    def run(self) -> Any:
        raise self.errors.pop(0)


def test_what_ends_the_job_ends_the_process_and_a_held_lease_does_not(tmp_path) -> None:
    world = World(tmp_path)
    thread = JobThread(Scripted(LeaseHeld("it runs"), Retry("not acknowledged")), world.hours, world.ended)
    assert thread.turn() > 1
    thread.start()
    eventually(lambda: thread.failed is not None)
    process = PostsIngest(
        world.log, Minutes(None), world.hours, thread, about={"code_version": "1", "config_digest": "d"}
    )
    with pytest.raises(Retry, match="not acknowledged"):
        process.run(threading.Event())


def test_a_process_that_lost_its_lease_writes_nothing_more(tmp_path) -> None:
    lost: list[Exception] = []

    def still_ours() -> None:
        if lost:
            raise lost[0]

    world = World(tmp_path, still_ours=still_ours)
    world.process.begin()
    lost.append(LeaseShort("2 s left"))
    with pytest.raises(LeaseShort):
        world.thread.turn()
    world.hours.pass_minutes(1)
    with pytest.raises(LeaseShort):
        world.process.tick()
    assert world.written.said == [("~posts", LABEL)]


def test_a_run_that_did_not_end_in_time_writes_nothing_into_a_closed_log(tmp_path) -> None:
    world = World(tmp_path)
    world.log.close()
    with pytest.raises(Retry, match="no longer writes"):
        world.thread.turn()
    assert world.written.said == []


def test_the_missing_extra_is_named_with_what_installs_it(monkeypatch) -> None:
    monkeypatch.setattr(client, "PRAW", "no_such_package")
    with pytest.raises(Fatal) as caught:
        client.require_praw()
    assert caught.value.remedy == "pip install 'tapedeck[reddit]'"
