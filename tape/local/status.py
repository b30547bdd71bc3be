"""The processes and logs of a local stack."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from tapedeck.tape.local.process import is_running
from tapedeck.tape.local.state import ProcessState, StackState


@dataclass(frozen=True, kw_only=True)
class ProcessLine:
    """One process. ``started`` is epoch seconds; ``memory`` is resident bytes, 0 if it is dead."""

    name: str
    pid: int
    alive: bool
    started: float
    restarts: int
    memory: int


def processes(state: StackState) -> list[ProcessLine]:
    """The supervisor and its children."""
    return [_process_line(process) for process in (state.supervisor, *state.processes)]


def _process_line(process: ProcessState) -> ProcessLine:
    alive = is_running(process.identity)
    memory = 0
    if alive:
        try:
            memory = psutil.Process(process.pid).memory_info().rss
        except psutil.Error:
            alive = False
    return ProcessLine(
        name=process.name,
        pid=process.pid,
        alive=alive,
        started=process.started,
        restarts=process.restarts,
        memory=memory,
    )


def log_files(folder: Path, state: StackState | None) -> dict[str, Path]:
    """Every log of the stack by process name, the stopped ones of the folder included."""
    found = {path.stem: path for path in sorted((folder / "logs").glob("*.log"))}
    servers = {name: folder / name / f"{name}.log" for name in ("kafka", "postgres")}
    known = {process.name: Path(process.log) for process in state.processes} if state else {}
    return {name: path for name, path in {**servers, **found, **known}.items() if path.is_file()}
