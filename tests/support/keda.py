"""A model of what KEDA 2.20 and the autoscaler of Kubernetes make of a trigger: metrics in, replicas out.

It has only what the chart uses and what can go wrong with it; tests/unit/deployment/test_keda_cases.py names
the cases. Times are seconds.
"""

import math
from dataclasses import dataclass, field

TOLERANCE = 0.1
"""Share by which the metric may differ before the autoscaler of Kubernetes acts."""


@dataclass(frozen=True, kw_only=True)
class KafkaTrigger:
    """Metadata of KEDA's Kafka trigger for one topic, as strings of the manifest turned into values."""

    threshold: int
    offset_reset_policy: str = "latest"
    allow_idle_consumers: bool = False
    ensure_even: bool = False
    limit_to_lagging: bool = False
    exclude_persistent: bool = False


@dataclass(frozen=True)
class Partition:
    """A partition at a poll. ``committed`` is None before the first commit; ``before``: at the last poll."""

    end: int
    committed: int | None
    before: int | None = None


def lag_of(trigger: KafkaTrigger, partition: Partition) -> int:
    """The lag that KEDA counts for one partition (K1, K2, K6)."""
    if partition.committed is None:
        return 1 if trigger.offset_reset_policy == "latest" else partition.end
    lag = max(partition.end - partition.committed, 0)
    if trigger.exclude_persistent and partition.committed == partition.before:
        return 0
    return lag


def total_lag(trigger: KafkaTrigger, partitions: list[Partition]) -> int:
    """The metric that the autoscaler gets: lag, cut to keep the wanted number in bounds (K5, K7, K8)."""
    lags = [lag_of(trigger, each) for each in partitions]
    total = sum(lags)
    most = len(partitions)
    if trigger.limit_to_lagging:
        most = sum(lag > 0 for lag in lags)
    if not trigger.allow_idle_consumers and total / trigger.threshold > most:
        total = most * trigger.threshold
    if trigger.ensure_even:
        wanted = math.ceil(total / trigger.threshold)
        even = next((n for n in divisors(len(partitions)) if n >= wanted), len(partitions))
        total = even * trigger.threshold if wanted else 0
    return total


def divisors(count: int) -> list[int]:
    """The numbers of workers among which ``count`` partitions divide evenly."""
    return [each for each in range(1, count + 1) if count % each == 0]


@dataclass(frozen=True, kw_only=True)
class Query:
    """The chart's query, evaluated: steps to divisors, held in recovery and while catching up."""

    counts: tuple[int, ...]
    delay_s: float
    catch_up_s: float
    window_s: float
    hold_s: float
    """How long a delay beyond ``catch_up_s`` keeps the number of workers."""
    lasts_s: float
    """How long a delay must last to count."""

    def answer(self, worst: float | None, behind: float | None, *, ready: list[bool]) -> float | None:
        """The wanted number of workers; None where Prometheus has no series. ``worst``: the highest delay of
        the window, ``behind``: the highest of the last ``hold_s``."""
        if ready and (not all(ready) or (behind is not None and behind > self.catch_up_s)):
            return float(len(ready))
        if worst is None:
            return None
        wanted = self.counts[0]
        for below, count in zip(self.counts, self.counts[1:], strict=False):
            if worst > below * self.delay_s:
                wanted = count
        return float(wanted)


@dataclass
class Autoscaler:
    """The autoscaler of Kubernetes over the triggers of one ScaledObject."""

    least: int
    most: int
    scale_in_window_s: float
    scale_in_period_s: float
    scale_out_window_s: float
    scale_out_pods: int
    fallback_replicas: int
    fallback_after: int = 3
    replicas: int = 1
    _wanted: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)
    _failures: int = 0

    def poll(self, now: float, values: list[float | None]) -> int:
        """The number after one look. A value is a metric over its threshold, None for a failing trigger."""
        self._failures = self._failures + 1 if None in values else 0
        known = [self._ask(value) for value in values if value is not None]
        if self._failures >= self.fallback_after:  # K12: currentReplicasIfHigher
            known.append(max(self.fallback_replicas, self.replicas))
        elif self._failures:
            known.append(self.replicas)  # a failed metric alone never scales in
        wanted = min(max([self.least, *known]), self.most)  # K4: the highest of all triggers
        self._wanted.append((now, wanted))
        self._move(now)
        return self.replicas

    def _ask(self, value: float) -> int:
        if abs(value / self.replicas - 1) <= TOLERANCE:
            return self.replicas
        return math.ceil(value - 1e-9)

    def _move(self, now: float) -> None:
        """Stabilize: the highest of the past for scale-in, the lowest for scale-out; then the policies."""
        floor = max(count for at, count in self._wanted if now - at <= self.scale_in_window_s)
        ceiling = min(count for at, count in self._wanted if now - at <= self.scale_out_window_s)
        target = self.replicas
        if ceiling > self.replicas:
            added = sum(n for at, n in self._changes if n > 0 and now - at < 300)
            target = min(ceiling, self.replicas + max(self.scale_out_pods - added, 0))
        elif floor < self.replicas:
            gone = -sum(n for at, n in self._changes if n < 0 and now - at < self.scale_in_period_s)
            target = max(floor, self.replicas - max(1 - gone, 0))
        if target != self.replicas:
            self._changes.append((now, target - self.replicas))
            self.replicas = target
        self._wanted = [(at, n) for at, n in self._wanted if now - at <= self.scale_in_window_s]
