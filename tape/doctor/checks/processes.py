"""Checks of the processes: there, alive, restored, of one version, configuration and rules."""

from collections.abc import Callable, Iterator

from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP as SINK
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.doctor.check import Check, amber, green, idle, lasting, red, some, unknown
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.snapshot import Beat, Expected, LocalProcess, Section, Snapshot

SILENT_US = 15 * SECOND_US
"""Three times the five seconds after which an idle process reports."""
START_US = 2 * MINUTE_US
"""How long a process may restore its state after a start."""
RESTORE_US = 10 * MINUTE_US
"""From here on a restore is red."""
_RESTARTS = 3


def _stack(snap: Snapshot) -> Iterator[Finding]:
    if not snap.is_local:
        yield idle("no local stack is known, so its processes are not looked at")
        return
    if not snap.local:
        yield red("the local stack has no processes", remedy="tape down, then tape up")
    for each in snap.local:
        if not each.alive:
            yield red(
                f"process {each.name} (pid {each.pid}) of the local stack is dead",
                stage=each.name,
                remedy=f"tape logs {each.name}, then tape down and tape up",
            )
        elif each.restarts >= _RESTARTS and _is_young(snap, each):
            yield amber(
                f"process {each.name} was restarted {each.restarts} times, last a moment ago",
                stage=each.name,
                remedy=f"tape logs {each.name}",
            )
    if snap.local and all(each.alive for each in snap.local):
        yield green(f"{len(snap.local)} processes of the local stack are alive")


def _is_young(snap: Snapshot, process: LocalProcess) -> bool:
    return any(is_young(snap, name) for name in process.stages or (process.name,))


def is_young(snap: Snapshot, stage: str) -> bool:
    """Whether the youngest process of a stage may still restore its state."""
    started = snap.started(stage)
    return started is not None and snap.now - started < START_US


def _heartbeats(snap: Snapshot) -> Iterator[Finding]:
    well = 0
    for wanted in snap.expected:
        found = list(_silent(snap, wanted))
        yield from found
        well += not found
    known = {each.stage for each in snap.expected}
    strangers = {
        each.stage: each.at
        for each in snap.beats
        if each.stage not in known and _age(snap, each) <= SILENT_US and not _is_optional(each.stage)
    }
    if snap.config is not None:
        for name in sorted(strangers):
            yield amber(
                f"{name} reports, and neither topology nor configuration calls for it",
                stage=name,
                remedy="tape config where: stop it, or name the document that it runs under",
            )
    if well == len(snap.expected):
        yield green(f"{well} processes and stages reported within {SILENT_US // SECOND_US} s")


def _is_optional(stage: str) -> bool:
    """Ingesters may run whether or not they are called for."""
    return stage.startswith("ingest-")


def _age(snap: Snapshot, beat: Beat) -> int:
    """Micros since the newest beat; one that came while the doctor looked is new whatever its clock says."""
    return 0 if beat.moved else snap.now - beat.at


def _silent(snap: Snapshot, wanted: Expected) -> Iterator[Finding]:
    """What is missing of one process or stage."""
    beats = {each.partition: each for each in snap.beats_of(wanted.stage)}
    if not beats:
        yield red(
            f"{wanted.stage} has never reported: it does not run",
            stage=wanted.stage,
            remedy=_start(snap, wanted),
        )
        return
    old = {n: each for n, each in beats.items() if n in wanted.partitions and _age(snap, each) > SILENT_US}
    missing = [n for n in wanted.partitions if n not in beats]
    if not old and not missing:
        return
    last = max((each.at for each in old.values()), default=None)
    all_of_it = len(old) + len(missing) == len(wanted.partitions)
    which = "" if all_of_it else f" partition {some(sorted([*old, *missing]))}"
    age = f" for {lasting(snap.now - last)}" if last is not None else " since it began"
    yield red(
        f"{wanted.stage}{which} has been silent{age}: {_alive(snap, wanted.stage)}",
        since=last,
        stage=wanted.stage,
        remedy=_start(snap, wanted),
    )


def _alive(snap: Snapshot, stage: str) -> str:
    """What a local stack knows of a silent process."""
    how = "it is frozen or cannot reach the broker"
    if stage == SINK:  # the loop that stores also beats
        how = "it is frozen, cannot reach the broker, or waits for Postgres"
    for each in snap.local:
        if stage in (each.name, *each.stages):
            state = f"alive: {how}" if each.alive else "dead"
            return f"its process {each.name} (pid {each.pid}) is {state}"
    return f"it is dead, or {how}"


def _start(snap: Snapshot, wanted: Expected) -> str:
    for each in snap.local:
        if wanted.stage in (each.name, *each.stages):
            return f"tape logs {each.name}"
    return wanted.start


def _ready(snap: Snapshot) -> Iterator[Finding]:
    told = [each for each in snap.beats if each.ready is not None or each.to_restore is not None]
    waiting = [each for each in told if each.ready is False and _age(snap, each) <= SILENT_US]
    late = 0
    for each in waiting:
        since = each.started_at
        lasted = snap.now - since if since is not None else RESTORE_US
        if lasted <= START_US:
            continue
        late += 1
        progress = (
            f"{each.restored} of {each.to_restore} records restored"
            if each.restored is not None and each.to_restore is not None
            else "it has no state or no partition yet"
        )
        told_as = red if lasted >= RESTORE_US else amber
        yield told_as(
            f"{each.stage}/{each.partition} is not ready after {lasting(lasted)}: {progress}",
            since=since,
            stage=each.stage,
            remedy=f"tape status --watch; the log of {each.stage} says what it waits for",
        )
    if not late:
        yield green(f"{len(told)} stage partitions say whether they are ready, and none is late")


def _one(
    snap: Snapshot, what: str, wanted: str | None, read: Callable[[Beat], str], remedy: str
) -> Iterator[Finding]:
    """One value over all processes that report, equal to ``wanted``; None: any, but one."""
    found: dict[str, set[str]] = {}
    for each in snap.beats:
        if _age(snap, each) <= SILENT_US and read(each):
            found.setdefault(read(each), set()).add(each.stage)
    if not found:
        yield unknown(f"no process says its {what}", remedy="tape status", follows=True)
        return
    odd = {value: names for value, names in found.items() if wanted is not None and value != wanted}
    if len(found) > 1 and wanted is None:
        fewest = min(found, key=lambda value: (len(found[value]), value))
        odd = {fewest: found[fewest]}
    for value, names in sorted(odd.items()):
        usual = wanted or some(sorted(set(found) - {value}))
        yield red(
            f"{some(sorted(names))} runs {what} {value}, expected is {usual}",
            stage=min(names),
            remedy=remedy,
        )
    if not odd:
        yield green(f"every process runs {what} {next(iter(found))}")


def _versions(snap: Snapshot) -> Iterator[Finding]:
    return _one(
        snap, "code version", snap.release, lambda each: each.version,
        "restart it from the expected release (TAPE_EXPECTED_RELEASE names another)",
    )  # fmt: skip


def _configs(snap: Snapshot) -> Iterator[Finding]:
    return _one(
        snap, "configuration", snap.config.digest if snap.config else None, lambda each: each.digest,
        "tape config where: restart it under the same document",
    )  # fmt: skip


def _rules(snap: Snapshot) -> Iterator[Finding]:
    if not any(each.rules for each in snap.beats):
        yield idle("no process says its rules version: all are of older releases")
        return
    yield from _one(
        snap, "rules", snap.rules, lambda each: each.rules, "restart it from the expected release"
    )


def _document(snap: Snapshot) -> Iterator[Finding]:
    if snap.config is None:
        yield amber(
            "no configuration is named, so dispatchers, accounts and the digest are not checked",
            remedy="export TAPE_CONFIG=DOCUMENT",
        )
    else:
        yield green(f"the configuration {snap.config.digest} has {len(snap.config.accounts)} accounts")


_SEEN = (Section.BROKER, Section.BEATS)
STACK = Check(
    name="stack",
    rule="every process of a local stack is alive; a dead one is red, one that restarts often amber",
    steps=(
        "`tape logs NAME` prints why it ended",
        "correct what the log names",
        "the supervisor restarts it; if it gave up, `tape down` and `tape up`",
    ),
    look=_stack,
)
HEARTBEATS = Check(
    name="heartbeats",
    rule="every process that topology and configuration call for reported within 15 s (3 x 5 s), each "
    "partition by itself; silent or never there is red",
    steps=(
        "look whether its process runs: `tape status`, `docker compose ps` or `kubectl get pods`",
        "read the end of its log; `kill -9` and restart a frozen one, its state is safe",
        "start it with the command in the finding if nothing does",
    ),
    look=_heartbeats,
    needs=_SEEN,
)
READY = Check(
    name="ready",
    rule="a stage is ready within 2 min of its start; amber up to 10 min, red above",
    steps=(
        "`tape status --watch` shows how far the restore is",
        "give it time if the count rises: state is read from its changelog",
        "if it stands still, read its log and check the broker's load",
    ),
    look=_ready,
    needs=_SEEN,
)
VERSIONS = Check(
    name="versions",
    rule="one code version over all processes, equal to the expected release; otherwise red",
    steps=(
        "`tape status --json` lists the version of each process",
        "restart the ones in the finding from the expected release",
        "set TAPE_EXPECTED_RELEASE if another one is meant",
    ),
    look=_versions,
    needs=_SEEN,
)
CONFIGS = Check(
    name="configs",
    rule="one configuration digest over all processes, equal to the document's; otherwise red",
    steps=(
        "`tape config where` shows which document is used here",
        "compare the document of the process in the finding with it",
        "restart that process under the same document",
    ),
    look=_configs,
    needs=_SEEN,
)
RULES = Check(
    name="rules",
    rule="one rules version over all processes, equal to this release's; otherwise red",
    steps=(
        "`tape status --json` lists the rules version of each process",
        "restart the ones in the finding from the expected release",
        "`tape digest --rebuild` afterwards: decisions of two rules must not be mixed",
    ),
    look=_rules,
    needs=_SEEN,
)
DOCUMENT = Check(
    name="document",
    rule="a configuration is named, so that accounts and digest can be checked; amber without one",
    steps=(
        "`tape config where` shows what is named",
        "export TAPE_CONFIG with the document of the pipeline",
        "`tape config check DOCUMENT`, then run `tape doctor` again",
    ),
    look=_document,
)
