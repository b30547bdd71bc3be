"""The model of KEDA with the numbers that the chart renders for the stage features; it plays days."""

import itertools
import re
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.chart import golden, named
from tests.support.keda import Autoscaler, Query

MINUTE, HOUR, DAY_S = 60.0, 3600.0, 86_400.0
POLL_S = 30.0
FEATURES = named(golden("default"), "ScaledObject", "tapedeck-features")["spec"]
Floor = Callable[[float], int]
"""The cron trigger's number of workers, by the seconds since the start."""


def trigger(kind: str) -> dict[str, Any]:
    """The trigger of a kind."""
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
        r"\(count\((.*?)\) and on\(\) \(min\(.*?\) == 0 "
        r"or max\(max_over_time\((.*?)\[(\d+)m\]\)\) > (\d+)\)\) or on\(\) \(1 \+ ",
        text,
    )
    counted = text.partition(") or on() (1 + ")[2]
    window = re.search(r"max_over_time\(min_over_time\(.*?\[(\d+)s\]\)\[(\d+)m:(\d+)s\]\)", counted)
    assert hold and window and hold[1].startswith("tape_ready{")
    assert hold[2].startswith("tape_stage_delay_seconds{")
    return Query(
        counts=tuple(counts),
        delay_s=unit,
        catch_up_s=float(hold[4]),
        window_s=int(window[2]) * MINUTE,
        hold_s=int(hold[3]) * MINUTE,
        lasts_s=float(window[1]),
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


def next_of(schedule: str, now: datetime) -> datetime:
    """The next time of a schedule of a minute, an hour and days of the week, in the zone of ``now``."""
    minute, hour, *_, days = schedule.split()
    first, _, last = days.partition("-")
    at = time(int(hour), int(minute), tzinfo=now.tzinfo)
    for ahead in range(9):
        found = datetime.combine(now.date() + timedelta(days=ahead), at)
        if found.timestamp() > now.timestamp() and int(first) <= found.isoweekday() % 7 <= int(last or first):
            return found
    raise AssertionError(f"no time of {schedule} within a week")


def cron(metadata: dict[str, Any], now: datetime) -> int:
    """What KEDA's cron trigger asks for: it is on where its next end comes before its next start."""
    here = now.astimezone(ZoneInfo(metadata["timezone"]))
    start, end = next_of(metadata["start"], here), next_of(metadata["end"], here)
    return int(metadata["desiredReplicas"]) if end.timestamp() < start.timestamp() else 1


def floor(start: datetime) -> Floor:
    """The rendered cron trigger over time that begins at ``start``."""
    metadata = trigger("cron")["metadata"]
    return lambda seconds: cron(metadata, start + timedelta(seconds=seconds))


def felt_by(asked: Query, delays: Sequence[float | None], poll: int) -> tuple[float | None, float | None]:
    """The highest delay of the window that lasted, and the highest of the time of holding, at a poll."""
    window, hold, lasts = (int(each / POLL_S) for each in (asked.window_s, asked.hold_s, asked.lasts_s))
    lasting = [known(min, delays, place - lasts, place) for place in range(max(poll - window, 0), poll + 1)]
    return known(max, lasting, 0, len(lasting)), known(max, delays, poll - hold, poll)


def known(of: Callable[..., Any], delays: Sequence[float | None], first: int, last: int) -> float | None:
    """The lowest or highest of the known delays from one place to another."""
    found: float | None = of(
        (each for each in delays[max(first, 0) : last + 1] if each is not None), default=None
    )
    return found


def play(
    scaler: Autoscaler,
    delays: Sequence[float | None],
    *,
    least: Floor = lambda seconds: 1,
    ready: Callable[[int, int], list[bool]] | None = None,
    asked: Query | None = None,
) -> list[int]:
    """Replicas at each poll. ``delays``: at each poll; ``ready``: (poll, replicas) to that of each worker."""
    asked, seen = asked or query(), []
    for poll, _ in enumerate(delays):
        worst, behind = felt_by(asked, delays, poll)
        is_ready = ready(poll, scaler.replicas) if ready else [True] * scaler.replicas
        value = asked.answer(worst, behind, ready=is_ready)
        seen.append(scaler.poll(poll * POLL_S, [value, float(least(poll * POLL_S))]))
    return seen


def changes(seen: Sequence[int]) -> list[tuple[int, int]]:
    """(poll, difference) of each change."""
    return [(place, b - a) for place, (a, b) in enumerate(itertools.pairwise(seen), 1) if a != b]


def turns(seen: Sequence[int]) -> int:
    """How often the number of workers stopped growing and shrank, or the other way."""
    ways = [more > 0 for _, more in changes(seen)]
    return sum(a != b for a, b in itertools.pairwise(ways))
