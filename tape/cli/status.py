"""``tape status`` and ``tape logs``: look at a pipeline, and at the logs of a local stack."""

import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console, Group

from tapedeck.connectors.kafka.cluster import BOOTSTRAP
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix
from tapedeck.tape.cli.stack import Name
from tapedeck.tape.doctor.findings import Diagnosis
from tapedeck.tape.doctor.snapshot import Section, Snapshot
from tapedeck.tape.local import state, status
from tapedeck.tape.local.disk import Room, usage, usage_in_words
from tapedeck.tape.local.places import in_words, stack_folder
from tapedeck.tape.local.process import tail
from tapedeck.tape.local.where import PREFIX
from tapedeck.tape.status.collect import examine
from tapedeck.tape.status.lines import LagLine, StageLine, lags, stages
from tapedeck.tape.status.screen import process_table, tables, verdict
from tapedeck.tape.status.standings import edges
from tapedeck.tape.status.target import Looked, looked_at
from tapedeck.tape.status.told import document

_POLL_S = 0.3
_WATCH_S = 2.0


def show(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again until Ctrl-C.")] = False,
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Show what is wrong, lag, last watermarks and the funnel of a pipeline, and a local stack's processes.

    Needs only the cluster. Exit code 0 green, 1 amber, 2 red.
    """
    typed = {BOOTSTRAP: bootstrap or None, PREFIX: prefix}
    while True:
        looked = looked_at(name, typed)
        snapshot, found = examine(looked.target)
        lag_lines, stage_lines = _lines(looked, snapshot)
        if as_json:
            print(
                json.dumps(_document(looked, snapshot, found, lag_lines, stage_lines), indent=1), flush=True
            )
        else:
            console = Console()
            shown = _screen(looked, snapshot, found, lag_lines, stage_lines)
            if watch:
                console.clear()
            console.print(shown, highlight=False)
        if not watch:
            raise typer.Exit(found.exit_code)
        time.sleep(_WATCH_S)


def _lines(looked: Looked, snapshot: Snapshot) -> tuple[list[LagLine], list[StageLine]]:
    """What the tables show; nothing if the cluster does not answer, which the diagnosis says."""
    if Section.BROKER in snapshot.unread:
        return [], []
    try:
        return lags(looked.target.cluster), stages(looked.target.cluster)
    except TapeError:
        return [], []


def _document(
    looked: Looked, snapshot: Snapshot, found: Diagnosis, lags: list[LagLine], stages: list[StageLine]
) -> dict[str, Any]:
    known, told = looked.stack, dict[str, Any]()
    if known is not None:
        sizes = usage(looked.folder)
        told = {
            "name": known.name,
            "phase": known.phase,
            "bytes": sum(sizes.values()),
            "disk": sizes | {"free": Room(looked.folder).left()[0]},
            "processes": [asdict(line) for line in status.processes(known)],
        }
    return {
        **told,
        "cluster_id": snapshot.broker.cluster_id if snapshot.broker else None,
        "feed": snapshot.feed,
        "lag": [asdict(line) for line in lags],
        "stages": [asdict(line) for line in stages],
        "edges": [asdict(line) for line in edges(stages, looked.target.topology)],
        "groups": {name: seen._asdict() for name, seen in snapshot.groups.items()},
        "beats": [asdict(each) for each in snapshot.beats],
        **document(found),
    }


def _screen(
    looked: Looked, snapshot: Snapshot, found: Diagnosis, lags: list[LagLine], stages: list[StageLine]
) -> Group:
    cluster, known, head = looked.target.cluster, looked.stack, list[Any]()
    if known is not None:
        sizes, room = usage(looked.folder), Room(looked.folder)
        head += [
            f"stack {known.name}: {known.phase}, {looked.folder}",
            f"Disk: {usage_in_words(sizes)}; {in_words(room.left()[0])} free",
        ]
        if nearly_full := room.warning():
            head.append(f"[red]{nearly_full}[/red]")
    answers = snapshot.broker.cluster_id if snapshot.broker else "unknown"
    under = f", prefix {cluster.prefix}" if cluster.prefix else ""
    head.append(f"Kafka {cluster.bootstrap}, cluster id {answers}{under}; the sources are {snapshot.feed}")
    if known is not None:
        head.append(process_table(status.processes(known), snapshot.now))
    return Group(verdict(found), *head, tables(lags, stages, looked.target.topology, snapshot.now))


def logs(
    process: Annotated[str, typer.Argument(metavar="NAME", help="A process listed by `tape status`.")],
    name: Name = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines from the end.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until Ctrl-C.")] = False,
) -> None:
    """Print the end of one process's log."""
    folder = stack_folder(name) if name else state.found_here()[0]
    files = status.log_files(folder, state.read(folder))
    if process not in files:
        known = ", ".join(files) or f"none in {folder}"
        raise Fatal("no process has a log with that name", value=process, remedy=f"there are: {known}")
    path = files[process]
    with path.open("rb") as stream:
        print(tail(path, lines), flush=True)
        stream.seek(0, 2)
        while follow:
            if stream.tell() > path.stat().st_size:
                stream.seek(0)  # the log was full and was started over
            if more := stream.read():
                print(more.decode(errors="replace"), end="", flush=True)
            else:
                time.sleep(_POLL_S)
