"""Messages name what helps where they are read, in words of people."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tapedeck.connectors.kafka import identity
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres import sink as sinks
from tapedeck.connectors.postgres.sink import Sink, SinkSettings
from tapedeck.connectors.tapes.marks import Follower
from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.tape.cli.controls import scope_of
from tapedeck.topics.catalogue import Layout
from tests.support.cases import REPOSITORY

OF_A_STACK = ("`tape up", "`tape down", "`tape logs")
ROOMS = ("schemas", "topics", "streams", "agents", "connectors")
SAYS_WHERE = {"then `tape up --servers-only` if the broker belongs to the stack"}


def literals(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("room", ROOMS)
def test_what_runs_without_a_local_stack_names_no_command_of_one(room: str) -> None:
    found = [
        (path.name, text)
        for path in sorted((REPOSITORY / room).rglob("*.py"))
        for text in literals(path)
        if any(word in text for word in OF_A_STACK) and not any(known in text for known in SAYS_WHERE)
    ]
    assert [each for each in found if "scale the workers to 0" not in each[1]] == []


def test_a_pipeline_that_stands_still_is_told_with_a_time_and_not_in_microseconds() -> None:
    follower = Follower.__new__(Follower)
    follower._marks = {("features", 0): None}
    follower._beats, follower._patience_s, follower._meanwhile = {}, 0.0, lambda: None
    times = iter((0.0, 1.0, 2.0))
    follower._monotonic = lambda: next(times)
    follower._consumer = SimpleNamespace(poll=lambda wait: None)  # type: ignore[assignment]  # all that is asked
    with pytest.raises(Fatal) as refused:
        follower.wait_for(1_771_338_600_000_000)
    assert "features/0 has no watermark" in str(refused.value)
    assert "2026-02-17T14:30:00Z" in str(refused.value) and "1771338600" not in str(refused.value)
    assert "tape logs" not in str(refused.value)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"foo": {}}, "there are: accounts, bars"),
        ({"bars": {"rollbak_min": 16}}, "the nearest valid key is 'rollback_min'"),
        ({"acounts": []}, "the nearest valid key is 'accounts'"),
        ({"bars": {"zzz": 16}}, "there are: feed, grace_s, max_return_gap_min"),
    ],
)
def test_a_key_is_named_as_the_nearest_where_it_is_near_and_else_all_are(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        from_dict(given)
    assert said in str(refused.value)


def test_an_account_is_named_as_the_nearest_where_it_is_near_and_else_all_are() -> None:
    config = Config(accounts=EXAMPLE_ACCOUNTS)
    with pytest.raises(Fatal, match="did you mean 'tiny'"):
        scope_of("tinny", config)
    with pytest.raises(Fatal, match="there are: large, tiny, all"):
        scope_of("foo", config)


def test_a_sink_that_expects_another_cluster_touches_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "open_consumer", lambda cluster, name: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(sinks, "demand_rights", lambda cluster, rights: None)
    monkeypatch.setattr(sinks, "check_topics", lambda consumer, layout, topics: "another")

    def connect(*_: object) -> None:
        raise AssertionError("the database was opened")

    monkeypatch.setattr(sinks, "connect", connect)
    cluster = Cluster("127.0.0.1:1", Layout(), expected_id="mine")
    what = SinkSettings(cluster=cluster, url="postgresql://nowhere/x", topics=("bars",))
    sink = Sink(what, None, None, None)  # type: ignore[arg-type]  # nothing of them is reached
    with (
        pytest.raises(Fatal, match=r"another Kafka cluster answers.*KAFKA_CLUSTER_ID"),
        sink._session(),
    ):
        pass


def test_the_id_of_the_cluster_that_answers_is_compared_with_the_one_that_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(identity, "ask_cluster_id", lambda cluster, timeout_s: "another")
    told = {"KAFKA_CLUSTER_ID": "mine"}
    with pytest.raises(Fatal, match="its cluster id is not mine; got 'another'"):
        identity.cluster_id_of(Cluster.described("127.0.0.1:1", "", told))
    assert identity.cluster_id_of(Cluster.described("127.0.0.1:1", "", {})) == "another"
