"""Every process of a demo is told to end, killed, and frozen while the tape plays; its proofs hold."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tapedeck.tape.local import state
from tapedeck.tape.local.purge import purge
from tests.conftest import Broker
from tests.support.live import eventually

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]
MINUTES = 240
FROZEN_S = 9.0
SERVERS = {"supervisor", "kafka", "postgres"}


class Running:
    """A demo in ``folder`` and what it says."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.home, self.output = folder / ".tape" / "demo", folder / "output"
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tapedeck", "demo", "--minutes", str(MINUTES)],
                cwd=folder, env=environment, stdout=stream, stderr=stream,
            )  # fmt: skip

    def says(self, what: str) -> bool:
        assert self.process.poll() in (None, 0), self.output.read_text()[-3000:]
        return what in self.output.read_text()

    def pids(self) -> dict[str, int]:
        known = state.running(self.home)
        return {each.name: each.pid for each in known.processes if each.name not in SERVERS}

    def renew(self, name: str, number: signal.Signals) -> float:
        """End the process by ``number`` and wait until its successor is ready; returns the seconds."""
        before, began = self.pids()[name], time.monotonic()
        marker = self.home / "ready" / name
        made = marker.stat().st_mtime if marker.exists() else None
        os.kill(before, number)
        eventually(lambda: self.pids()[name] != before, f"a new {name}", 60)
        if made is not None:
            eventually(lambda: marker.exists() and marker.stat().st_mtime > made, f"{name} is ready", 60)
        return time.monotonic() - began

    def freeze(self, name: str) -> None:
        """Stop it for longer than its group waits for a member, then let it go on."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"{name} is frozen", 5)
        time.sleep(FROZEN_S)
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def demo(kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """``kafka`` has filled the cache."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TAPE_HOME", "TAPE_CONFIG", "TAPE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    made = Running(tmp_path, dict(os.environ))
    yield made
    made.process.kill()
    made.process.wait()
    state.end_processes(state.read(made.home))
    purge(made.home)


def test_everything_restarted_and_killed_in_turn_leaves_live_equal_to_rebuilt(demo: Running) -> None:
    eventually(lambda: demo.says("is synthetic"), "the tape plays", 240)
    names = list(demo.pids())
    assert {"features", "sink", "exchange", "dispatch-large", "dispatch-tiny"} <= set(names)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for name in names:
            seconds = demo.renew(name, number)
            print(f"{name} {number.name}: {seconds:.1f} s")
    for name in names:
        demo.freeze(name)
    assert not demo.says("played "), "the tape was over before every process had ended twice and been frozen"
    eventually(lambda: demo.process.poll() is not None, "the demo ends", 600)
    assert demo.process.returncode == 0, demo.output.read_text()[-3000:]
    document = json.loads((demo.home / "summary.json").read_text())
    assert document["failures"] == [] and document["tape"]["minutes"] == MINUTES
    assert all(line["agrees"] and line["rebuilt"] for line in document["digests"])
    assert all(line["unexplained"] == 0 for line in document["funnel"])
    assert document["rows"]["t_decisions"] == document["records"]["decisions"] > 0
    assert demo.output.read_text().count("restarting it in") >= 2 * len(names)
