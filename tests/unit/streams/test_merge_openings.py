"""Optional joins: openings say who is absent, and what is read follows from the log alone."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.streams.merge import Merge, Part, Resume, Unreadable
from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY
from tests.support.merge_model import MINUTE, Entry, Logs, Model, Run, in_order
from tests.unit.streams.test_merge import Feeder, shown

SIGNALS = replace(TOPOLOGY.stage("signals"), joins=(Join("memberships", optional=True),))
PERIODIC = replace(TOPOLOGY.stage("watchlist"), joins=(Join("universe", optional=True),))
FAN_IN = StageSpec(
    name="scores", trigger="features", outputs=("scores",), scale="single", doc="a toy",
    joins=(Join("quotes", optional=True), Join("universe"), Join("memberships", optional=True)),
)  # fmt: skip
TWO_PARTS = replace(FAN_IN, joins=(Join("memberships", optional=True),))


def signals(resume: Resume | None = None) -> Feeder:
    return Feeder(Merge(SIGNALS, {"features": (0,), "memberships": (0,)}, resume or Resume()))


def two_parts() -> Feeder:
    return Feeder(Merge(TWO_PARTS, {"features": (0, 1), "memberships": (0,)}))


def test_nothing_of_an_optional_join_is_read_before_the_minute_is_opened() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.record("memberships", 0, "m")
    feed.mark("memberships", 0, 9)
    assert shown(feed.merge.take(10)) == ["W9"]
    assert feed.merge.lacking() == [("features", 0)]
    feed.opening("features", 0, 9)
    assert shown(feed.merge.take(10)) == ["m@-", "J9", "O9"]


def test_an_opening_that_names_nobody_has_the_join_waited_for() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.opening("features", 0, 9)
    feed.record("features", 0, "f")
    assert shown(feed.merge.take(10)) == ["W9"]
    assert feed.merge.lacking() == [("memberships", 0)]
    feed.mark("memberships", 0, 9)
    assert shown(feed.merge.take(10)) == ["J9", "O9", "f@9"]


def test_an_absent_join_is_passed_over_though_it_has_arrived_and_read_on_to_the_next_minute() -> None:
    feed = signals()
    feed.mark("memberships", 0, 8)
    feed.record("memberships", 0, "m9")
    feed.mark("memberships", 0, 9)
    feed.record("memberships", 0, "m10")
    feed.mark("features", 0, 9)
    feed.opening("features", 0, 9, "memberships")
    feed.record("features", 0, "f")
    assert shown(feed.merge.take(10)) == ["W9", "O9-memberships", "f@9"]
    assert feed.merge.held(("memberships", 0)) == 4
    feed.mark("features", 0, 10)
    feed.opening("features", 0, 10)
    assert shown(feed.merge.take(10)) == ["W10", "J8", "m9@8", "J9", "m10@9"]
    feed.mark("memberships", 0, 10)
    assert shown(feed.merge.take(10)) == ["J10", "O10"]


def test_records_that_a_writer_repeated_before_the_opening_do_not_hide_it() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.record("features", 0, "again")
    feed.mark("features", 0, 9)
    assert shown(feed.merge.take(10)) == ["W9"]
    feed.opening("features", 0, 9, "memberships")
    assert shown(feed.merge.take(10)) == ["again@9", "skip", "O9-memberships"]


def test_a_log_without_openings_names_nobody() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.record("features", 0, "f")
    feed.mark("memberships", 0, 9)
    feed.mark("features", 0, 10)
    assert shown(feed.merge.take(10)) == ["W9", "J9", "f@9", "W10"]


def test_a_partition_whose_opening_is_missing_is_never_held_back_at_the_consumer() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.record("features", 0, "f")
    feed.merge.take(10)
    assert feed.merge.held(("features", 0)) == 0
    feed.opening("features", 0, 9)
    assert feed.merge.held(("features", 0)) == 2


def test_what_one_partition_names_counts_for_all_and_is_forwarded_once() -> None:
    feed = two_parts()
    for partition, names in enumerate(((), ("memberships", "elsewhere"))):
        feed.mark("features", partition, 9)
        feed.opening("features", partition, 9, *names)
        feed.record("features", partition, f"f{partition}")
    assert shown(feed.merge.take(10)) == ["W9", "O9-elsewhere-memberships", "f0@9", "f1@9"]


def test_a_partition_that_passes_the_minute_without_an_opening_holds_nobody_for_ever() -> None:
    feed = two_parts()
    feed.mark("features", 0, 9)
    feed.opening("features", 0, 9, "memberships")
    feed.mark("features", 1, 9)
    feed.record("features", 1, "f1")
    assert shown(feed.merge.take(10)) == ["W9"]
    assert feed.merge.lacking() == [("features", 1)]
    feed.mark("features", 1, 10)
    assert shown(feed.merge.take(10)) == ["f1@9", "O9-memberships"]


def test_a_stage_without_optional_joins_passes_openings_on_and_waits_for_none() -> None:
    feed = Feeder(Merge(replace(FAN_IN, joins=()), {"features": (0, 1)}))
    feed.mark("features", 0, 9)
    feed.mark("features", 1, 9)
    feed.opening("features", 0, 9, "news")
    feed.record("features", 0, "f0")
    feed.record("features", 1, "again")
    assert shown(feed.merge.take(10)) == ["W9", "again@9"]
    assert feed.merge.lacking() == [("features", 1)]
    feed.opening("features", 1, 9, "news")
    assert shown(feed.merge.take(10)) == ["O9-news", "f0@9"]


def test_the_mark_of_a_period_stage_waits_for_the_opening_and_not_for_an_absent_join() -> None:
    feed = Feeder(Merge(PERIODIC, {"scores": (0,), "universe": (0,)}))
    feed.mark("scores", 0, 9)
    feed.mark("universe", 0, 8)
    assert shown(feed.merge.take(10)) == []
    feed.opening("scores", 0, 9, "universe")
    assert shown(feed.merge.take(10, stop_at_mark=True)) == ["W9"]
    assert shown(feed.merge.take(10)) == ["O9-universe"]


def test_an_opening_again_is_skipped_and_one_of_another_minute_is_a_dead_letter() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.mark("memberships", 0, 9)
    feed.opening("features", 0, 9)
    feed.opening("features", 0, 9, "memberships")
    feed.opening("features", 0, 10)
    items = feed.merge.take(10)
    assert shown(items) == ["W9", "J9", "O9", "skip", "unreadable"]
    assert {item.error.reason for item in items if isinstance(item, Unreadable)} == {"BAD_WATERMARK"}


def test_an_opening_whose_watermark_was_passed_before_the_start_is_skipped() -> None:
    feed = signals()
    feed.opening("features", 0, 9, "memberships")
    feed.mark("features", 0, 10)
    feed.mark("memberships", 0, 10)
    feed.opening("features", 0, 10)
    assert shown(feed.merge.take(10)) == ["skip", "W10", "J10", "O10"]


def test_an_opening_in_a_joined_topic_says_nothing() -> None:
    feed = signals()
    feed.mark("features", 0, 9)
    feed.opening("features", 0, 9)
    feed.mark("memberships", 0, 8)
    feed.opening("memberships", 0, 8, "memberships")
    feed.mark("memberships", 0, 9)
    assert shown(feed.merge.take(10)) == ["W9", "J8", "aside", "J9", "O9"]


def test_after_a_restart_what_was_declared_still_holds() -> None:
    labels = {("features", 0): 9 * MINUTE, ("memberships", 0): 8 * MINUTE}
    opened = {("features", 0): 9 * MINUTE}
    feed = signals(Resume(labels, opened, {"memberships": 9 * MINUTE}))
    feed.mark("memberships", 0, 9)
    feed.record("features", 0, "f")
    assert shown(feed.merge.take(10)) == ["f@9"]
    there = signals(Resume(labels, opened, {"memberships": 7 * MINUTE}))
    there.mark("memberships", 0, 9)
    there.record("features", 0, "f")
    assert shown(there.merge.take(10)) == ["J9", "f@9"]


def trigger_log(rng: random.Random, names: list[str], absent: dict[int, set[str]]) -> list[Entry]:
    """Minutes with openings that ``absent`` gives, and what crashed and foreign writers make of them."""
    entries = [Entry("record")] * rng.randint(0, 1)
    for minute in range(1, 9):
        if rng.random() < 0.1:
            continue  # the label jumps over this minute
        entries.append(Entry("mark", minute))
        if rng.random() < 0.2:
            entries += [Entry("record"), Entry("mark", rng.randint(1, minute))]
        if rng.random() < 0.9:
            told = absent[minute] if rng.random() < 0.9 else {rng.choice([*names, "elsewhere"])}
            entries.append(Entry("open", minute, tuple(sorted(told))))
        if rng.random() < 0.2:
            entries.append(Entry("open", rng.randint(1, minute), tuple(sorted(names))))
        entries += [Entry("record")] * rng.randint(0, 2)
    return entries


def join_log(rng: random.Random) -> list[Entry]:
    """An input that may begin late, pause, end early or be empty."""
    entries: list[Entry] = []
    first, last = rng.choice((1, 1, 1, 4)), rng.choice((9, 9, 9, 5, 0))
    for minute in range(first, last + 1):
        entries += [Entry("record")] * rng.randint(0, 2)
        if rng.random() < 0.85:
            entries.append(Entry("mark", minute))
        if rng.random() < 0.1:
            entries.append(Entry("mark", rng.randint(1, minute)))
    return entries


def drawn_logs(rng: random.Random, spec: StageSpec, partitions: int) -> Logs:
    optional = [join.topic for join in spec.joins if join.optional]
    share = rng.choice((0.0, 0.3, 0.9, 1.0))
    absent = {minute: {name for name in optional if rng.random() < share} for minute in range(10)}
    logs: dict[Part, list[Entry]] = {
        (spec.trigger, partition): trigger_log(rng, optional, absent) for partition in range(partitions)
    }
    return logs | {(join.topic, 0): join_log(rng) for join in spec.joins}


@pytest.mark.parametrize(
    ("spec", "partitions"),
    [
        (SIGNALS, 1),
        (PERIODIC, 1),
        (FAN_IN, 2),
        (replace(FAN_IN, period=60), 3),
        (TOPOLOGY.stage("scores"), 2),
    ],
    ids=["one", "period", "fan-in", "fan-in with period", "no joins"],
)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_arrival_and_any_restart_give_what_the_log_alone_says(
    spec: StageSpec, partitions: int, seed: int
) -> None:
    rng = random.Random(seed)
    logs = drawn_logs(rng, spec, partitions)
    model = Model(spec, logs)
    expected = in_order(model.steps(), spec.trigger)
    for restart_share in (0.0, 0.3):
        run = Run(spec, logs, rng, restart_share).go()
        assert in_order(run.steps, spec.trigger) == expected
        assert run.opened == model.opened


def test_the_drawn_logs_have_what_an_input_may_do() -> None:
    rng = random.Random(1)
    models = [Model(FAN_IN, drawn_logs(rng, FAN_IN, 2)) for _ in range(100)]
    lengths = [len(model.steps()) for model in models]
    absences = [model.absences for model in models]
    assert min(absences) == 0 < max(absences)
    assert len(set(lengths)) > 20
    assert sum(run.restarts for run in (Run(FAN_IN, drawn_logs(rng, FAN_IN, 2), rng).go() for _ in range(9)))
