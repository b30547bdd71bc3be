"""The twins of the alerts: a target that vanished, or never came, is as bad as one that is late."""

from collections.abc import Sequence

from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP
from tapedeck.connectors.scoring.loop import STAGE as SCORER
from tapedeck.streams import metrics
from tapedeck.streams.config.document import Config
from tapedeck.streams.metrics import Metric
from tapedeck.streams.topology import Topology
from tapedeck.tape.deployment.alerts import PLAYED, STEPS, Alert, Severity
from tapedeck.tape.deployment.processes import EXCHANGE, Kind, Process, processes

GONE_S = 60
"""A container that restarts is back before."""
UNKNOWN_S = 300
_START: STEPS = (
    "See whether its process runs: `tape status`, `docker compose ps` or `kubectl get pods`",
    "Read the end of its log: it says why it ended",
    "Start it; if it runs, see whether Prometheus may read its port",
)


def twins(topology: Topology) -> tuple[Alert, ...]:
    """An alert for each kind of target that must be there, and for what the other alerts need."""
    found = processes(topology, Config())
    names = {kind: [each for each in found if each.kind is kind and not each.optional] for kind in Kind}
    return (
        _gone("Worker", metrics.RESTORE, [each.stage for each in names[Kind.STAGE]]),
        *([_gone("Scorer", metrics.BEAT, [SCORER])] if names[Kind.SCORER] else []),
        _dispatcher(),
        _gone("Sink", metrics.BEAT, [DEFAULT_GROUP]),
        _ingest(names[Kind.INGEST]),
        _exchange(),
        _delay(topology),
        _session(),
    )


def _absent(metric: Metric, stages: Sequence[str]) -> tuple[str, ...]:
    return tuple(f'absent({metric.name}{{stage="{each}"}})' for each in stages)


def _labels(stages: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Rules of one name must differ in their labels."""
    return tuple({"stage": each} for each in stages)


def _gone(kind: str, metric: Metric, stages: Sequence[str]) -> Alert:
    return Alert(
        name=f"Tape{kind}Absent",
        severity=Severity.PAGE,
        when=f"no process of {' or '.join(stages)} reports for {GONE_S} s",
        exprs=_absent(metric, stages),
        labels=_labels(stages),
        for_s=GONE_S,
        summary="no process of {{ $labels.stage }} reports",
        steps=_START,
    )


def _dispatcher() -> Alert:
    """Of all accounts together: an account that had a dispatcher has a partition that is lost."""
    return Alert(
        name="TapeDispatcherAbsent",
        severity=Severity.PAGE,
        when=f"no dispatcher of any account reports for {GONE_S} s",
        exprs=(f"absent({metrics.ORDERS.name})",),
        for_s=GONE_S,
        summary="no dispatcher of any account reports",
        steps=_START,
    )


def _ingest(found: Sequence[Process]) -> Alert:
    """Where a tape is played, nothing is ingested."""
    names = [each.name for each in found]
    return Alert(
        name="TapeIngestAbsent",
        severity=Severity.PAGE,
        when=f"no process of {' or '.join(names)} reports for {GONE_S} s, and no tape was played within a "
        "day",
        exprs=tuple(f"{each} unless on () {PLAYED}" for each in _absent(metrics.BEAT, names)),
        labels=_labels(names),
        for_s=GONE_S,
        summary="no process of {{ $labels.stage }} reports",
        steps=_START,
    )


def _exchange() -> Alert:
    """It gives no metric with a stage: it is a job of the compose file, and an end point in the chart."""
    ready = metrics.READY.name
    return Alert(
        name="TapeExchangeAbsent",
        severity=Severity.PAGE,
        when=f"no paper exchange reports for {GONE_S} s, neither as job nor as endpoint `{EXCHANGE}`",
        exprs=(f'absent({ready}{{job="{EXCHANGE}"}}) and on () absent({ready}{{endpoint="{EXCHANGE}"}})',),
        for_s=GONE_S,
        summary="no paper exchange reports",
        steps=_START,
    )


def _delay(topology: Topology) -> Alert:
    """For the stages that lead to signals; a source that nobody writes has no watermark."""
    needed = {topology.root(spec) for each in topology.signal_topics if (spec := topology.writer(each))}
    stages = [spec.name for spec in topology.market if topology.root(spec) in needed]
    return Alert(
        name="TapeDelayUnknown",
        severity=Severity.TICKET,
        when=f"in a session, nothing tells the delay of a stage for {UNKNOWN_S} s",
        exprs=_absent(metrics.DELAY, stages),
        labels=_labels(stages),
        for_s=UNKNOWN_S,
        in_session=True,
        summary="the delay of {{ $labels.stage }} is not known",
        steps=(
            "`tape doctor --check delay`: has its source a watermark, and has it one itself?",
            "On a secured cluster, give its login the right to read its source: `tape topics --acls`",
            "Read its log",
        ),
    )


def _session() -> Alert:
    return Alert(
        name="TapeSessionUnknown",
        severity=Severity.PAGE,
        when=f"no process tells for {UNKNOWN_S} s whether the market is open, so alerts of sessions are mute",
        exprs=(f"absent({metrics.SESSION.name})",),
        for_s=UNKNOWN_S,
        summary="no process tells whether the market is open",
        steps=(
            "Look whether Prometheus reads any process at all: its page of targets",
            "See whether any process runs",
            "`tape doctor --check calendar`: past its end, no session is known",
        ),
    )
