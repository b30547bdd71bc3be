"""Every metric that a process of tapedeck gives: name, kind, labels, who gives it. No label is a symbol."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of a histogram's buckets, seconds."""


class Kind(StrEnum):
    """A counter starts at 0 with its process; a histogram counts seconds in buckets."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class By(StrEnum):
    """The kind of process that gives a metric."""

    WORKER = "worker"
    DISPATCH = "dispatch"
    INGEST = "ingest"
    SCORER = "scorer"
    SINK = "sink"
    EXCHANGE = "exchange"
    PLAY = "play"


EVERY = tuple(By)
STAGES = (By.WORKER, By.DISPATCH)
EDGES = (By.INGEST, By.SCORER, By.SINK)
REPORTING = (*STAGES, *EDGES)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One line of the catalogue. ``name`` has the unit at its end; a counter's ends in ``_total``."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    by: tuple[By, ...] = REPORTING


class Sample(NamedTuple):
    """A value of a metric; ``labels`` in the order of the catalogue."""

    metric: Metric
    value: "float | Buckets"
    labels: tuple[str, ...] = ()


@dataclass
class Buckets:
    """Seconds counted in ``BUCKETS``, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """(upper bound as text, how many are at most so long), the last one unbounded."""
        count = 0
        for bound, here in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            count += here
            yield bound, count


def _gauge(name: str, told: str, *labels: str, by: tuple[By, ...] = REPORTING) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, help=told, labels=labels, by=by)


def _counter(name: str, told: str, *labels: str, by: tuple[By, ...] = REPORTING) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, help=told, labels=labels, by=by)


def _histogram(name: str, told: str, *labels: str, by: tuple[By, ...]) -> Metric:
    return Metric(name=name, kind=Kind.HISTOGRAM, help=told, labels=labels, by=by)


BUILD = _gauge(
    "tape_build_info",
    "Always 1; what runs: code, configuration, rules.",
    "code_version", "config_digest", "rules_version",
    by=EVERY,
)  # fmt: skip
STARTED = _gauge("tape_process_started_seconds", "When the process started, Unix time.", by=EVERY)
READY = _gauge("tape_ready", "1 if the process is recovered, assigned and connected, else 0.", by=EVERY)
LIVE = _gauge("tape_live", "1 if the process makes progress or has none to make, else 0.", by=EVERY)
SESSION = _gauge(
    "tape_session_open", "1 in the regular phase of a session of New York, else 0.", by=EVERY
)  # fmt: skip
BEAT = _gauge(
    "tape_heartbeat_age_seconds", "Seconds since the last heartbeat was made.", "stage", "partition"
)  # fmt: skip
RECORDS = _counter(
    "tape_records_total",
    "Records by what came of them: IN, OUT:topic, or a reason of the stage.",
    "stage", "partition", "outcome",
)  # fmt: skip
LAG = _gauge(
    "tape_lag_records",
    "Records that can be read and are not applied; no series where it is not known.",
    "stage",
)  # fmt: skip
WATERMARK = _gauge(
    "tape_watermark_seconds",
    "The last minute that is ended here, Unix time; no series before the first.",
    "stage", "partition",
)  # fmt: skip
SOURCE_WATERMARK = _gauge(
    "tape_source_watermark_seconds",
    "The last minute that the source of the stage has ended, Unix time.",
    "stage",
    by=(By.WORKER,),
)
DELAY = _gauge(
    "tape_stage_delay_seconds",
    "The source's last ended minute minus the stage's, from watermarks; no series where one is not known.",
    "stage", "partition",
    by=(By.WORKER,),
)  # fmt: skip
BATCH = _histogram(
    "tape_batch_seconds", "From taking a batch to acknowledging its inputs.", "stage", by=STAGES
)  # fmt: skip
RESTORE = _gauge(
    "tape_restore_seconds", "How long the last recovery of the tables took, or takes.", "stage", by=STAGES
)  # fmt: skip
RESTORED = _gauge(
    "tape_restored_records", "Changelog records applied in the last recovery.", "stage", by=STAGES
)  # fmt: skip
TO_RESTORE = _gauge(
    "tape_to_restore_records", "Changelog records that recovery has to apply.", "stage", by=STAGES
)  # fmt: skip
REBALANCES = _counter(
    "tape_rebalances_total", "Generations of the consumer group that this process has begun.", "stage",
    by=STAGES,
)  # fmt: skip
REPEATS = _counter(
    "tape_repeats_total", "Records that came again and were recognized.", "stage", by=(*STAGES, By.SINK)
)  # fmt: skip
DEAD = _counter(
    "tape_dead_letters_total", "Dead letters written, by reason.", "stage", "reason",
    by=(*STAGES, By.INGEST, By.SINK),
)  # fmt: skip
DECISIONS = _counter(
    "tape_decisions_total", "Decisions, by reason.", "stage", "reason", by=(By.WORKER,)
)  # fmt: skip
ORDERS = _counter("tape_orders_total", "Records of orders, by state.", "stage", "state", by=(By.DISPATCH,))
EXITS = _counter(
    "tape_exits_total", "Records of exits, by the rule that was chosen.", "stage", "rule", by=(By.DISPATCH,)
)  # fmt: skip
POSITIONS = _counter(
    "tape_positions_total", "Records of positions, by state: OPEN, CLOSING, CLOSED.", "stage", "state",
    by=(By.DISPATCH,),
)  # fmt: skip
WARNINGS = _gauge(
    "tape_account_warnings",
    "What the account warns of now, by kind: CLOSE_STUCK, MARK_MISSING, REGIME_UNKNOWN, ...",
    "stage", "kind",
    by=(By.DISPATCH,),
)  # fmt: skip
GATES = _counter(
    "tape_gates_total", "Gates that a proposal met, by verdict: passed, failed.", "stage", "gate", "verdict",
    by=(By.DISPATCH,),
)  # fmt: skip
SINK_DELAY = _gauge(
    "tape_sink_delay_seconds", "Seconds since the sink had stored all that it could read; 0 if it has.",
    by=(By.SINK,),
)  # fmt: skip
FEED_AGE = _gauge(
    "tape_feed_age_seconds",
    "Seconds for which a source has been in its present state; for a feed, since its last success.",
    "stage", "source", "state",
    by=(By.INGEST,),
)  # fmt: skip
MODEL = _histogram(
    "tape_model_seconds", "Seconds of one round of scoring, all its texts together.", by=(By.SCORER,)
)  # fmt: skip

CATALOGUE: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
BY_NAME: Mapping[str, Metric] = {each.name: each for each in CATALOGUE}
