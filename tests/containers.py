"""`make compose-test`: builds the image and runs the demo of docker-compose.yml on a real Docker engine.

While the tape plays, a worker's process is killed with -9 in its container and every worker is restarted in
turn; then everything is recomputed and compared. Without an engine that can have the images, it is skipped
by name. It works under a project name of its own and removes what it made.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.deployment.processes import Kind, processes
from tests.support.cases import REPOSITORY

_COMPOSE = ("docker", "compose", "--project-name", "tapedeck-test", "--profile", "demo")
_PATIENCE_S = 600.0
_KILL_ALL = "kill -9 -1"
"""Of the processes in the container all but its first, the init that then ends with them."""


def why_not() -> str:
    """What is missing to run it; empty if nothing is."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if _run("docker", "info", check=False).returncode:
        return "no Docker engine answers"
    if _run("docker", "compose", "version", check=False).returncode:
        return "the docker command has no compose (version 2)"
    if _run(*_COMPOSE, "pull", "--quiet", "kafka", "postgres", check=False).returncode:
        return "the engine cannot get the images of Kafka and Postgres"
    return ""


def main() -> int:
    """Run it; returns the exit code."""
    if missing := why_not():
        print(f"compose-test was skipped: {missing}")
        return 0
    found = processes(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS))
    workers = [each.service for each in found if each.kind in (Kind.STAGE, Kind.DISPATCHER)]
    _run("sh", "deploy/secrets.sh")
    try:
        _run(*_COMPOSE, "build")
        _run(*_COMPOSE, "up", "--detach")
        _until(lambda: _state("play") == "running", "the player starts")
        before = _started("features")
        _run(*_COMPOSE, "exec", "-T", "features", "sh", "-c", _KILL_ALL, check=False)
        _until(lambda: _started("features") not in ("", before), "the killed worker was restarted")
        print("features was killed with -9, and its container started again")
        for name in workers:
            before = _started(name)
            _run(*_COMPOSE, "restart", name)
            assert _started(name) != before
        print(f"{len(workers)} workers were restarted in turn")
        _until(lambda: _state("play") == "exited", "the tape was played")
        proof = _run(*_COMPOSE, "run", "--rm", "--no-deps", "-T", "sink", "rebuild", "--verify").stdout
        print(proof)
        orders = _run(*_COMPOSE, "exec", "-T", "sink", "tape", "status").stdout
        assert "EQUAL" in proof and "DIFFERENT" not in proof, proof
        print(orders)
    finally:
        _run(*_COMPOSE, "down", "--volumes", "--timeout", "20", check=False)
    return 0


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)} failed\n{done.stdout}\n{done.stderr}")
    return done


def _inspected(service: str, what: str) -> str:
    name = _run(*_COMPOSE, "ps", "--all", "--quiet", service).stdout.strip()
    return _run("docker", "inspect", "--format", what, name).stdout.strip() if name else ""


def _state(service: str) -> str:
    return _inspected(service, "{{.State.Status}}")


def _started(service: str) -> str:
    return _inspected(service, "{{.State.StartedAt}}")


def _until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise SystemExit(f"not within {_PATIENCE_S:g} s: {what}")
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main())
