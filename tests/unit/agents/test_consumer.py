"""The consumer keeps Faust from losing messages between a fetch and a channel."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP
from intervaltree import IntervalTree
from pytest import LogCaptureFixture, MonkeyPatch

from tapedeck.agents.app import BUFFER, FETCHED, new_app
from tapedeck.agents.consumer import CommittedThread, TapeConsumer, Wanted
from tapedeck.agents.settings import Settings
from tapedeck.connectors.kafka.cluster import Cluster

BARS, STATE = TP("bars", 0), TP("features.changelog", 0)


def consumer(**fields: Any) -> Any:
    """A TapeConsumer without a broker; ``done`` lists what was asked of it."""
    made = cast(Any, object.__new__(TapeConsumer))
    made.done, made.starts, made._handed, made._passed = [], {}, {}, {}
    made._read_offset, made.suspend_flow = {BARS: None}, asyncio.Event()
    made.app = SimpleNamespace(
        tables=SimpleNamespace(changelog_topics={STATE.topic}),
        topics=SimpleNamespace(acks_enabled_for=lambda topic: True),
        flow_control=SimpleNamespace(suspend=lambda: made.done.append("suspend")),
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_no_active_partition_is_not_taken_for_any_partition() -> None:
    active = {BARS, STATE}
    wanted = Wanted(consumer(starts={BARS: 0}), active)
    assert BARS in wanted
    active.clear()
    assert bool(wanted)
    assert BARS not in wanted


def test_nothing_is_taken_of_an_input_before_its_seek_and_of_a_changelog_at_once() -> None:
    made = consumer()
    wanted = Wanted(made, {BARS, STATE})
    assert (BARS in wanted, STATE in wanted) == (False, True)
    made.starts = {BARS: 7}
    assert BARS in wanted


def test_a_partition_without_a_committed_offset_goes_back_to_the_start_of_its_log() -> None:
    other, fresh = TP("bars", 1), TP("bars", 2)
    committed = {BARS: 40, other: None, fresh: 0, STATE: None}
    sought: dict[TP, int] = {}

    async def seek_to_committed() -> dict[TP, int | None]:
        return committed

    async def earliest(*tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 3)

    async def seek_wait(offsets: dict[TP, int]) -> None:
        sought.update(offsets)

    thread = SimpleNamespace(
        seek_to_committed=seek_to_committed, earliest_offsets=earliest, seek_wait=seek_wait
    )
    made = consumer(_thread=thread)
    assert asyncio.run(made.seek_to_committed()) == committed
    assert sought == {other: 3, fresh: 3}
    assert made.starts == {BARS: 40, other: 3, fresh: 3}


def test_the_flow_stops_for_a_rebalance_though_nothing_was_assigned(monkeypatch: MonkeyPatch) -> None:
    async def revoked(self: Any, partitions: set[TP]) -> None:
        self.done.append("revoked")

    monkeypatch.setattr(FaustConsumer, "on_partitions_revoked", revoked)
    made = consumer(starts={BARS: 1}, _handed={BARS: 4}, _passed={BARS: 9})
    made.stop_flow = lambda: made.done.append("stop")
    asyncio.run(made.on_partitions_revoked(set()))
    assert made.done == ["stop", "suspend", "revoked"]
    assert (made.starts, made._handed, made._passed) == ({}, {}, {})


def test_a_seek_while_a_message_waits_for_its_channel_is_not_undone() -> None:
    made = consumer()

    async def getmany(timeout: float) -> Any:
        yield BARS, SimpleNamespace(offset=90, topic="bars")

    async def callback(message: Any) -> None:
        made._read_offset[BARS] = 40  # the seek that ends a recovery

    made.getmany, made.callback = getmany, callback
    asyncio.run(made._drain_once())
    assert made._read_offset[BARS] == 40


def test_a_worker_reads_committed_records_alone() -> None:
    """Faust hard-codes the other level: that its consumer has ours is checked where it is made."""
    settings = Settings(Cluster("127.0.0.1:1"), Path("tape.toml"), Path(tempfile.mkdtemp()))
    app = new_app("group", settings, "stage", "partition")
    transport = app.transport
    made = cast(Any, transport).Consumer(transport, *[lambda *_: None] * 3)
    thread = made._thread
    assert isinstance(thread, CommittedThread)

    async def levels() -> list[str]:
        makers = (thread._create_worker_consumer, thread._create_client_consumer)
        return [maker(transport)._isolation_level for maker in makers]

    assert asyncio.run(levels()) == ["read_committed"] * 2


def test_a_fetch_becomes_objects_in_pieces() -> None:
    """aiokafka's own default is no limit: all that is fetched of all partitions, at once."""
    settings = Settings(Cluster("127.0.0.1:1"), Path("tape.toml"), Path(tempfile.mkdtemp()))
    transport = new_app("group", settings, "stage", "partition").transport
    thread = cast(Any, transport).Consumer(transport, *[lambda *_: None] * 3)._thread
    asked: dict[str, Any] = {}

    async def call_thread(fetch: Any, *args: Any, **limits: Any) -> None:
        asked.update(limits)

    async def fetch() -> None:
        made = thread._create_worker_consumer(transport)
        thread._ensure_consumer, thread.call_thread = lambda: made, call_thread
        await thread.getmany({BARS}, timeout=1.0)

    asyncio.run(fetch())
    assert asked["max_records"] == FETCHED <= BUFFER / 4


def test_an_end_is_the_end_of_what_can_be_read() -> None:
    thread = cast(Any, object.__new__(CommittedThread))
    ends = {"stable": 7, "high": 9}
    thread._consumer = SimpleNamespace(
        last_stable_offset=lambda tp: ends["stable"], highwater=lambda tp: ends["high"]
    )
    assert (thread.highwater(BARS), thread.withheld(BARS)) == (7, True)
    ends["stable"] = 9
    assert (thread.highwater(BARS), thread.withheld(BARS)) == (9, False)


def committable(handed: int | None, committed: int, acked: list[int], passed: int) -> dict[TP, int]:
    made = consumer(
        _acked=defaultdict(list, {BARS: acked}), _acked_index=defaultdict(set),
        _gap=defaultdict(IntervalTree), _committed_offset=defaultdict(lambda: None, {BARS: committed}),
    )  # fmt: skip
    if handed is not None:
        made._handed[BARS] = handed
    made.pass_to(BARS, passed)
    found: dict[TP, int] = made._filter_committable_offsets({BARS})
    return found


def test_control_records_behind_the_last_record_are_committed_once_every_record_is_acked() -> None:
    assert committable(handed=6, committed=5, acked=[5, 6], passed=9) == {BARS: 9}
    assert committable(handed=6, committed=5, acked=[5], passed=9) == {BARS: 6}
    assert committable(handed=6, committed=7, acked=[], passed=9) == {BARS: 9}
    assert committable(handed=None, committed=5, acked=[], passed=9) == {BARS: 9}
    assert committable(handed=6, committed=5, acked=[], passed=9) == {}
    assert committable(handed=6, committed=9, acked=[], passed=9) == {}


def test_a_gap_ends_before_the_message_behind_it_which_is_not_acked_yet() -> None:
    gaps: list[tuple[int, int]] = []

    async def add_gap(tp: TP, start: int, end: int) -> None:
        gaps.append((start, end))

    async def getmany(timeout: float) -> Any:
        yield BARS, SimpleNamespace(offset=7, topic="bars")

    async def callback(message: Any) -> None:
        pass

    made = consumer(_read_offset={BARS: 4}, _add_gap=add_gap, getmany=getmany, callback=callback)
    asyncio.run(made._drain_once())
    assert gaps == [(5, 6)]
    assert made._handed == {BARS: 7}


def test_a_changelog_that_no_stream_reads_is_not_reported_as_stuck(caplog: LogCaptureFixture) -> None:
    long_since_start = 3600.0
    thread = cast(Any, object.__new__(CommittedThread))
    for tp in (STATE, BARS):
        thread.verify_event_path(long_since_start, tp)
    assert caplog.records == []
