"""``tape status`` and ``tape logs``: look at a running stack."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tapedeck.connectors.clock import SystemClock
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.stack import Name
from tapedeck.tape.local import state, status
from tapedeck.tape.local.disk import Room, usage, usage_in_words
from tapedeck.tape.local.places import in_words, stack_folder
from tapedeck.tape.local.process import tail
from tapedeck.tape.local.status import LagLine, ProcessLine, StageLine

_POLL_S = 0.3
_SHOWN_REASONS = 3
_MICROS = 1_000_000


def show(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Show processes, consumer lag, last watermarks and the funnel; exit code 1 where a process is dead."""
    folder = stack_folder(name)
    known = state.running(folder)
    processes = status.processes(known)
    sizes, room = usage(folder), Room(folder)
    lags, stages = status.lags(known), status.stages(known)
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
        }
        print(json.dumps(document, indent=1))
    else:
        console = Console()
        now = SystemClock().now()
        console.print(f"stack {known.name}: {known.phase}, {folder}")
        console.print(f"Disk: {usage_in_words(sizes)}; {in_words(room.left()[0])} are free", highlight=False)
        if nearly_full := room.warning():
            console.print(f"[red]{nearly_full}[/red]")
        console.print(f"Kafka {known.bootstrap}, cluster id {known.cluster_id}", highlight=False)
        console.print(_processes(processes, now))
        console.print(_lags(lags))
        console.print(_stages(stages, now))
        console.print(_funnel(stages))
    if not all(line.alive for line in processes):
        raise typer.Exit(1)


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


def _funnel(lines: list[StageLine]) -> Table:
    """In, out and the reasons; all reasons where nothing came out."""
    table = Table("stage", "in", "out", "reasons", title="Funnel since each process started")
    for line in lines:
        out = ", ".join(f"{topic} {count}" for topic, count in line.given.items()) or "[red]0[/red]"
        shown = list(line.reasons.items())[: _SHOWN_REASONS if line.given else None]
        more = len(line.reasons) - len(shown)
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
    process: Annotated[str, typer.Argument(metavar="NAME", help="A process of `tape status`.")],
    name: Name = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines from the end.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
) -> None:
    """Print the end of one process's log."""
    folder = stack_folder(name)
    files = status.log_files(folder, state.read(folder))
    if process not in files:
        known = ", ".join(files) or f"none in {folder}"
        raise Fatal("no process has a log of that name", value=process, remedy=f"there are: {known}")
    path = files[process]
    with path.open("rb") as stream:
        print(tail(path, lines), flush=True)
        stream.seek(0, 2)
        while follow:
            if stream.tell() > path.stat().st_size:
                stream.seek(0)  # it was full, and was begun anew
            if more := stream.read():
                print(more.decode(errors="replace"), end="", flush=True)
            else:
                time.sleep(_POLL_S)
