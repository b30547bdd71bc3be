"""The consumer keeps Faust from losing messages between a fetch and a channel."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP
from pytest import MonkeyPatch

from tapedeck.agents.consumer import TapeConsumer, Wanted

BARS, STATE = TP("bars", 0), TP("features.changelog", 0)


def consumer(**fields: Any) -> Any:
    """A TapeConsumer without a broker; ``done`` lists what was asked of it."""
    made = cast(Any, object.__new__(TapeConsumer))
    made.done, made.starts = [], {}
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
    made = consumer(starts={BARS: 1})
    made.stop_flow = lambda: made.done.append("stop")
    asyncio.run(made.on_partitions_revoked(set()))
    assert made.done == ["stop", "suspend", "revoked"]
    assert made.starts == {}


def test_a_seek_while_a_message_waits_for_its_channel_is_not_undone() -> None:
    made = consumer()

    async def getmany(timeout: float) -> Any:
        yield BARS, SimpleNamespace(offset=90, topic="bars")

    async def callback(message: Any) -> None:
        made._read_offset[BARS] = 40  # the seek that ends a recovery

    made.getmany, made.callback = getmany, callback
    asyncio.run(made._drain_once())
    assert made._read_offset[BARS] == 40
