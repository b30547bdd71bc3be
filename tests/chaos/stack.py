"""One local stack with a short tape, whose processes a test may kill, freeze, or start in another way."""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from tapedeck.agents.settings import code_version
from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.tapes.player import Pace
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.main import app
from tapedeck.tape.local import plan, state
from tapedeck.tape.local.process import is_running
from tapedeck.tape.local.stack import LocalStack
from tapedeck.tape.local.state import ProcessState
from tapedeck.tape.local.supervisor import Worker
from tapedeck.tape.playing import play_tape

SOURCE = TapeSource(tape="synthetic:42")
MINUTES = slice(0, 12)
"""From five minutes before the open to the first watchlist."""
_HISTORY_US = 60 * MINUTE_US
_LOOK_S = 0.25
GREEN = "all green: "
PATIENCE_S = 240.0
"""A process that a busy machine made restart three times is told of for two minutes."""


def short_tape() -> Tape:
    """The first minutes of the synthetic session, with the last hour of the one before."""
    tape = SOURCE.load()
    since = max(bar["t"] for bar in tape.history) - _HISTORY_US
    history = [bar for bar in tape.history if bar["t"] > since]
    return replace(tape, history=history, minutes=tape.minutes[MINUTES])


class Desk:
    """A stack in ``folder``, and the doctor looking at it through TAPE_HOME.

    Nothing restarts a process that died until ``watch`` is called. A process starts with the variables that
    ``settings(name, ...)`` gave it last.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = LocalStack(folder, workers=self._workers)
        self.config = Config()

    def start(self) -> None:
        self.stack.__enter__()
        self.config = load(self.stack.config_path)

    @property
    def cluster(self) -> Cluster:
        return self.stack.cluster

    def _workers(self, config: Config) -> Sequence[Worker]:
        """Those of the plan, each under a shell that reads its own file of settings first."""
        described = json.dumps(replace(SOURCE, feed=config.bars.feed).description())
        self._settings.mkdir()
        found = []
        for each in plan.workers(TOPOLOGY, config):
            own = self._settings / each.name
            own.touch()
            env = {**each.env, **({"TAPE_EXCHANGE_MARKET": described} if each.name == "exchange" else {})}
            argv = ("/bin/sh", "-c", 'set -a; . "$0"; set +a; exec "$@"', str(own), *each.argv)
            found.append(replace(each, argv=argv, env=env))
        return found

    @property
    def _settings(self) -> Path:
        return self.folder / "settings"

    def play(self, tape: Tape, meanwhile: Callable[[], None]) -> None:
        """Play ``tape`` as fast as the stages follow."""
        play_tape(
            TOPOLOGY, tape, Pace.parse("max"), self.cluster,
            Origin("play", code_version(), self.config.digest),
            exchange=self.stack.exchange_url,
            stages=tuple(f"dispatch-{each.account_id}" for each in self.config.accounts),
            meanwhile=meanwhile,
        )  # fmt: skip

    # processes ----------------------------------------------------------------------------------------

    def process(self, name: str) -> ProcessState:
        """The process of that name, as the stack's state file has it."""
        return next(each for each in state.running(self.folder).processes if each.name == name)

    def is_alive(self, name: str) -> bool:
        return is_running(self.process(name).identity)

    def kill(self, name: str) -> None:
        """Kill it and see it gone."""
        os.kill(self.process(name).pid, signal.SIGKILL)
        until(lambda: not self.is_alive(name), f"{name} is dead")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a process and those it started with SIGSTOP, and let them go on at the end."""
        whole = psutil.Process(self.process(name).pid)
        all_of_it = [whole, *whole.children(recursive=True)]
        try:
            for each in all_of_it:
                each.send_signal(signal.SIGSTOP)
            until(lambda: whole.status() == psutil.STATUS_STOPPED, f"{name} is stopped")
            yield
            assert whole.status() == psutil.STATUS_STOPPED, f"{name} went on"
        finally:
            for each in all_of_it:
                if each.is_running():
                    each.send_signal(signal.SIGCONT)

    @contextmanager
    def under(self, name: str, settings: Mapping[str, str]) -> Iterator[None]:
        """Restart a process with ``settings``, and without them at the end."""
        own = self._settings / name
        own.write_text("".join(f"{each}={shlex.quote(value)}\n" for each, value in settings.items()))
        try:
            self._restart(name)
            yield
        finally:
            own.write_text("")
            self._restart(name)

    def _restart(self, name: str) -> None:
        """By the supervisor, once it has let go of its lease in order; returns when it is ready."""
        before = self.process(name).pid
        ready = self.folder / "ready" / name
        os.kill(before, signal.SIGTERM)

        def again() -> bool:
            self.stack.watch()
            return self.process(name).pid != before and ready.exists()

        until(again, f"{name} is ready again", 120)

    # the doctor ---------------------------------------------------------------------------------------

    def doctor(self, told: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What `tape doctor --json` prints with the variables ``told``."""
        environment = {"TAPE_HOME": str(self.folder), **(told or {})}
        done = CliRunner().invoke(app, ["doctor", "--json"], env=environment, catch_exceptions=False)
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.exit_code == found["exit_code"]
        return found

    def until_named(
        self, check: str, words: str, told: Mapping[str, str] | None = None, timeout_s: float = PATIENCE_S
    ) -> str:
        """The doctor's first line, once it is of ``check`` and says ``words``; others are printed."""
        seen: list[str] = []
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            line = str(self.doctor(told)["headline"])
            if line.split(" ", 1)[1].startswith(f"{check}: ") and words in line:
                return line
            if not line.startswith(GREEN):
                say(f"before {check}: {line}")
            seen.append(line)
        raise AssertionError(f"no {check!r} with {words!r} in {timeout_s:g} s; first lines: {seen}")

    def until_green(self, timeout_s: float = PATIENCE_S) -> str:
        """The first line once all is green; dead processes are started again meanwhile."""
        seen: list[str] = []
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            self.stack.watch()
            seen.append(str(self.doctor()["headline"]))
            if seen[-1].startswith(GREEN):
                return seen[-1]
            say(f"not green: {seen[-1]}")
        raise AssertionError(f"not green again in {timeout_s:g} s; first lines: {seen}")


def until(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Poll until ``condition()``; fails naming ``what``."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        time.sleep(_LOOK_S)


def say(line: str) -> None:
    """Onto the terminal of a person who runs with -s."""
    print(line, file=sys.stderr, flush=True)
