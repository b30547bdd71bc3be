"""A recovery, and the view of the newest bars, wait for a broker that is away; no clock ends them."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.tables.recovery import Recovery, ServiceStopped
from faust.types import TP

from tapedeck.agents import consumer as live
from tapedeck.agents import newest, patience
from tapedeck.agents.app import new_app
from tapedeck.agents.newest import NewestView
from tapedeck.agents.settings import Settings
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.merge import Part

CHANGELOG = TP("features.changelog", 0)


class Leaderless:
    """A log whose partitions have no leader for the first ``fails`` questions, as after a broker's freeze."""

    def __init__(self, fails: int) -> None:
        self.fails, self.failed = fails, 0

    def __call__(self, cluster: Cluster) -> "Leaderless":
        return self

    def __enter__(self) -> "Leaderless":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _ask(self) -> None:
        if self.failed < self.fails:
            self.failed += 1
            raise Retry("no leader")

    def log_ends(self, names: Iterable[str]) -> dict[Part, int]:
        self._ask()
        return {(name, 0): 9 for name in names}

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        self._ask()
        return {(name, 0): (3, 9) for name in names}

    def look(self, part: Part, start: int, end: int) -> Any:
        self._ask()
        return SimpleNamespace(messages=[SimpleNamespace(offset=7)] if start <= 7 < end else [])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.0)


def consumer_thread() -> Any:
    thread = cast(Any, live.CommittedThread.__new__(live.CommittedThread))
    thread.app = SimpleNamespace(cluster=Cluster("nowhere:9"))
    return thread


@pytest.mark.parametrize("fails", [0, 1, 5])
def test_a_recovery_waits_for_partitions_without_a_leader(
    monkeypatch: pytest.MonkeyPatch, at_once: None, fails: int, caplog: pytest.LogCaptureFixture
) -> None:
    log = Leaderless(fails)
    monkeypatch.setattr(live, "KafkaSource", log)
    assert asyncio.run(consumer_thread().highwaters(CHANGELOG)) == {CHANGELOG: 8}, "behind the last record"
    assert log.failed == fails
    assert caplog.text.count("the recovery waits: no leader") == fails


def test_the_first_offsets_are_waited_for_too(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    log = Leaderless(2)
    monkeypatch.setattr(live, "KafkaSource", log)
    assert asyncio.run(consumer_thread().earliest_offsets(CHANGELOG)) == {CHANGELOG: 3}
    assert log.failed == 2


async def answers_of(recovery: Recovery) -> list[str]:
    """What was answered when the wait for it is over: the question takes ten times its limit."""
    answers = list[str]()

    async def question() -> None:
        await asyncio.sleep(0.1)
        answers.append("the ends")

    await recovery._wait(question(), timeout=0.01)
    return answers


def test_a_question_that_takes_longer_than_its_limit_does_not_end_the_recovery(tmp_path: Path) -> None:
    async def both() -> list[str]:
        settings = Settings(Cluster("nowhere:9"), tmp_path / "tape.toml", tmp_path)
        app = new_app("group", settings, "stage", "partition")
        with pytest.raises(ServiceStopped):
            await answers_of(Recovery(app, app.tables))  # Faust's own: without this fault ours need not be
        return await answers_of(app.tables.recovery)

    assert asyncio.run(both()) == ["the ends"]


def test_the_view_of_the_newest_waits_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def ends(cluster: Cluster, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        asked.append("asked")
        if len(asked) < 3:
            raise Retry("no leader")
        return {("bars", 0): (0, 1000)}

    monkeypatch.setattr(newest, "ends_of", ends)
    monkeypatch.setattr(newest, "RETRY_S", 0.0)
    view = cast(Any, NewestView.__new__(NewestView))
    cluster = Cluster("nowhere:9")
    view._cluster, view._layout, view._open = cluster, cluster.layout, True
    assert [(each.topic, each.offset) for each in view._starts()] == [("bars", 700)]
    assert len(asked) == 3


def test_the_view_of_the_newest_ends_the_process_where_it_cannot_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = list[Exception]()
    monkeypatch.setattr(newest, "end_process", ended.append)
    monkeypatch.setattr(
        newest, "new_consumer", lambda *_, **__: SimpleNamespace(assign=None, close=lambda: None)
    )

    def gone(cluster: Cluster, names: Iterable[str]) -> Any:
        raise Fatal("topic bars was deleted")

    monkeypatch.setattr(newest, "ends_of", gone)
    NewestView(Cluster("nowhere:9"))._thread.join(5)
    assert [str(each) for each in ended] == ["topic bars was deleted"]
