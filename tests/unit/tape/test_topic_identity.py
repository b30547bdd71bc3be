"""What a worker's state must fit, what recreating a topic takes, and what a rebuild says of another topic."""

from pathlib import Path
from typing import Any

import pytest
import rocksdict
from faust.stores.rocksdb import Store as RocksStore

from tapedeck.agents import topic_watch
from tapedeck.agents.identity import other_disks, refuse_lost
from tapedeck.agents.table import CHANGELOG_ID
from tapedeck.agents.topic_watch import TopicWatch, topics_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import Described
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.frame import OWN, pack
from tapedeck.streams.logs import refuse_beyond, refuse_other_topics
from tapedeck.streams.protocol import Message
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import headers_for
from tapedeck.tape.rebuild.rest import at_rest
from tapedeck.tape.recreate import plan_of
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

OLD, NEW = b"o" * 16, b"n" * 16
FEATURES, ACCOUNT = TOPOLOGY.stage("features"), TOPOLOGY.stage("account")
LAYOUT = Layout("p")


# a worker ----------------------------------------------------------------------------------------------


def disk(folder: Path, offset: int, changelog_id: bytes = b"") -> Path:
    db = rocksdict.Rdict(str(folder), options=rocksdict.Options(raw_mode=True))
    db[RocksStore.offset_key] = str(offset).encode()
    if changelog_id:
        db[CHANGELOG_ID] = changelog_id
    db.close()
    return folder


@pytest.mark.parametrize(
    "changelog_id, end, emptied",
    [(OLD, 10, True), (NEW, 10, False), (b"", 10, False), (b"", 7, True), (NEW, 0, True)],
    ids=["another changelog", "this one", "id unknown", "unknown and ahead", "this one, ahead"],
)
def test_a_disk_is_emptied_where_it_is_no_copy_of_the_changelog(
    tmp_path: Path, changelog_id: bytes, end: int, emptied: bool
) -> None:
    kept = {2: disk(tmp_path / "db", 7, changelog_id)}
    ids = {FEATURES.changelog: NEW}
    assert other_disks(FEATURES, kept, ids, {2: end}, progress=False) == [2] * emptied


def test_a_disk_ahead_of_its_changelog_stops_a_stage_whose_group_has_gone_on(tmp_path: Path) -> None:
    kept = {2: disk(tmp_path / "db", 7)}
    with pytest.raises(Fatal, match=r"features/2 is at offset 7 .* ends at 3") as caught:
        other_disks(FEATURES, kept, {}, {2: 3}, progress=True)
    assert "`tape rebuild features --apply`" in caught.value.remedy


def test_values_of_the_topics_that_are_there_or_of_unknown_ones_are_fine() -> None:
    values = {(0, b"A"): pack(0, {(0, 0): 4}, b"", {0: OLD, OWN: NEW}), (0, b"B"): pack(0, {(0, 0): 5}, b"")}
    refuse_other_topics(FEATURES, values, {"bars": OLD, FEATURES.changelog: NEW})
    refuse_other_topics(FEATURES, values, {})
    refuse_beyond(FEATURES, values, {("bars", 0): 6}, {("bars", 0): (2, 6)})


@pytest.mark.parametrize("cursor, committed", [(6, 3), (3, 7)], ids=["a cursor", "a committed offset"])
def test_what_lies_beyond_the_end_of_its_log_stops_with_the_remedy(cursor: int, committed: int) -> None:
    values = {(0, b"A"): pack(0, {(0, 0): cursor}, b""), (0, WATERMARK_KEY): pack(0, {(0, 0): 9_999}, b"")}
    with pytest.raises(
        Fatal, match="offset 7 of bars/0, which ends at 6: the topic was recreated or truncated"
    ) as caught:
        refuse_beyond(FEATURES, values, {("bars", 0): committed}, {("bars", 0): (0, 6)})
    assert "`tape topics --recreate features.changelog`" in caught.value.remedy


def test_an_empty_table_is_fine_until_its_group_has_passed_what_leaves_a_value() -> None:
    bad = Message("bars", 0, 3, 0, b"A", b"?", ())
    refuse_lost(FEATURES, [bad], None)
    refuse_lost(ACCOUNT, [bad._replace(topic="account_inbox"), bad], b"A")
    mark = Message("bars", 0, 4, 0, WATERMARK_KEY, None, tuple(headers_for(60_000_000)))
    with pytest.raises(Fatal, match="has no state, but its group has passed offset 4 of bars/0"):
        refuse_lost(FEATURES, [bad, mark], None)


class Broker:
    """Answers ``describe_ids`` with what ``topics`` holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = topics_of([FEATURES])
        self.topics: dict[str, Described | None] = {
            name: Described(OLD, LAYOUT.partitions(name)) for name in names
        }
        monkeypatch.setattr(topic_watch, "describe_ids", lambda *_: dict(self.topics))
        self.watch = TopicWatch(Cluster("x:1", LAYOUT), [FEATURES])


def test_a_watch_tells_the_ids_and_is_content_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch)
    assert set(broker.watch.ids) == {"bars", "features", "bars.late", "features.changelog"}
    broker.watch.look()
    broker.topics["bars"] = Described(b"", 4)
    broker.watch.look()


@pytest.mark.parametrize(
    "name, now, what, remedy",
    [
        ("bars", None, "p.bars was deleted", "tape topics --recreate bars`"),
        ("bars", Described(NEW, 4), "p.bars was recreated", "tape topics --recreate features.changelog`"),
        (
            "bars",
            Described(OLD, 6),
            "p.bars does not have the layout's 4 partitions",
            "tape topics --recreate bars`",
        ),
        ("features", Described(NEW, 4), "p.features was recreated", "tape topics --recreate features`"),
        (
            "features.changelog",
            Described(NEW, 4),
            "changelog was recreated",
            "tape rebuild features --apply`",
        ),
    ],
)
def test_a_watch_names_the_topic_that_changed_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, name: str, now: Described | None, what: str, remedy: str
) -> None:
    broker = Broker(monkeypatch)
    broker.topics[name] = now
    with pytest.raises(Fatal, match=what) as caught:
        broker.watch.look()
    assert remedy in caught.value.remedy


def test_a_broker_that_comes_back_with_a_topic_of_one_partition_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(monkeypatch)
    broker.topics["bars"] = Described(NEW, 1)
    with pytest.raises(Fatal, match="does not have the layout's 4 partitions"):
        TopicWatch(Cluster("x:1", LAYOUT), [FEATURES])


# recreating --------------------------------------------------------------------------------------------


def test_recreating_a_source_takes_the_changelogs_of_its_readers_and_sets_them_back() -> None:
    plan = plan_of(TOPOLOGY, "bars", LAYOUT, ["a1"])
    assert plan.topics == ("bars", "features.changelog")
    assert plan.groups == {"p-features": ("bars",)}


def test_recreating_what_a_stage_writes_has_it_written_again() -> None:
    plan = plan_of(TOPOLOGY, "features", LAYOUT, [])
    assert plan.topics == ("features", "features.changelog", "scores.changelog", "signals.changelog")
    assert plan.groups == {
        "p-features": ("bars",), "p-scores": ("features", "sentiment_windows"),
        "p-signals": ("features", "memberships", "sentiment_windows"),
    }  # fmt: skip


def test_recreating_a_join_or_a_changelog_starts_its_stage_over_from_all_its_inputs() -> None:
    assert plan_of(TOPOLOGY, "universe", LAYOUT, []).groups == {"p-watchlist": ("scores", "universe")}
    plan = plan_of(TOPOLOGY, "signals.changelog", LAYOUT, ["a1"])
    inputs = ("features", "memberships", "sentiment_windows")
    assert (plan.topics, plan.groups) == (("signals.changelog",), {"p-signals": inputs})


def test_an_account_starts_over_with_its_inbox_only_and_routes_what_is_new() -> None:
    inbox = plan_of(TOPOLOGY, "account_inbox", LAYOUT, ["a1", "a2"])
    assert inbox.topics == ("account_inbox", "account.changelog")
    assert inbox.groups == {"p-dispatch-a1": ("account_inbox",), "p-dispatch-a2": ("account_inbox",)}
    assert plan_of(TOPOLOGY, "controls", LAYOUT, ["a1"]).groups == {"p-dispatch-a1": ("controls",)}
    assert plan_of(TOPOLOGY, "orders", LAYOUT, ["a1"]).topics == ("orders",)
    with pytest.raises(Fatal, match="ask its broker for everything again") as caught:
        plan_of(TOPOLOGY, "account.changelog", LAYOUT, ["a1"])
    assert "`tape rebuild account --apply`" in caught.value.remedy


@pytest.mark.parametrize("name", [spec.changelog for spec in TOPOLOGY if spec is not ACCOUNT])
def test_the_remedy_of_every_stage_deletes_no_record_of_its_inputs(name: str) -> None:
    assert plan_of(TOPOLOGY, name, LAYOUT, []).topics == (name,)


# a rebuild ---------------------------------------------------------------------------------------------


class Groups:
    def members(self, group: str) -> list[str]:
        return []

    def committed(self, group: str, parts: Any) -> dict[Any, int | None]:
        return dict.fromkeys(parts, 2)


def source(ids: dict[str, bytes], value: bytes, bars: int) -> MemorySource:
    marks = (
        Message("bars", 0, at, 0, WATERMARK_KEY, None, tuple(headers_for(60_000_000 * at)))
        for at in range(bars)
    )
    return MemorySource(LAYOUT, [*marks, Message("features.changelog", 0, 0, 0, b"A", value, ())], ids=ids)


@pytest.mark.parametrize(
    "ids, bars", [({"bars": NEW}, 5), ({}, 1)], ids=["another id", "no ids, a log that ends before"]
)
def test_a_rebuild_says_that_a_topic_was_made_anew_and_not_that_a_worker_died(
    ids: dict[str, bytes], bars: int
) -> None:
    value = pack(0, {(0, 0): 1}, b"x", {0: OLD})
    with pytest.raises(Fatal, match="recreated") as caught:
        at_rest(TaskId(TOPOLOGY.stage("features"), 0), source(ids, value, bars), Groups(), "p-features")
    assert "`tape topics --recreate features.changelog`" in caught.value.remedy
