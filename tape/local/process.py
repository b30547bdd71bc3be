"""One child process: started with its own log, watched, and stopped by its id and start time."""

import ctypes
import ctypes.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tapedeck.schemas.errors import Fatal

STOP_S = 10.0
_KILL_S = 5.0
_TAIL_BYTES = 16_384
_SAME_START_S = 1.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(ctypes.util.find_library("c")) if sys.platform == "linux" else None


class Identity(NamedTuple):
    """A process, not to be confused with a later one with the same id: ``started`` is epoch seconds."""

    pid: int
    started: float


class Launch(NamedTuple):
    """What to run.

    ``farewell``: the signal to the child when its parent dies (Linux only); ``uid`` needs root.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str]
    cwd: Path
    farewell: signal.Signals = signal.SIGKILL
    stop_signal: signal.Signals = signal.SIGTERM
    uid: int | None = None
    gid: int | None = None


def identity(pid: int) -> Identity | None:
    """Who ``pid`` is now; None if there is no such process or it is a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, round(process.create_time(), 2))
    except psutil.Error:
        return None


def is_running(known: Identity) -> bool:
    """Whether this process still runs. A later one with the same id does not count."""
    now = identity(known.pid)
    return now is not None and abs(now.started - known.started) <= _SAME_START_S


def end(known: Identity, stop_signal: signal.Signals = signal.SIGTERM, deadline_s: float = STOP_S) -> None:
    """Stop a process that is not our child: signal, wait, SIGKILL. A reused id is left alone."""
    for number, wait_s in ((stop_signal, deadline_s), (signal.SIGKILL, _KILL_S)):
        if not is_running(known):
            return
        _signal(known.pid, number)
        _signal(known.pid, signal.SIGCONT)
        until = time.monotonic() + wait_s
        while is_running(known) and time.monotonic() < until:
            time.sleep(0.05)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log file, or a note that there are none."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            text = stream.read().decode(errors="replace").strip()
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


class Child:
    """A running child.

    Start it from a thread that lives as long as the child: Linux ends the child with that thread.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        with launch.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    launch.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(launch.env),
                    cwd=launch.cwd,
                    start_new_session=True,
                    preexec_fn=_ends_with_parent(launch.farewell),  # noqa: PLW1509 - one system call, no lock
                    user=launch.uid,
                    group=launch.gid,
                    extra_groups=None if launch.uid is None else [],
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise Fatal(
                    f"{launch.name} cannot be started: {error}",
                    value=launch.argv[0],
                    remedy="check that the program exists and that this user may run it",
                ) from error
        self.identity = identity(self._process.pid) or Identity(self._process.pid, 0.0)

    @property
    def name(self) -> str:
        return self.launch.name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def stop(self, deadline_s: float = STOP_S) -> int:
        """Ask it to end, wake it if it is frozen, and kill it after ``deadline_s``; returns its exit code."""
        self.ask_to_stop()
        return self.reap(deadline_s)

    def ask_to_stop(self) -> None:
        """Send the stop signal and return at once."""
        self.send(self.launch.stop_signal)
        self.send(signal.SIGCONT)

    def reap(self, deadline_s: float) -> int:
        """Wait for the end, kill after ``deadline_s``; returns the exit code."""
        try:
            return self._process.wait(max(0.0, deadline_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(_KILL_S)

    def kill(self) -> int:
        """SIGKILL, and wait; returns the exit code."""
        return self.reap(0.0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; does nothing if the child has ended."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP, and wait until it has stopped: its connections stay open, but nothing answers."""
        self.send(signal.SIGSTOP)
        until = time.monotonic() + _KILL_S
        while psutil.Process(self.pid).status() != psutil.STATUS_STOPPED:
            if time.monotonic() > until:
                raise Fatal(
                    f"{self.name} did not stop on SIGSTOP", value=self.pid, remedy="check its state with ps"
                )
            time.sleep(0.01)

    def wait_ready(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until ``ready()``. Raises Fatal, quoting the log, if the child ends or time runs out."""
        until = time.monotonic() + timeout_s
        while not ready():
            if self.exit_code is not None:
                raise self.failure(f"{self.name} ended with {in_words(self.exit_code)} while it was starting")
            if time.monotonic() > until:
                raise self.failure(f"{self.name} was not ready within {timeout_s:.0f} s")
            time.sleep(0.05)

    def failure(self, what: str) -> Fatal:
        """An error that quotes the end of the child's log and names the file."""
        log = self.launch.log
        return Fatal(f"{what}; the last lines of {log}:\n{tail(log)}\n", remedy=f"see the whole log in {log}")


def in_words(exit_code: int) -> str:
    """``exit code 1`` or ``signal SIGKILL``."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"


def _ends_with_parent(farewell: signal.Signals) -> Callable[[], None] | None:
    """Run in the child before exec: the kernel sends ``farewell`` when the parent dies, even by SIGKILL."""
    libc = _LIBC
    if libc is None:
        return None
    parent = os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(farewell))
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
