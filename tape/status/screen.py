"""``tape status`` on one screen: the cause, processes, lag, watermarks, and the funnel."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.findings import Diagnosis, Severity, in_words
from tapedeck.tape.local.places import in_words as bytes_in_words
from tapedeck.tape.local.status import ProcessLine
from tapedeck.tape.status.lines import LagLine, StageLine
from tapedeck.tape.status.standings import EdgeLine, edges, without_standings
from tapedeck.tape.status.standings import Severity as State

_SHOWN_REASONS = 3
_SHOWN_FAULTS = 8
_MICROS = 1_000_000
_SILENT_S = 15
"""A process reports every second, or every five where nothing moves: this long it must not be silent."""
_COLORS = {State.GREEN: "", State.AMBER: "yellow", State.RED: "red"}
_SHADES = {
    Severity.GREEN: "green",
    Severity.NOT_EXPECTED: "green",
    Severity.AMBER: "yellow",
    Severity.RED: "red",
    Severity.UNKNOWN: "red",
}


def verdict(diagnosis: Diagnosis) -> RenderableType:
    """The cause, or that all is green, and what else is not well."""
    faults = diagnosis.faults
    rows = Table.grid()
    rows.add_row(Text(diagnosis.headline, style=_SHADES[faults[0].severity] if faults else "green"))
    for each in faults[1:_SHOWN_FAULTS]:
        rows.add_row(Text(f"  {in_words(each)}", style=_SHADES[each.severity]))
    if len(faults) > _SHOWN_FAULTS:
        rows.add_row(Text(f"  and {len(faults) - _SHOWN_FAULTS} more: tape doctor"))
    return rows


def tables(lags: list[LagLine], stages: list[StageLine], topology: Topology, now: int) -> Group:
    """What the cluster tells, as tables. ``now``: UTC micros."""
    outside = edges(stages, topology)
    apart = {line.name for line in outside}
    around = [_edges(outside, now)] if outside else []
    shown = _stages([line for line in stages if line.stage not in apart], now)
    return Group(_lags(lags), shown, *around, _funnel(stages))


def process_table(lines: list[ProcessLine], now: int) -> Table:
    table = Table("process", "pid", "alive", "up for", "restarts", "memory", title="Processes")
    for line in lines:
        up = _age(now - int(line.started * _MICROS)) if line.alive else "-"
        alive = "yes" if line.alive else "[red]dead[/red]"
        table.add_row(line.name, str(line.pid), alive, up, str(line.restarts), bytes_in_words(line.memory))
    return table


def _lags(lines: list[LagLine]) -> Table:
    table = Table("consumer group", "topic", "lag", title="Lag (offsets, watermarks included)")
    for line in lines:
        lag = "[red]unknown[/red]" if line.lag is None else str(line.lag)
        table.add_row(line.group, line.topic, lag)
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
