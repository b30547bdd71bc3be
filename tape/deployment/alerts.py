"""The alerts of a deployment, as a table over the catalogue of metrics.

Delay is in seconds and exact, from watermarks. What only matters while the market trades is held back by
``tape_session_open``, so that holidays, half days and clock changes need no rule of their own. What gives no
series can exceed no limit, so ``alerts_absent`` has the twins that fire where a series is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.streams import metrics
from tapedeck.streams.topology import Topology
from tapedeck.tape.deployment.processes import PLAYER

DELAY_S = 180
"""A stage that is further behind its source than this is late, as for `tape doctor`."""
FEED_S = 90
"""How long a minute of the source may be overdue in a session."""
DUE_S = 130
"""Age of a minute's label when the next one is due: that ends two minutes after the label, and ten seconds
are for the grace of the feed and its way."""
SOFT_S = 120
"""More time for a source that decisions do without, such as sentiment, which waits for the scorer."""
STALLED_S = 60
RESTORE_S = 600
HEARTBEAT_S = 15
LOST_S = 30
"""The default session time-out, 6 s, and 3 s, rounded up to two readings. A longer time-out needs more."""
LAG = 1_000
DEAD_SHARE, DEAD = 0.01, 10
SINK_S = 300
WARNED_S, MARK_S = 60, 300
"""How long an account may warn of what stops trading, and of a price that is missing."""
GRAVE = ("CLOSE_STUCK", "NEEDS_REVIEW", "ORDER_UNKNOWN")
SESSION = f"max({metrics.SESSION.name}) == 1"
PLAYED = f'count_over_time({metrics.READY.name}{{job="{PLAYER}"}}[1d])'
"""Whether a tape was played within a day: its minutes are of another time, and nobody ingests."""
STAGE = "namespace, stage"
PLACE = "job, instance, stage"
STEPS = tuple[str, str, str]


class Severity(StrEnum):
    """A page wakes a person; a ticket waits for working hours."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert: when it fires, and what a person does then.

    ``exprs``: PromQL, one rule each. ``for_s``: how long it must hold, seconds. ``when``: the same in words.
    ``summary``: what is wrong, with Prometheus's templates. ``labels``: those of the rule of each expression.
    ``in_session``: it is silent while the market is closed.
    """

    name: str
    severity: Severity
    when: str
    exprs: tuple[str, ...]
    summary: str
    steps: STEPS
    for_s: int = 0
    in_session: bool = False
    labels: tuple[dict[str, str], ...] = ()

    @property
    def runbook(self) -> str:
        """Where its steps are."""
        return f"docs/runbook.md#{self.name.lower()}"

    def rules(self) -> Iterator[dict[str, object]]:
        """Its rules in the form of Prometheus."""
        for place, expr in enumerate(self.exprs):
            own = self.labels[place] if self.labels else {}
            summary = self.summary
            for label, value in own.items():  # templates see the labels of the series only, not the rule's
                summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
            yield {
                "alert": self.name,
                "expr": f"({expr}) and on () ({SESSION})" if self.in_session else expr,
                **({"for": f"{self.for_s}s"} if self.for_s else {}),
                "labels": {"severity": str(self.severity), **own},
                "annotations": {"summary": summary, "runbook_url": self.runbook},
            }


def alerts(topology: Topology) -> tuple[Alert, ...]:
    """The alerts on what is measured; each reads series that a healthy deployment has."""
    return (_delayed(), *_silent(topology), *_stalled(), *_slow(), *_members(), *_dead(), *_warned(), _sink())


def _delayed() -> Alert:
    return Alert(
        name="TapeStageDelayed",
        severity=Severity.PAGE,
        when=f"in a session, a stage is more than {DELAY_S} s behind its source for 2 min",
        exprs=(f"max by ({STAGE}) ({metrics.DELAY.name}) > {DELAY_S}",),
        for_s=120,
        in_session=True,
        summary="{{ $labels.stage }} is {{ $value }} s behind its source",
        steps=(
            "`tape doctor --check delay` names the first stage that is late; those after it only wait for it",
            "Read the log of that stage; if it works at full load, give it more processes",
            "If it stands still, restart it: it continues from its state",
        ),
    )


def _silent(topology: Topology) -> Iterator[Alert]:
    """One rule per source. Decisions need that of the stage that makes them; without others they go on."""
    roots = {spec.name: topology.root(spec) for spec in topology.market}
    needed = {root for each in topology.signal_topics if (root := _root_of(topology, each))}
    for is_needed, name in ((True, "TapeSourceSilent"), (False, "TapeSourceQuiet")):
        found = [each for each in dict.fromkeys(roots.values()) if (each in needed) == is_needed]
        limit = DUE_S if is_needed else DUE_S + SOFT_S
        mark = metrics.SOURCE_WATERMARK.name
        stages = ["|".join(stage for stage, root in roots.items() if root == each) for each in found]
        if found:
            yield Alert(
                name=name,
                severity=Severity.PAGE if is_needed else Severity.TICKET,
                when=f"in a session, the newest minute of {' or '.join(found)} began {limit + FEED_S} s ago "
                "or earlier, and no tape was played within a day",
                exprs=tuple(
                    f'time() - max by (namespace) ({mark}{{stage=~"{each}"}}) > {limit} unless on () {PLAYED}'
                    for each in stages
                ),
                labels=tuple({"source": each} for each in found),
                for_s=FEED_S,
                in_session=True,
                summary="{{ $labels.source }} has ended no minute for {{ $value }} s",
                steps=(
                    "`tape doctor --check feed`, and the log of the process that writes the source",
                    "`tape doctor --check sources` says how its connection is; look at the provider's status "
                    "page",
                    "Restart it: it backfills what is missing",
                ),
            )


def _root_of(topology: Topology, name: str) -> str:
    writer = topology.writer(name)
    return topology.root(writer) if writer else ""


def _stalled() -> Iterator[Alert]:
    lag, records = metrics.LAG.name, metrics.RECORDS.name
    taken = f'sum by ({PLACE}) (increase({records}{{outcome="IN"}}[{STALLED_S}s]))'
    restoring = f"unless on (job, instance) {metrics.READY.name} == 0"
    yield Alert(
        name="TapeStageStalled",
        severity=Severity.PAGE,
        when=f"in a session, a process that is ready had records to read for {STALLED_S} s and took none",
        exprs=(f"min_over_time({lag}[{STALLED_S}s]) > 0 and on ({PLACE}) {taken} == 0 {restoring}",),
        in_session=True,
        summary="{{ $labels.stage }} takes none of at least {{ $value }} records",
        steps=(
            "Read the end of its log: it says what it waits for",
            "`tape doctor --check lag`; for the sink, look at Postgres: locks, disk, connections",
            "Restart the process: it continues from its state",
        ),
    )
    yield Alert(
        name="TapeNotLive",
        severity=Severity.PAGE,
        when="a process says for 30 s that it makes no progress although it should",
        exprs=(f"{metrics.LIVE.name} == 0",),
        for_s=30,
        summary="{{ $labels.job }} at {{ $labels.instance }} makes no progress",
        steps=(
            "Read `/health/live` of the process: it says which partition or loop stands",
            "Read the end of its log, and keep it",
            "Restart it, with `kill -9` if it does not end: its state is safe",
        ),
    )


def _slow() -> Iterator[Alert]:
    lag, ready = metrics.LAG.name, metrics.READY.name
    yield Alert(
        name="TapeLagGrows",
        severity=Severity.TICKET,
        when=f"lag is above {LAG} records and has grown over 10 min, for 5 min, and the stage is not late",
        exprs=(
            f"sum by ({STAGE}) (deriv({lag}[10m])) > 0 and sum by ({STAGE}) ({lag}) > {LAG} "
            f"unless on ({STAGE}) max by ({STAGE}) ({metrics.DELAY.name}) > {DELAY_S}",
        ),
        for_s=300,
        summary="the lag of {{ $labels.stage }} grows by {{ $value }} records a second",
        steps=(
            "`tape status --watch`: does the lag fall after the burst?",
            "Compare its batch time and CPU with those of yesterday",
            "Run more processes of the stage, up to its partitions",
        ),
    )
    yield Alert(
        name="TapeRestoreSlow",
        severity=Severity.PAGE,
        when=f"a process recovers its tables for more than {RESTORE_S} s",
        exprs=(
            f"{metrics.RESTORE.name} > {RESTORE_S} "
            f"and on ({PLACE}) {metrics.RESTORED.name} < {metrics.TO_RESTORE.name} "
            f"and on (job, instance) {ready} == 0",
        ),
        summary="{{ $labels.stage }} has recovered its tables for {{ $value }} s",
        steps=(
            "`tape status --watch` shows how far the restore is; give it time if the count rises",
            "If it stands still, look at the broker's load and at the process's log",
            "See that its volume of state is kept: with it, only what is new is read",
        ),
    )
    yield Alert(
        name="TapeNotReady",
        severity=Severity.PAGE,
        when=f"a process is not ready for {RESTORE_S} s",
        exprs=(f"{ready} == 0",),
        for_s=RESTORE_S,
        summary="{{ $labels.job }} at {{ $labels.instance }} is not ready",
        steps=(
            "Read `/health/ready` of the process: it says what is missing, by partition",
            "Mend what it names: a server, a right, a lease that another process holds",
            "`tape doctor --check ready` afterwards",
        ),
    )


def _members() -> Iterator[Alert]:
    beat = metrics.BEAT.name
    owned = f"count by ({STAGE}, job, instance) ({beat})"
    yield Alert(
        name="TapeMemberMissing",
        severity=Severity.TICKET,
        when="for 2 min, a process of a stage owns no partition while another one owns several",
        exprs=(
            f"count by ({STAGE}) ({metrics.RESTORE.name}) > count by ({STAGE}) ({owned}) "
            f"and on ({STAGE}) max by ({STAGE}) ({owned}) > 1",
        ),
        for_s=120,
        summary="{{ $labels.stage }} has {{ $value }} processes, and not all of them own a partition",
        steps=(
            "`tape doctor --check groups`, then `tape status --json`: which process owns nothing?",
            "Read its log: does it join the group, and is it refused?",
            "Restart it; check the rights of its login with `tape topics --acls`",
        ),
    )
    key = f"{STAGE}, partition"
    yield Alert(
        name="TapePartitionLost",
        severity=Severity.PAGE,
        when=f"a partition that had an owner within a day has none for {LOST_S} s",
        exprs=(f"max by ({key}) (last_over_time({beat}[1d])) unless on ({key}) max by ({key}) ({beat})",),
        for_s=LOST_S,
        summary="partition {{ $labels.partition }} of {{ $labels.stage }} has no owner",
        steps=(
            "See whether all its processes run: `tape status`, `docker compose ps` or `kubectl get pods`",
            "Start what is missing; a restart of it is safe",
            "If all run, their logs say why the group does not settle",
        ),
    )
    yield Alert(
        name="TapeHeartbeatOld",
        severity=Severity.PAGE,
        when=f"the newest heartbeat of a partition is more than {HEARTBEAT_S} s old for {LOST_S} s",
        exprs=(f"min by ({key}) ({beat}) > {HEARTBEAT_S}",),
        for_s=LOST_S,
        summary="partition {{ $labels.partition }} of {{ $labels.stage }} is silent for {{ $value }} s",
        steps=(
            "`tape doctor --check heartbeats` tells since when",
            "Read the end of its log: can it reach the broker?",
            "Restart the process, with `kill -9` if it is frozen: its state is safe",
        ),
    )


def _dead() -> Iterator[Alert]:
    dead = f"sum by ({STAGE}) (increase({metrics.DEAD.name}[15m]))"
    taken = f'sum by ({STAGE}) (increase({metrics.RECORDS.name}{{outcome="IN"}}[15m]))'
    steps: STEPS = (
        "`tape tail dead_letters` shows the records, the stage and the errors",
        "Correct the producer, or upgrade the stage that cannot read them",
        "If it began with a release, roll it back: docs/upgrade.md",
    )
    yield Alert(
        name="TapeDeadLetters",
        severity=Severity.TICKET,
        when="a stage wrote a dead letter within 15 min",
        exprs=(f"{dead} > 0",),
        summary="{{ $labels.stage }} wrote dead letters",
        steps=steps,
    )
    yield Alert(
        name="TapeDeadLettersMany",
        severity=Severity.PAGE,
        when=f"more than {DEAD_SHARE:.0%} of the records of a stage within 15 min, and more than {DEAD}, "
        "were dead letters",
        exprs=(f"{dead} / {taken} > {DEAD_SHARE} and {dead} > {DEAD}",),
        summary="{{ $value | humanizePercentage }} of the records of {{ $labels.stage }} are dead letters",
        steps=steps,
    )


def _warned() -> Iterator[Alert]:
    """What accounts themselves warn of. The doctor names the order, position or symbol."""
    warned = f"max by ({STAGE}, kind) ({metrics.WARNINGS.name}%s) > 0"
    summary = "the account of {{ $labels.stage }} warns of {{ $labels.kind }} ({{ $value }})"
    yield Alert(
        name="TapeAccountWarns",
        severity=Severity.PAGE,
        when=f"an account has warned for {WARNED_S} s of a close that is stuck, an adjustment to review or "
        "an order in doubt",
        exprs=(warned % f'{{kind=~"{"|".join(GRAVE)}"}}',),
        for_s=WARNED_S,
        summary=summary,
        steps=(
            "`tape accounts` and `tape doctor --check warnings` name the order, position or symbol",
            "`tape orders ACCOUNT` and `tape reconcile ACCOUNT`; compare with the broker's own page",
            "`tape halt ACCOUNT --person NAME --reason WHY` if you are not sure",
        ),
    )
    yield Alert(
        name="TapeMarkMissing",
        severity=Severity.TICKET,
        when=f"in a session, an account has had no price of something it holds for {MARK_S} s: only exits "
        "by time run",
        exprs=(warned % '{kind="MARK_MISSING"}',),
        for_s=MARK_S,
        in_session=True,
        summary=summary,
        steps=(
            "`tape accounts` names the instrument, `tape positions` shows the last price and its age",
            "See whether it trades: `tape tail market_events`, and the broker's quote",
            "`tape close POSITION --person NAME --reason WHY` if it must not wait",
        ),
    )


def _sink() -> Alert:
    return Alert(
        name="TapeSinkLate",
        severity=Severity.TICKET,
        when=f"the sink has not stored all it could read for {SINK_S} s",
        exprs=(f"{metrics.SINK_DELAY.name} > {SINK_S}",),
        summary="the audit in Postgres is {{ $value }} s behind",
        steps=(
            "Read the log of the sink",
            "Look at Postgres: locks, disk, connections",
            "Restart the sink: no row is lost or written twice",
        ),
    )
