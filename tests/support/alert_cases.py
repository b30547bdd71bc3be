"""Each alert firing and silent, for promtool in ``tests/unit/deployment/test_alerts.py``."""

from tests.support.alert_cases_warned import WARNED
from tests.support.alert_series import (
    DISPATCH,
    PLAY,
    SAMPLES,
    SESSION,
    Case,
    Series,
    beat,
    dead,
    delay,
    healthy,
    mark,
    minutes,
    of,
    process,
    still,
    taken,
)

CLOSED = {SESSION: still(0)}
_PLACE = {"job": "features", "instance": "features:1"}
_FEATURES = {"stage": "features"}


def _one(labels: Series, summary: str) -> tuple[tuple[Series, str], ...]:
    return ((labels, summary),)


def _absent(alert: str, stage: str, gone: tuple[str, ...]) -> tuple[Case, ...]:
    """All series of a process are gone at 10 minutes; back within 45 s, nothing fires."""
    ended = {name: f"{_until(values, 40)} stale" for name, values in healthy().items() if _has(name, gone)}
    back = {
        name: f"{_until(values, 40)} stale _x2 {values}"
        for name, values in healthy().items()
        if _has(name, gone)
    }
    words = f"no process of {stage} reports"
    return (
        Case(alert=alert, why="it vanished", changes=ended, fires=_one({"stage": stage}, words)),
        Case(alert=alert, why="it never came", without=gone, at_s=120, fires=_one({"stage": stage}, words)),
        Case(alert=alert, why="it was restarted", changes=back, at_s=720),
    )


def _has(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name for part in parts)


def _until(values: str, samples: int) -> str:
    """The beginning of values in the form 2x160, 0+100x160, or one by one."""
    head, cross, _ = values.rpartition("x")
    return f"{head}x{samples}" if cross and " " not in values else " ".join(values.split()[:samples])


CASES: tuple[Case, ...] = (
    Case(
        alert="TapeStageDelayed",
        why="four minutes behind",
        changes={delay("features"): f"0x20 {still(240)}"},
        fires=_one(_FEATURES, "features is 240 s behind its source"),
    ),
    Case(alert="TapeStageDelayed", why="three minutes", changes={delay("features"): still(180)}),
    Case(alert="TapeStageDelayed", why="for a minute", changes={delay("features"): f"0x56 240x4 {still(0)}"}),
    Case(alert="TapeStageDelayed", why="closed", changes={**CLOSED, delay("features"): still(240)}),
    Case(
        alert="TapeSourceSilent",
        why="bars ended at ten minutes",
        changes={mark(name): minutes(40) for name in ("features", "scores", "watchlist", "signals")},
        fires=_one({"source": "bars"}, "bars has ended no minute for 360 s"),
    ),
    Case(alert="TapeSourceSilent", why="on time"),
    Case(
        alert="TapeSourceSilent",
        why="only its last minute is overdue",
        at_s=735,
        changes={mark(name): minutes(40) for name in ("features", "scores", "watchlist", "signals")},
    ),
    Case(
        alert="TapeSourceSilent",
        why="closed",
        changes={
            **CLOSED,
            **{mark(name): minutes(40) for name in ("features", "scores", "watchlist", "signals")},
        },
    ),
    Case(
        alert="TapeSourceSilent",
        why="a tape was played, of another time",
        changes={
            **{mark(name): minutes(40) for name in ("features", "scores", "watchlist", "signals")},
            PLAY: "1x20 stale",
        },
    ),
    Case(
        alert="TapeSourceQuiet",
        why="news ended",
        at_s=1200,
        changes={mark("stories"): minutes(40)},
        fires=_one({"source": "news"}, "news has ended no minute for 660 s"),
    ),
    Case(
        alert="TapeSourceQuiet",
        why="later than bars may be",
        at_s=870,
        changes={mark("stories"): minutes(40)},
    ),
    Case(
        alert="TapeSourceQuiet",
        why="nobody reads posts",
        without=('tape_source_watermark_seconds{job="post',),
    ),
    Case(
        alert="TapeStageStalled",
        why="the sink takes nothing",
        changes={
            of("tape_lag_records", "sink"): f"0x50 {still(7)}",
            taken("sink"): f"0+100x50 {still(5000)}",
        },
        fires=_one(
            {"job": "sink", "instance": "sink:1", "stage": "sink"}, "sink takes none of at least 7 records"
        ),
    ),
    Case(
        alert="TapeStageStalled",
        why="it is slow, but takes some",
        changes={of("tape_lag_records", "sink"): f"0x50 {still(7)}"},
    ),
    Case(alert="TapeStageStalled", why="there is nothing to take", changes={taken("sink"): still(5000)}),
    Case(
        alert="TapeStageStalled",
        why="it recovers",
        changes={
            of("tape_lag_records", "features"): still(7),
            taken("features"): still(5000),
            process("tape_ready", "features"): still(0),
        },
        at_s=300,
    ),
    Case(
        alert="TapeNotLive",
        why="it stands",
        changes={process("tape_live", "features"): f"1x40 {still(0)}"},
        fires=_one(_PLACE, "features at features:1 makes no progress"),
    ),
    Case(
        alert="TapeNotLive",
        why="for a moment",
        changes={process("tape_live", "features"): f"1x58 0 {still(1)}"},
    ),
    Case(
        alert="TapeLagGrows",
        why="it grows by two a second",
        at_s=1800,
        changes={of("tape_lag_records", "features"): f"500+30x{SAMPLES}"},
        fires=_one(_FEATURES, "the lag of features grows by 2 records a second"),
    ),
    Case(
        alert="TapeLagGrows",
        why="it falls",
        at_s=1800,
        changes={of("tape_lag_records", "features"): f"9000-30x{SAMPLES}"},
    ),
    Case(
        alert="TapeLagGrows",
        why="it is small",
        at_s=1800,
        changes={of("tape_lag_records", "features"): "1+1x160"},
    ),
    Case(
        alert="TapeLagGrows",
        why="the stage is late: that says more",
        at_s=1800,
        changes={of("tape_lag_records", "features"): f"500+30x{SAMPLES}", delay("features"): still(240)},
    ),
    Case(
        alert="TapeRestoreSlow",
        why="eleven minutes",
        changes={
            of("tape_restore_seconds", "features"): "0+15x160",
            of("tape_restored_records", "features"): still(3),
            process("tape_ready", "features"): still(0),
        },
        fires=_one({**_PLACE, **_FEATURES}, "features has recovered its tables for 900 s"),
    ),
    Case(
        alert="TapeRestoreSlow",
        why="nine minutes",
        at_s=540,
        changes={
            of("tape_restore_seconds", "features"): "0+15x160",
            of("tape_restored_records", "features"): still(3),
            process("tape_ready", "features"): still(0),
        },
    ),
    Case(alert="TapeRestoreSlow", why="done", changes={of("tape_restore_seconds", "features"): still(900)}),
    Case(
        alert="TapeNotReady",
        why="from the beginning",
        changes={process("tape_ready", "features"): still(0)},
        fires=_one(_PLACE, "features at features:1 is not ready"),
    ),
    Case(
        alert="TapeNotReady",
        why="it starts",
        changes={process("tape_ready", "features"): f"1x30 0x20 {still(1)}"},
    ),
    Case(
        alert="TapeMemberMissing",
        why="one of two owns both partitions",
        changes={
            beat("features", 1): still(2),
            of("tape_restore_seconds", "features", place=2): still(0),
        },
        fires=_one(_FEATURES, "features has 2 processes, and not all of them own a partition"),
    ),
    Case(
        alert="TapeMemberMissing",
        why="each owns one",
        changes={
            beat("features", 1, place=2): still(2),
            of("tape_restore_seconds", "features", place=2): still(0),
        },
    ),
    Case(
        alert="TapeMemberMissing",
        why="a standby of a stage with one partition",
        changes={of("tape_restore_seconds", "scores", place=2): still(0)},
    ),
    Case(
        alert="TapePartitionLost",
        why="nobody took it over",
        changes={beat("features", 1): "2x40 stale"},
        fires=_one({"stage": "features", "partition": "1"}, "partition 1 of features has no owner"),
    ),
    Case(
        alert="TapePartitionLost",
        why="another process owns it at once",
        changes={
            beat("features", 1): "2x40 stale",
            beat("features", 1, place=2): f"_x41 {still(2)}",
        },
    ),
    Case(
        alert="TapePartitionLost",
        why="within the time of a rebalance",
        at_s=630,
        changes={
            beat("features", 1): "2x40 stale",
            beat("features", 1, place=2): f"_x42 {still(2)}",
        },
    ),
    Case(
        alert="TapeHeartbeatOld",
        why="it froze",
        changes={beat("features"): f"2x40 2+15x{SAMPLES}"},
        fires=_one({"stage": "features", "partition": "0"}, "partition 0 of features is silent for 287 s"),
    ),
    Case(
        alert="TapeHeartbeatOld",
        why="its new owner reports",
        changes={beat("features"): f"2x40 2+15x{SAMPLES}", beat("features", 0, 2): still(2)},
    ),
    Case(
        alert="TapeDeadLetters",
        why="a single one",
        changes={dead("features", "UNREADABLE"): f"0x40 {still(1)}"},
        fires=_one(_FEATURES, "features wrote dead letters"),
    ),
    Case(
        alert="TapeDeadLetters",
        why="of half an hour ago",
        at_s=2100,
        changes={dead("features", "UNREADABLE"): f"0x10 {still(1)}"},
    ),
    Case(
        alert="TapeDeadLettersMany",
        why="every tenth record",
        changes={dead("features", "UNREADABLE"): f"0+10x{SAMPLES}"},
        fires=_one(_FEATURES, "10% of the records of features are dead letters"),
    ),
    Case(
        alert="TapeDeadLettersMany",
        why="few of many",
        changes={dead("features", "UNREADABLE"): f"0x40 {still(12)}"},
    ),
    Case(
        alert="TapeDeadLettersMany",
        why="one of ten records",
        changes={dead("features", "UNREADABLE"): f"0x40 {still(1)}", taken("features"): f"0x40 {still(10)}"},
    ),
    Case(
        alert="TapeSinkLate",
        why="ten minutes",
        changes={process("tape_sink_delay_seconds", "sink"): f"0x20 0+15x{SAMPLES}"},
        fires=_one({"job": "sink", "instance": "sink:1"}, "the audit in Postgres is 585 s behind"),
    ),
    Case(alert="TapeSinkLate", why="one", changes={process("tape_sink_delay_seconds", "sink"): still(60)}),
)

ABSENT: tuple[Case, ...] = (
    *_absent("TapeWorkerAbsent", "features", ('stage="features"', 'job="features"')),
    *_absent("TapeScorerAbsent", "scorer", ('job="scorer"',)),
    *_absent("TapeSinkAbsent", "sink", ('job="sink",instance="sink:1",',)),
    *_absent("TapeIngestAbsent", "ingest-news", ('job="ingest-news"',)),
    Case(alert="TapeIngestAbsent", why="a tape is played", without=("ingest-",), changes={PLAY: still(1)}),
    Case(
        alert="TapeDispatcherAbsent",
        why="none reports",
        without=(DISPATCH,),
        fires=_one({}, "no dispatcher of any account reports"),
    ),
    Case(alert="TapeDispatcherAbsent", why="one does"),
    Case(
        alert="TapeExchangeAbsent",
        why="none reports",
        without=("exchange",),
        fires=_one({"job": "exchange"}, "no paper exchange reports"),
    ),
    Case(
        alert="TapeExchangeAbsent",
        why="in a pod it is an end point",
        without=("exchange",),
        changes={'tape_ready{job="tapedeck",endpoint="exchange"}': still(1)},
    ),
    Case(
        alert="TapeDelayUnknown",
        why="one has none",
        without=('tape_stage_delay_seconds{job="signals"',),
        fires=_one({"stage": "signals"}, "the delay of signals is not known"),
    ),
    Case(
        alert="TapeDelayUnknown",
        why="closed",
        without=('tape_stage_delay_seconds{job="signals"',),
        changes=CLOSED,
    ),
    Case(
        alert="TapeSessionUnknown",
        why="nobody tells",
        without=("tape_session_open",),
        fires=_one({}, "no process tells whether the market is open"),
    ),
    Case(alert="TapeSessionUnknown", why="closed is known", changes=CLOSED),
)
ALL = (*CASES, *WARNED, *ABSENT)
