"""Behavior of KEDA that bites stages with state (K1 to K15), against the chart and a model of its formula."""

import itertools
import math
import random
from dataclasses import replace
from datetime import datetime

import pytest

from tapedeck.streams.sessions import NEW_YORK
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.chart import chart_data
from tests.support.chart import CHART, golden, of_kind
from tests.support.keda import Autoscaler, KafkaTrigger, Partition, divisors, total_lag
from tests.support.keda_chart import (
    DAY_S,
    FEATURES,
    HOUR,
    POLL_S,
    autoscaler,
    changes,
    floor,
    play,
    query,
    trigger,
    turns,
)

LAG = [
    (spec["metadata"]["name"], each)
    for spec in of_kind(golden("own"), "ScaledObject")
    for each in spec["spec"]["triggers"]
    if each["type"] == "kafka"
]
TEN = KafkaTrigger(threshold=10)


NIGHT = datetime(2026, 2, 18, tzinfo=NEW_YORK)
"""Midnight before a trading day."""


def a_day(seed: int) -> list[float | None]:
    """Delays of a whole day: a burst after each minute of the session, worse at the open and the close."""
    draw = random.Random(seed)
    found: list[float | None] = []
    for poll in range(int(DAY_S / POLL_S)):
        clock = poll * POLL_S
        is_open = 9.5 * HOUR <= clock < 16 * HOUR
        is_edge = is_open and (clock < 9.75 * HOUR or clock > 15.75 * HOUR)
        burst = draw.uniform(20, 55) if is_edge else draw.uniform(0, 14)
        found.append((burst if poll % 2 == 0 or is_edge else burst / 10) if is_open else 0.0)
    return found


# one day, as it is sampled


@pytest.mark.parametrize("seed", range(5))
def test_a_trading_day_does_not_make_the_stage_oscillate(seed: int) -> None:
    day = a_day(seed)
    assert max(each for each in day if each is not None) > 2 * query().delay_s, "the day has its bursts"
    seen = play(autoscaler(), day, least=floor(NIGHT))
    made = changes(seen)
    assert len(made) >= 2 and max(seen) >= 3, "something was scaled"
    assert turns(seen) <= 3, made
    inside = range(int(9.5 * HOUR / POLL_S), int(16 * HOUR / POLL_S))
    assert min(seen[poll] for poll in inside) >= 3, "the session has its floor"
    assert seen[-1] == 1 and all(more == -1 for _, more in made if more < 0)
    gone = [poll for poll, more in made if more < 0]
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

    seen = play(scaler, delays, ready=ready)
    assert set(seen[:81]) == {6}
    assert seen[-1] < 6, "and afterwards it does"


@pytest.mark.parametrize("per_poll", [HOUR, 50 * HOUR, 400 * DAY_S])
def test_first_deployment_on_a_long_history_does_not_start_the_most_workers(per_poll: float) -> None:
    behind = [max(400 * DAY_S - poll * per_poll, 0.0) for poll in range(400)]
    assert set(play(autoscaler(), behind)) == {1}
    unheld = replace(query(), catch_up_s=math.inf)
    assert max(play(autoscaler(), behind, asked=unheld)) > 3, "without the bound there would be many"


def test_a_whole_minute_of_delay_right_after_each_minute_is_no_reason_for_a_worker() -> None:
    each_minute = [60.0 * (poll % 2) for poll in range(240)]
    assert set(play(autoscaler(), each_minute)) == {1}
    hasty = replace(query(), lasts_s=0.0)
    assert max(play(autoscaler(), each_minute, asked=hasty)) == 3
    assert max(play(autoscaler(), [60.0] * 240)) == 3, "one that lasts is one"


def test_the_end_of_a_history_is_not_taken_for_a_burst() -> None:
    behind = [max(DAY_S - poll * 2 * HOUR, 0.0) for poll in range(120)]
    assert behind[11] > query().catch_up_s and behind[12] == 0
    assert set(play(autoscaler(), behind)) == {1}
    short = replace(query(), hold_s=0.0)
    assert max(play(autoscaler(), behind, asked=short)) > 3, "the window still has the history"


def test_a_stage_that_falls_behind_gets_workers_and_never_more_than_the_most() -> None:
    worse: list[float | None] = [poll * 1.5 for poll in range(400)]
    seen = play(autoscaler(), worse)
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
    assert set(play(autoscaler(replicas=6), [None] * 120)) == {6}
    low = play(autoscaler(replicas=1), [None] * 120)
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
