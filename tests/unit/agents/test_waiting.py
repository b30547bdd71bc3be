"""What a process waits for is in its log: once, each minute, and when the wait is over."""

import logging
from collections import Counter
from types import SimpleNamespace

import pytest

from tapedeck.agents.waiting import AGAIN_S, PATIENCE_S, Unmarked, Waiting
from tapedeck.streams.merge import Merge
from tapedeck.streams.protocol import MINUTE_US, Join, Message, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import LABEL_HEADER, opening_headers
from tapedeck.topics.catalogue import WATERMARK_KEY

M = 1_771_338_600_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def mark(name: str, partition: int, offset: int, label: int) -> Message:
    return Message(name, partition, offset, 0, WATERMARK_KEY, None, ((LABEL_HEADER, str(label).encode()),))


def test_a_wait_is_said_at_once_then_each_minute_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    waiting = Waiting(logging.getLogger("t"), "large", monotonic=clock)
    waiting.over()
    for _ in range(1_000):
        waiting.say("the lease")
        clock.now += 0.1
    waiting.over()
    assert [record.getMessage() for record in caplog.records] == [
        "large waits: the lease",
        "large waits: the lease",
        "large no longer waits",
    ]


def looking(stage: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Unmarked, Merge, Clock]:
    spec, clock = TOPOLOGY.stage(stage), Clock()
    parts = {name: (0,) for name in spec.inputs}
    merge = Merge(spec, parts)
    runner = SimpleNamespace(spec=spec, tasks={0: SimpleNamespace(merge=merge, counts=Counter())})
    return Unmarked(runner, monotonic=clock), merge, clock  # type: ignore[arg-type]  # what it looks at


def test_a_worker_names_the_topic_without_a_first_watermark_and_who_writes_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    look, merge, clock = looking("features", monkeypatch)
    for _ in range(int((PATIENCE_S + AGAIN_S) / 2) + 1):
        look.look()
        clock.now += 2
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, "not before it is long, and no flood"
    assert said[0].startswith("features waits: bars/0 has no watermark yet; `tape play`")
    assert "`tape watermark` for a producer" in said[0]
    merge.put(mark("bars", 0, 0, M))
    merge.take(10)
    look.look()
    assert caplog.records[-1].getMessage() == "features no longer waits"


def test_a_stage_that_is_held_up_by_a_join_names_it_with_its_last_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look, merge, clock = looking("signals", monkeypatch)
    spec = TOPOLOGY.stage("signals")
    join, *others = (each.topic for each in spec.joins)
    merge.put(mark(join, 0, 0, M))
    for other in others:
        merge.put(mark(other, 0, 0, M + MINUTE_US))
    for offset, label in enumerate((M, M + MINUTE_US)):
        merge.put(mark(spec.trigger, 0, offset, label))
    merge.take(10)
    for _ in range(int(PATIENCE_S)):
        look.look()
        clock.now += 2
    (record,) = caplog.records
    assert f"signals waits: {join}/0 has none after 2026-02-17T14:30:00Z" in record.getMessage()
    assert "the stage watchlist writes it" in record.getMessage()


def test_a_stage_that_is_up_to_date_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look, merge, clock = looking("features", monkeypatch)
    merge.put(mark("bars", 0, 0, M))
    merge.take(10)
    for _ in range(100):
        look.look()
        clock.now += 2
    assert caplog.records == []


def test_a_watchlist_without_a_universe_says_so_and_who_writes_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look, _, _ = looking("watchlist", monkeypatch)
    (task,) = look._runner.tasks.values()
    for _ in range(3):
        task.counts["NO_UNIVERSE"] += 1
        look.look()
    assert [r.getMessage() for r in caplog.records] == [
        "watchlist waits: there is no universe (NO_UNIVERSE), so the watchlist is empty: `tape universe` "
        "writes the configured one, `tape play` that of a tape"
    ]


def optional_looking() -> tuple[Unmarked, Merge, Clock]:
    spec, clock = StageSpec(
        name="features", trigger="bars", joins=(Join("memberships", optional=True),), outputs=(), doc=""
    ), Clock()  # fmt: skip
    merge = Merge(spec, {name: (0,) for name in spec.inputs})
    runner = SimpleNamespace(spec=spec, tasks={0: SimpleNamespace(merge=merge, counts=Counter())})
    return Unmarked(runner, monotonic=clock), merge, clock  # type: ignore[arg-type]  # what it looks at


def patiently(look: Unmarked, clock: Clock) -> None:
    for _ in range(int(PATIENCE_S / 2) + 1):
        look.look()
        clock.now += 2


def test_a_worker_that_lacks_an_opening_says_which_input_it_may_declare_absent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    look, merge, clock = optional_looking()
    merge.put(mark("bars", 0, 0, M))
    merge.take(10)
    patiently(look, clock)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "bars/0 has none after" in said
    assert "or its opening, which declares memberships absent while silent" in said


def test_a_worker_says_that_an_optional_input_was_not_declared_absent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    look, merge, clock = optional_looking()
    merge.put(mark("bars", 0, 0, M))
    headers = tuple(opening_headers(M, ()))
    merge.put(Message("bars", 0, 1, 0, WATERMARK_KEY, None, headers))
    merge.take(10)
    patiently(look, clock)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "memberships/0 has no watermark yet" in said
    assert "bars did not declare it absent for this minute" in said
