"""Keeps the processes of one stack running: start, notice a death, restart, drain within the deadline."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.tape.local.places import say
from tapedeck.tape.local.process import Child, Launch, in_words, tail
from tapedeck.tape.local.state import ProcessState

READY_S = 240.0
"""For all together: eight processes that start for the first time take over a minute on two busy cores."""
DRAIN_S = 10.0
_DEATHS_ALLOWED = 5
_DEATHS_WITHIN_S = 60.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 8.0
_TAIL_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process to keep running. ``says_ready``: it creates the file TAPE_READY_FILE when it is ready.

    ``stages``: the market stages that it runs. ``login``: its login on a secured stack, if not its name.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    says_ready: bool = False
    stages: tuple[str, ...] = ()
    login: str = ""


class _Watched:
    def __init__(self, worker: Worker, child: Child) -> None:
        self.worker = worker
        self.child = child
        self.restarts = 0
        self.deaths: deque[float] = deque(maxlen=_DEATHS_ALLOWED)
        self.restart_at: float | None = None


class Supervisor:
    """Workers under ``folder``, each with ``logs/NAME.log``. ``changed`` is called when a process starts.

    Everything runs on the caller's thread: call ``watch`` regularly.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], changed: Callable[[], None]) -> None:
        self._folder = folder
        self._environment = environment
        self._changed = changed
        self._watched: dict[str, _Watched] = {}

    def start(self, workers: Sequence[Worker], timeout_s: float = READY_S) -> None:
        """Start all, then wait for those that report when they are ready.

        Raises Fatal, quoting the log, for one that ends or is not ready in time.
        """
        for worker in workers:
            self._watched[worker.name] = _Watched(worker, self._spawn(worker))
        self._changed()
        until = time.monotonic() + timeout_s
        for watched in self._watched.values():
            if watched.worker.says_ready:
                marker = self._marker(watched.worker)
                watched.child.wait_ready(marker.exists, max(1.0, until - time.monotonic()))

    def watch(self) -> None:
        """Check once. A worker that died is restarted after a pause that doubles.

        Raises Fatal, quoting its log, for one that keeps dying.
        """
        now = time.monotonic()
        for watched in self._watched.values():
            if watched.restart_at is not None:
                if now >= watched.restart_at:
                    self._restart(watched)
            elif watched.child.exit_code is not None:
                self._died(watched, now)

    def drain(self, deadline_s: float = DRAIN_S) -> list[str]:
        """Ask all to stop at once, kill what is left at the deadline; returns the names that were killed."""
        until = time.monotonic() + deadline_s
        living = [watched.child for watched in self._watched.values() if watched.child.exit_code is None]
        for child in living:
            child.ask_to_stop()
        killed = [child.name for child in living if child.reap(until - time.monotonic()) == -signal.SIGKILL]
        self._watched.clear()
        return killed

    def processes(self) -> tuple[ProcessState, ...]:
        """What runs now, for the state file."""
        return tuple(process_state(w.child, w.restarts) for w in self._watched.values())

    def _died(self, watched: _Watched, now: float) -> None:
        child = watched.child
        how = in_words(child.exit_code or 0)
        watched.deaths.append(now)
        if len(watched.deaths) == _DEATHS_ALLOWED and now - watched.deaths[0] < _DEATHS_WITHIN_S:
            raise child.failure(
                f"{child.name} ended {_DEATHS_ALLOWED} times within {_DEATHS_WITHIN_S:g} s, last with {how}"
            )
        recent = sum(1 for death in watched.deaths if now - death < _DEATHS_WITHIN_S)
        pause = min(_FIRST_PAUSE_S * 2 ** (recent - 1), _LONGEST_PAUSE_S)
        watched.restart_at = now + pause
        say(f"{child.name} (process {child.pid}) ended with {how}; restarting it in {pause:g} s")
        say(f"the last lines of {child.launch.log}:\n{tail(child.launch.log, _TAIL_LINES)}")

    def _restart(self, watched: _Watched) -> None:
        watched.restart_at = None
        watched.restarts += 1
        watched.child = self._spawn(watched.worker)
        self._changed()

    def _spawn(self, worker: Worker) -> Child:
        marker = self._marker(worker)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.unlink(missing_ok=True)
        env = {**os.environ, **self._environment, **worker.env, "TAPE_READY_FILE": str(marker)}
        return Child(
            Launch(
                name=worker.name,
                argv=worker.argv,
                log=self._folder / "logs" / f"{worker.name}.log",
                env=env,
                cwd=Path.cwd(),
            )
        )

    def _marker(self, worker: Worker) -> Path:
        return self._folder / "ready" / worker.name


def process_state(child: Child, restarts: int = 0) -> ProcessState:
    """A child as the state file stores it."""
    return ProcessState(
        name=child.name,
        pid=child.identity.pid,
        started=child.identity.started,
        log=str(child.launch.log),
        restarts=restarts,
    )
