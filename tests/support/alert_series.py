"""The series of a healthy deployment in promtool's notation, and a case: what differs, and what fires then.

Samples are 15 s apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tapedeck.streams.stages.topology import TOPOLOGY

STEP_S = 15
SAMPLES = 160
SESSION, PLAY = (
    'tape_session_open{job="sink",instance="sink:1"}',
    'tape_ready{job="play",instance="trading:2"}',
)
STAGES = tuple(spec.name for spec in TOPOLOGY.market)
DISPATCH = "dispatch-large"
Series = Mapping[str, str]


def of(metric: str, stage: str, labels: str = "", place: int = 1) -> str:
    """A series of a stage's process; ``place`` tells processes of one stage apart."""
    return f'{metric}{{job="{stage}",instance="{stage}:{place}",stage="{stage}"{labels}}}'


def process(metric: str, job: str, place: int = 1) -> str:
    """A series of a process that has no stage."""
    return f'{metric}{{job="{job}",instance="{job}:{place}"}}'


def beat(stage: str, partition: int = 0, place: int = 1) -> str:
    return of("tape_heartbeat_age_seconds", stage, f',partition="{partition}"', place)


def taken(stage: str) -> str:
    return of("tape_records_total", stage, ',partition="0",outcome="IN"')


def dead(stage: str, reason: str) -> str:
    return of("tape_dead_letters_total", stage, f',reason="{reason}"')


def delay(stage: str) -> str:
    return of("tape_stage_delay_seconds", stage, ',partition="0"')


def mark(stage: str) -> str:
    return of("tape_source_watermark_seconds", stage)


def minutes(last: int = SAMPLES) -> str:
    """Labels of a source that ends each minute on time, as Unix time from 0; ``last``: where it stops."""
    return " ".join(str((min(sample, last) * STEP_S // 60 - 1) * 60) for sample in range(SAMPLES + 1))


def healthy() -> dict[str, str]:
    """Everything runs, in a session."""
    made = {SESSION: still(1), process("tape_ready", "exchange"): still(1)}
    for name in (*STAGES, DISPATCH):
        made |= {
            of("tape_restore_seconds", name): still(5),
            of("tape_restored_records", name): still(10),
            of("tape_to_restore_records", name): still(10),
        }
    for name in STAGES:
        made |= {delay(name): still(0), mark(name): minutes()}
    for name in (*STAGES, DISPATCH, "scorer", "sink", "ingest-bars", "ingest-news"):
        made |= {
            process("tape_ready", name): still(1),
            process("tape_live", name): still(1),
            beat(name): still(2),
            of("tape_lag_records", name): still(0),
            taken(name): f"0+100x{SAMPLES}",
            dead(name, "NONE"): still(0),
        }
    made[of("tape_orders_total", DISPATCH, ',state="NONE"')] = still(0)
    made[of("tape_account_warnings", DISPATCH, ',kind="NONE"')] = still(0)
    made[process("tape_sink_delay_seconds", "sink")] = still(0)
    return made


def still(value: int) -> str:
    return f"{value}x{SAMPLES}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """``changes``: series in place of the healthy ones, or more of them. ``without``: parts of the names of
    series that are not there. ``at_s``: when it is judged. ``fires``: labels beside the severity, and the
    summary, of each alert that fires; empty where none does."""

    alert: str
    why: str
    at_s: int = 900
    changes: Series = field(default_factory=dict)
    without: tuple[str, ...] = ()
    fires: tuple[tuple[Series, str], ...] = ()

    def series(self) -> dict[str, str]:
        """The series that it is judged on."""
        kept = {
            name: values
            for name, values in healthy().items()
            if not any(part in name for part in self.without)
        }
        return kept | dict(self.changes)
