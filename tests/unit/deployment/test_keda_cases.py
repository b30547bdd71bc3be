"""Behavior of KEDA that bites stages with state (K1 to K15), against the chart and a model of its formula."""

import itertools
import random
import re
from typing import Any

import pytest

from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.chart import chart_data
from tests.support.chart import CHART, golden, named, of_kind
from tests.support.keda import Autoscaler, KafkaTrigger, Partition, Query, divisors, total_lag

MINUTE, HOUR, DAY_S = 60.0, 3600.0, 86_400.0
POLL_S = 30.0
FEATURES = named(golden("default"), "ScaledObject", "tapedeck-features")["spec"]
LAG = [
    (spec["metadata"]["name"], each)
    for spec in of_kind(golden("own"), "ScaledObject")
    for each in spec["spec"]["triggers"]
    if each["type"] == "kafka"
]
TEN = KafkaTrigger(threshold=10)


def trigger(kind: str) -> dict[str, Any]:
    (found,) = (each for each in FEATURES["triggers"] if each["type"] == kind)
    return found


def query() -> Query:
    """The chart's query, read from the rendered manifest."""
    text = trigger("prometheus")["metadata"]["query"]
    steps = [
        (int(more), int(bound)) for more, bound in re.findall(r"\+ (\d+) \* \(max\(.*?> bool (\d+)\)", text)
    ]
    counts = [1]
    for more, _ in steps:
        counts.append(counts[-1] + more)
    (unit,) = {bound / below for (_, bound), below in zip(steps, counts[:-1], strict=True)}
    hold = re.search(
        r"\(count\((.*?)\) and on\(\) \(min\(.*?\) == 0 or max\((.*?)\) > (\d+)\)\) or on\(\)", text
    )
    window = re.search(r"\[(\d+)m\]", text)
    assert hold and window and hold[1].startswith("tape_ready{")
    assert hold[2].startswith("tape_stage_delay_seconds{")
    return Query(
        counts=tuple(counts), delay_s=unit, catch_up_s=float(hold[3]), window_s=int(window[1]) * MINUTE
    )


def autoscaler(replicas: int = 1) -> Autoscaler:
    """With the rendered numbers."""
    behavior = FEATURES["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    down, up = behavior["scaleDown"], behavior["scaleUp"]
    return Autoscaler(
        least=FEATURES["minReplicaCount"],
        most=FEATURES["maxReplicaCount"],
        scale_in_window_s=down["stabilizationWindowSeconds"],
        scale_in_period_s=down["policies"][0]["periodSeconds"],
        scale_out_window_s=up["stabilizationWindowSeconds"],
        scale_out_pods=up["policies"][0]["value"],
        fallback_replicas=FEATURES["fallback"]["replicas"],
        fallback_after=FEATURES["fallback"]["failureThreshold"],
        replicas=replicas,
    )


def floor(clock: float) -> int:
    """The cron trigger: New York time of day in seconds."""
    data = trigger("cron")["metadata"]

    def at(text: str) -> float:
        minute, hour, *_ = text.split()
        return int(hour) * HOUR + int(minute) * MINUTE

    return int(data["desiredReplicas"]) if at(data["start"]) <= clock < at(data["end"]) else 1


def play(scaler: Autoscaler, delays: list[float | None], *, start: float, ready: Any = None) -> list[int]:
    """Replicas at each poll. ``ready``: (poll, replicas) to the readiness of each worker."""
    asked, seen = query(), []
    back = int(asked.window_s / POLL_S)
    for poll, delay in enumerate(delays):
        past = [each for each in delays[max(poll - back, 0) : poll + 1] if each is not None]
        is_ready = ready(poll, scaler.replicas) if ready else [True] * scaler.replicas
        value = asked.answer(max(past, default=None), delay, ready=is_ready)
        seen.append(scaler.poll(poll * POLL_S, [value, float(floor(start + poll * POLL_S))]))
    return seen


def changes(seen: list[int]) -> list[tuple[int, int]]:
    """(poll, difference) of each change."""
    return [(place, b - a) for place, (a, b) in enumerate(itertools.pairwise(seen), 1) if a != b]


def a_day(seed: int) -> list[float | None]:
    """Delays of a whole day: a burst after each minute of the session, worse at the open and the close."""
    draw = random.Random(seed)
    found: list[float | None] = []
    for poll in range(int(DAY_S / POLL_S)):
        clock = poll * POLL_S
        is_open = 9.5 * HOUR <= clock < 16 * HOUR
        is_edge = is_open and (clock < 9.75 * HOUR or clock > 15.75 * HOUR)
        burst = draw.uniform(20, 55) if is_edge else draw.uniform(0, 14)
        found.append((burst if poll % 2 == 0 else burst / 10) if is_open else 0.0)
    return found


# one day, as it is sampled


@pytest.mark.parametrize("seed", range(5))
def test_a_trading_day_does_not_make_the_stage_oscillate(seed: int) -> None:
    day = a_day(seed)
    assert max(each for each in day if each is not None) > 2 * query().delay_s, "the day has its bursts"
    seen = play(autoscaler(), day, start=0.0)
    turns = changes(seen)
    ways = [more > 0 for _, more in turns]
    assert len(turns) >= 2 and max(seen) >= 3, "something was scaled"
    assert sum(a != b for a, b in itertools.pairwise(ways)) <= 3, turns
    inside = range(int(9.5 * HOUR / POLL_S), int(16 * HOUR / POLL_S))
    assert min(seen[poll] for poll in inside) >= 3, "the session has its floor"
    assert seen[-1] == 1 and all(more == -1 for _, more in turns if more < 0)
    gone = [poll for poll, more in turns if more < 0]
    assert all(b - a >= 300 / POLL_S for a, b in itertools.pairwise(gone))


def test_lag_in_records_of_the_same_day_would_make_it_oscillate() -> None:
    scaler = Autoscaler(
        least=1, most=12, scale_in_window_s=0, scale_in_period_s=0, scale_out_window_s=0, scale_out_pods=12,
        fallback_replicas=1,
    )  # fmt: skip
    seen = []
    for poll in range(200):  # right after a minute every symbol lags by one record, and then none does
        lag = total_lag(TEN, [Partition(20 if poll % 2 else 0, 0)] * 12)
        seen.append(scaler.poll(poll * POLL_S, [lag / 10]))
    assert len(changes(seen)) > 50


def test_no_worker_goes_while_another_recovers_its_state() -> None:
    scaler = autoscaler(replicas=6)
    delays: list[float | None] = [0.0] * 120  # an hour without load, at night

    def ready(poll: int, replicas: int) -> list[bool]:
        return [True] * (replicas - 1) + [poll > 80]

    seen = play(scaler, delays, start=0.0, ready=ready)
    assert set(seen[:81]) == {6}
    assert seen[-1] < 6, "and afterwards it does"


def test_first_deployment_on_a_long_history_does_not_start_the_most_workers() -> None:
    days_behind: list[float | None] = [400 * DAY_S - poll * HOUR for poll in range(240)]
    assert set(play(autoscaler(), days_behind, start=0.0)) == {1}
    held = Query(**{**query().__dict__, "catch_up_s": float("inf")})
    assert held.answer(400 * DAY_S, 400 * DAY_S, ready=[True]) == 12, "without the bound it would"


def test_a_stage_that_falls_behind_gets_workers_and_never_more_than_the_most() -> None:
    worse: list[float | None] = [poll * 1.5 for poll in range(400)]
    seen = play(autoscaler(), worse, start=17 * HOUR)
    assert seen == sorted(seen) and seen[-1] == 12
    assert all(more <= 2 for _, more in changes(seen))


# KEDA's behavior case by case


def test_k1_group_without_commits_lags_by_the_whole_log_under_earliest_and_by_one_under_latest() -> None:
    fresh = [Partition(1_000_000, None)] * 12
    assert total_lag(KafkaTrigger(threshold=10, offset_reset_policy="earliest"), fresh) == 120
    assert total_lag(TEN, fresh) == 12
    assert LAG and all(each["metadata"]["offsetResetPolicy"] == "latest" for _, each in LAG)
    kinds = {
        each["type"]
        for spec in of_kind(golden("default"), "ScaledObject")
        for each in spec["spec"]["triggers"]
    }
    assert kinds == {"prometheus", "cron"}


def test_k2_notes_require_the_release_that_does_not_count_negative_lag() -> None:
    assert total_lag(TEN, [Partition(5, 9)] * 12) == 0
    assert "KEDA 2.20.2 or newer is required" in (CHART / "templates" / "NOTES.txt").read_text()


def test_k3_each_lag_trigger_names_its_topic_and_the_most_is_the_smallest_partition_count() -> None:
    assert all(each["metadata"]["topic"].startswith("px.") for _, each in LAG)
    most = {
        each["metadata"]["name"]: each["spec"]["maxReplicaCount"]
        for each in of_kind(golden("own"), "ScaledObject")
    }
    assert most["px-mentions"] == 6 and most["px-features"] == 3, "its own maximum is smaller"


def test_k4_input_of_one_partition_is_no_trigger_of_a_stage_with_more() -> None:
    one = {each["name"] for each in chart_data(TOPOLOGY)["topics"] if each["partitions"] == "one"}
    assert one and not {each["metadata"]["topic"].removeprefix("px.") for _, each in LAG} & one
    assert autoscaler().poll(0.0, [1.0, 3.0]) == 3, "the highest trigger counts"


def test_k5_workers_are_not_limited_to_partitions_with_lag() -> None:
    some = [Partition(100, 0)] * 3 + [Partition(0, 0)] * 9
    limited = KafkaTrigger(threshold=10, limit_to_lagging=True)
    assert (total_lag(limited, some), total_lag(TEN, some)) == (30, 120)
    assert all("limitToPartitionsWithLag" not in each["metadata"] for _, each in LAG)


def test_k6_lag_of_a_worker_that_recovers_is_not_excluded() -> None:
    recovering = [Partition(100, 40, before=40)] * 12
    assert total_lag(KafkaTrigger(threshold=10, exclude_persistent=True), recovering) == 0
    assert total_lag(TEN, recovering) == 120
    assert all("excludePersistentLag" not in each["metadata"] for _, each in LAG)


def test_k7_workers_are_a_divisor_of_the_partitions() -> None:
    even = KafkaTrigger(threshold=10, ensure_even=True)
    assert total_lag(even, [Partition(5, 0)] * 12) == 60
    assert total_lag(even, [Partition(6, 0)] * 12) == 120
    assert list(query().counts) == divisors(12) == [1, 2, 3, 4, 6, 12]
    assert all(each["metadata"]["ensureEvenDistributionOfPartitions"] == "true" for _, each in LAG)


def test_k8_no_worker_is_idle() -> None:
    huge = [Partition(10_000, 0)] * 12
    assert total_lag(TEN, huge) == 120
    assert total_lag(KafkaTrigger(threshold=10, allow_idle_consumers=True), huge) == 120_000
    assert all(each["metadata"]["allowIdleConsumers"] == "false" for _, each in LAG)


def test_k9_and_k10_metadata_is_not_whole_and_the_brokers_version_is_said() -> None:
    assert all(each["metadata"]["fullMetadata"] == "false" for _, each in LAG)
    assert all(int(each["metadata"]["version"].split(".")[0]) >= 4 for _, each in LAG)


def test_k11_every_stage_keeps_a_worker() -> None:
    for case in ("default", "own"):
        assert {each["spec"]["minReplicaCount"] for each in of_kind(golden(case), "ScaledObject")} == {1}


def test_k12_workers_are_kept_while_prometheus_says_nothing() -> None:
    assert FEATURES["fallback"]["behavior"] == "currentReplicasIfHigher"
    behavior = FEATURES["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert behavior["stabilizationWindowSeconds"] >= 600
    assert behavior["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    assert set(play(autoscaler(replicas=6), [None] * 120, start=0.0)) == {6}
    low = play(autoscaler(replicas=1), [None] * 120, start=0.0)
    assert low[-1] == FEATURES["fallback"]["replicas"]


def test_k13_cooldown_is_not_set_and_its_meaning_is_documented() -> None:
    assert "cooldownPeriod" not in FEATURES
    assert "cooldownPeriod concerns the step from 1 to 0" in (CHART / "values.yaml").read_text().replace(
        "\n    # ", " "
    )


def test_k14_compacted_topics_are_no_lag_triggers() -> None:
    config = {each["name"]: each["config"]["catalogue"] for each in chart_data(TOPOLOGY)["topics"]}
    asked = {each["metadata"]["topic"].removeprefix("px.") for _, each in LAG}
    assert asked and {config[name]["cleanup.policy"] for name in asked} == {"delete"}
    assert any(
        config[name]["cleanup.policy"] == "compact" for spec in TOPOLOGY.market for name in spec.inputs
    ), "and there are such inputs"


def test_k15_answer_without_a_series_is_an_error_and_not_zero() -> None:
    assert trigger("prometheus")["metadata"]["ignoreNullValues"] == "false"
    assert query().answer(None, None, ready=[]) is None
    assert query().answer(0.0, 0.0, ready=[True]) == 1
