"""``tape rebuild``: recomputes stages from their source topics, for digests, a comparison or new tables."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.connectors.kafka.acls import ADMIN, OPERATOR
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, RunConfig, pipeline_of, say_withheld
from tapedeck.tape.local.places import say, snapshots_folder
from tapedeck.tape.topology import topology_in_use

if TYPE_CHECKING:
    from tapedeck.streams.columnar.job import TaskId
    from tapedeck.tape.rebuild.compared import Uncompared
    from tapedeck.tape.rebuild.verdict import Difference
    from tapedeck.tape.rebuild.work import Report

DIFFERENT = 1
EQUAL, DIFFERS, NOT_COMPARED = "EQUAL", "DIFFERENT", "NOT_COMPARED"
_SHOWN = 5


def rebuild(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages, or `account` for every account; default: all.")
    ] = None,
    *,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes; default: one per core.", show_default=False)
    ] = os.cpu_count() or 1,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with live; change nothing.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Activate the rebuilt tables; the workers must be stopped.")
    ] = False,
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="PREFIX", help="Write a whole pipeline under a new prefix."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Start from the newest snapshot at or before TIME."),
    ] = None,
    account: Annotated[str | None, typer.Option("--account", help="One account only.")] = None,
    config: RunConfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Recompute stages from their source topics, and print the digests of outputs and tables.

    Exit code 1 if --verify finds a difference, or has nothing to compare.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.connectors.recorded.window import kept  # noqa: PLC0415 - see above
    from tapedeck.tape.notebook.times import moment  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.into import rebuild_into  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.rebuild import apply as put_in_force  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.rebuild import run, spooled, tasks_for  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.tables import begun_at  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.work import Compute, Place, Verify  # noqa: PLC0415 - see above

    if sum((verify, apply, into is not None)) > 1:
        raise Fatal(
            "--verify, --apply and --into exclude each other", remedy="--apply includes the comparison"
        )
    if into is not None and since is not None:
        raise Fatal("--into writes a whole pipeline", value=since, remedy="leave out --from")
    topology = topology_in_use(config)
    pipeline = pipeline_of(bootstrap, prefix, ADMIN if apply or into else OPERATOR)
    document = pipeline.document(config)
    whence = config or pipeline.config or "no document: the built-in defaults"
    say(f"configuration {document.digest[:12]} of {whence}")
    tasks = tasks_for(topology, stages or (), pipeline.cluster.layout, document, account)
    say_withheld(pipeline.cluster, {name for task in tasks for name in task.spec.inputs})
    here = Place(pipeline.cluster, topology, document, Path())
    if since is not None:
        source = here.basis.source
        at = moment(since, "--from", lambda: kept(source).last)
        here = begun_at(here, tasks, at, snapshots_folder(), say)
    with spooled(here) as place:
        if apply:
            for plan in put_in_force(place, tasks, workers, say):
                print(f"{plan.task}: {len(plan.repairs)} differences repaired")
                _differences([(str(plan.task), each) for each in plan.repairs])
            return
        reports: list[Report]
        if into is not None:
            reports = rebuild_into(place, into, tasks, workers, say)
        else:
            work = Verify(place) if verify else Compute(place)
            reports = run(work, place, tasks, workers, "verifying" if verify else "rebuilding")
        verdict = _print(reports, document.digest, as_json=as_json, compared=verify)
    if verdict is not None and verdict != EQUAL:
        raise typer.Exit(DIFFERENT)


def _print(reports: "Sequence[Report]", digest: str, *, as_json: bool, compared: bool) -> str | None:
    """Print the reports; returns the verdict, None if there was nothing to compare."""
    from tapedeck.tape.rebuild.compared import uncompared  # noqa: PLC0415 - after the cache is named
    from tapedeck.tape.rebuild.rebuild import differences_of, lines_of  # noqa: PLC0415 - see above

    lines, found = list(lines_of(reports)), differences_of(reports)
    blank = uncompared((report.task, report.compared) for report in reports) if compared else []
    verdict = (DIFFERS if found else NOT_COMPARED if blank else EQUAL) if compared else None
    if as_json:
        told = [{"task": str(task), "kind": str(each.kind)} | each._asdict() for task, each in found]
        document = {
            "verdict": verdict,
            "watermark": _until(reports),
            "config_digest": digest,
            "lines": [vars(line) for line in lines],
            "differences": told,
            "not_compared": [each._asdict() | {"task": str(each.task)} for each in blank],
            "cpu_s": round(sum(report.cpu_s for report in reports), 3),
        }
        print(json.dumps(document, indent=1))
        return verdict
    print(f"{'stage':<18}{'of':<18}{'count':>10}  digest")
    for line in lines:
        print(f"{line.stage:<18}{line.what:<18}{line.records:>10}  {line.digest}")
    if compared:
        _verdict(reports, found, blank)
    return verdict


def _verdict(
    reports: "Sequence[Report]",
    found: "Sequence[tuple[TaskId, Difference]]",
    blank: "Sequence[Uncompared]",
) -> None:
    from tapedeck.tape.rebuild.rebuild import stage_of  # noqa: PLC0415 - after the cache is named
    from tapedeck.tape.rebuild.verdict import MOST  # noqa: PLC0415 - see above

    if found:
        kept = Counter((each.what, each.partition) for _, each in found)
        count = f"{'at least ' if max(kept.values()) >= MOST else ''}{len(found)}"
        print(f"{DIFFERS}: the first stage that differs is {stage_of(found[0][0])}; {count} differences")
        _differences([(stage_of(task), each) for task, each in found])
    if blank:
        print(
            f"{NOT_COMPARED.replace('_', ' ')}: there was nothing to compare for these, so nothing is proven"
        )
        for line in _alike(blank):
            print(f"  {line}")
    if not found and not blank:
        print(f"{EQUAL}: live has the same outputs and tables as a rebuild from the topics")
    for report in reports:
        if not (report.compared.values or report.compared.outputs or report.compared.why):
            print(f"  {report.task}: its input gave no output and no table value, live and rebuilt")
    reached = [f"watermark {until}"] if (until := _until(reports)) else []
    reached += [
        f"{stage_of(each.task)} up to {part[0]}/{part[1]}@{at - 1}"
        for each in reports
        if each.task.account_id is not None and each.compared.values
        for part, at in each.applied.items()
    ]
    if reached:
        print(f"compared up to {', '.join(reached)}")


def _alike(blank: "Sequence[Uncompared]") -> list[str]:
    """One line for all tasks with the same message."""
    tasks: dict[tuple[str, str, str], list[str]] = {}
    for each in blank:
        tasks.setdefault((each.task.stage, each.why, each.remedy), []).append(str(each.task))
    return [f"{', '.join(names)}: {why}; {remedy}" for (_, why, remedy), names in tasks.items()]


def _until(reports: "Sequence[Report]") -> str | None:
    """The lowest watermark up to which tasks were rebuilt; None if there is none."""
    from tapedeck.streams.sessions import iso_utc  # noqa: PLC0415 - after the cache is named

    marks = [report.watermark for report in reports if report.watermark is not None]
    return iso_utc(min(marks)) if marks else None


def _differences(found: "Sequence[tuple[str, Difference]]") -> None:
    """Print the first differences of each table and topic."""
    shown: dict[tuple[str, str], int] = {}
    for stage, each in found:
        shown[stage, each.what] = shown.get((stage, each.what), 0) + 1
        if shown[stage, each.what] <= _SHOWN:
            print(f"  {stage}: {each}")
    for (stage, what), count in shown.items():
        if count > _SHOWN:
            print(f"  {stage}: {what}, and {count - _SHOWN} more")
