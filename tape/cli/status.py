"""``tape status`` and ``tape logs``: look at a running stack."""

import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix
from tapedeck.tape.cli.stack import Name
from tapedeck.tape.local import state, status
from tapedeck.tape.local.disk import Room, usage, usage_in_words
from tapedeck.tape.local.places import in_words, stack_folder
from tapedeck.tape.local.process import tail
from tapedeck.tape.local.standings import EdgeLine, Severity, edges, without_standings
from tapedeck.tape.local.status import LagLine, ProcessLine, StageLine
from tapedeck.tape.local.where import PREFIX, look
from tapedeck.tape.topology import topology_in_use

_POLL_S = 0.3
_SHOWN_REASONS = 3
_MICROS = 1_000_000
_SILENT_S = 15
"""A process reports every second, or every five where nothing moves: this long it must not be silent."""
_COLORS = {Severity.GREEN: "", Severity.AMBER: "yellow", Severity.RED: "red"}


def show(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Show consumer lag, last watermarks and the funnel of a pipeline, and the processes of a local stack.

    Exit code 1 if a process of the stack is dead.
    """
    where = None if name else look({BOOTSTRAP: bootstrap or None, PREFIX: prefix}).say()
    if where is not None and where.stack is None and where.is_named:
        _show_pipeline(where.cluster(), as_json)
        return
    folder = where.folder if where is not None and where.stack is not None else stack_folder(name)
    known = state.running(folder)
    cluster = where.cluster() if where is not None else known.cluster(os.environ)
    processes = status.processes(known)
    sizes, room = usage(folder), Room(folder)
    lags, stages = status.lags(cluster), status.stages(cluster)
    if as_json:
        document = {
            "name": known.name,
            "phase": known.phase,
            "cluster_id": known.cluster_id,
            "bytes": sum(sizes.values()),
            "disk": sizes | {"free": room.left()[0]},
            "processes": [asdict(line) for line in processes],
            "lag": [asdict(line) for line in lags],
            "stages": [asdict(line) for line in stages],
            "edges": [asdict(line) for line in edges(stages, topology_in_use())],
        }
        print(json.dumps(document, indent=1))
    else:
        console = Console()
        console.print(f"stack {known.name}: {known.phase}, {folder}")
        console.print(f"Disk: {usage_in_words(sizes)}; {in_words(room.left()[0])} free", highlight=False)
        if nearly_full := room.warning():
            console.print(f"[red]{nearly_full}[/red]")
        console.print(f"Kafka {known.bootstrap}, cluster id {known.cluster_id}", highlight=False)
        console.print(_processes(processes, SystemClock().now()))
        _tables(console, lags, stages)
    if not all(line.alive for line in processes):
        raise typer.Exit(1)


def _show_pipeline(cluster: Cluster, as_json: bool) -> None:
    """Show what the cluster alone tells: its processes run elsewhere."""
    cluster_id, lags, stages = cluster_id_of(cluster), status.lags(cluster), status.stages(cluster)
    if as_json:
        document = {
            "cluster_id": cluster_id,
            "lag": [asdict(line) for line in lags],
            "stages": [asdict(line) for line in stages],
            "edges": [asdict(line) for line in edges(stages, topology_in_use())],
        }
        print(json.dumps(document, indent=1))
        return
    console = Console()
    under = f", prefix {cluster.prefix}" if cluster.prefix else ""
    console.print(f"Kafka {cluster.bootstrap}, cluster id {cluster_id}{under}", highlight=False)
    _tables(console, lags, stages)


def _tables(console: Console, lags: list[LagLine], stages: list[StageLine]) -> None:
    now, outside = SystemClock().now(), edges(stages, topology_in_use())
    apart = {line.name for line in outside}
    console.print(_lags(lags))
    console.print(_stages([line for line in stages if line.stage not in apart], now))
    if outside:
        console.print(_edges(outside, now))
    console.print(_funnel(stages))


def _processes(lines: list[ProcessLine], now: int) -> Table:
    table = Table("process", "pid", "alive", "up for", "restarts", "memory", title="Processes")
    for line in lines:
        up = _age(now - int(line.started * _MICROS)) if line.alive else "-"
        alive = "yes" if line.alive else "[red]dead[/red]"
        table.add_row(line.name, str(line.pid), alive, up, str(line.restarts), in_words(line.memory))
    return table


def _lags(lines: list[LagLine]) -> Table:
    table = Table("consumer group", "topic", "lag", title="Lag (offsets, watermarks included)")
    for line in lines:
        table.add_row(line.group, line.topic, str(line.lag))
    return table


def _stages(lines: list[StageLine], now: int) -> Table:
    table = Table("stage", "partitions", "last watermark", "heartbeat", "lag", "records", title="Stages")
    for line in lines:
        mark = "[red]none[/red]" if line.watermark is None else _instant(line.watermark)
        lag = "-" if line.lag is None else str(line.lag)
        age = f"{_age(now - line.at)} ago"
        table.add_row(line.stage, str(line.partitions), mark, age, lag, str(line.records))
    return table


def _edges(lines: list[EdgeLine], now: int) -> Table:
    """The processes around the stages, each with the worst state of its sources."""
    table = Table(
        "process", "state", "last watermark", "heartbeat", "lag", "records", title="Around the stages"
    )
    for line in lines:
        mark = "-" if line.watermark is None else _instant(line.watermark)
        lag = "-" if line.lag is None else str(line.lag)
        age = f"{_age(now - line.at)} ago"
        if now - line.at > _SILENT_S * _MICROS:
            age = f"[red]{age}[/red]"
        table.add_row(line.name, _worst(line), mark, age, lag, str(line.records))
    return table


def _worst(line: EdgeLine) -> str:
    if line.worst is None:
        return "-"
    source = f" {line.worst.source}" if line.worst.source else ""
    words = f"{line.worst.state}{source} for {_age(line.worst.for_s * _MICROS)}"
    color = _COLORS[line.worst.severity]
    return f"[{color}]{words}[/{color}]" if color else words


def _funnel(lines: list[StageLine]) -> Table:
    """In, out and the most frequent reasons; all reasons if nothing came out."""
    table = Table("stage", "in", "out", "reasons", title="Funnel since each process started")
    for line in lines:
        out = ", ".join(f"{topic} {count}" for topic, count in line.given.items()) or "[red]0[/red]"
        found = without_standings(line.reasons)
        shown = list(found.items())[: _SHOWN_REASONS if line.given else None]
        more = len(found) - len(shown)
        reasons = ", ".join(f"{reason} {count}" for reason, count in shown) or "-"
        table.add_row(line.stage, str(line.taken), out, reasons + (f", {more} more" if more else ""))
    return table


def _instant(micros: int) -> str:
    return datetime.fromtimestamp(micros / _MICROS, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _age(micros: int) -> str:
    seconds = max(0, micros // _MICROS)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


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
