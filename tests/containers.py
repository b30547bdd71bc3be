"""`make compose-test`: builds the image and runs the demo of docker-compose.yml on a real Docker engine.

While the tape plays, a worker's process is killed with -9 in its container, and every worker is restarted in
turn, the next when the last is ready again; then everything is recomputed and compared. Without an engine
that has or gets the images, it is skipped by name. It works under a project name of its own and removes what
it made. On a machine without an engine, tests/engine/start.sh starts one.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tapedeck.agents.membership import TIMEOUT
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.deployment.processes import Kind, processes
from tapedeck.tape.deployment.servers import IMAGES
from tests.support.cases import REPOSITORY

_COMPOSE = ("docker", "compose", "--project-name", "tapedeck-test", "--profile", "demo")
_PATIENCE_S = 900.0
_SESSION_S = "20"
"""The session time-out of workers: many start at a time on the few cores of a machine for tests."""
_ATTEMPTS = 3
_TAIL = 1_000
_MB = 1_000_000
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
    for name in ("kafka", "postgres"):
        image = IMAGES[name]
        if _run("docker", "image", "inspect", image, check=False).returncode:
            pulled = _run("docker", "pull", "--quiet", image, check=False)
            if pulled.returncode:
                return f"the engine cannot get {image}: {pulled.stderr.strip()[-200:]}"
    return ""


def main() -> int:
    """Run it; returns the exit code."""
    if missing := why_not():
        print(f"compose-test was skipped: {missing}")
        return 0
    found = processes(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS))
    ours = [each.service for each in found if not each.optional]
    workers = [each.service for each in found if each.kind in (Kind.STAGE, Kind.DISPATCHER)]
    _run("sh", "deploy/secrets.sh")
    try:
        with _timed("the image was built"):
            _run(*_COMPOSE, "build")
        with _timed("every process was healthy, and the player started"):
            _up()
        print(f"the image has {_size(_inspected('sink', '{{.Image}}')) / _MB:.0f} MB")
        with _timed("features was killed with -9 and was ready again"):
            _kill("features")
        with _timed(f"{len(workers)} workers were restarted in turn, each ready before the next"):
            for name in workers:
                _restart(name)
        with _timed("the tape was played to its end"):
            _until(lambda: _state("play") == "exited", "the tape was played")
        assert _inspected("play", "{{.State.ExitCode}}") == "0", _run(*_COMPOSE, "logs", "play").stdout
        with _timed("everything was recomputed"):
            proof = _of_operator("rebuild", "--verify")
        print(proof)
        assert "EQUAL" in proof and "DIFFERENT" not in proof, proof
        orders = _of_operator("tail", "orders").splitlines()
        assert orders, "no order was sent"
        print(f"the last {len(orders)} records of orders are there")
    except BaseException:
        print(_run(*_COMPOSE, "ps", "--all", check=False).stdout)
        print(_run(*_COMPOSE, "logs", "--no-color", "--tail", "15", *ours, check=False).stdout)
        raise
    finally:
        _run(*_COMPOSE, "down", "--volumes", "--timeout", "20", check=False)
    return 0


def _up() -> None:
    """Start everything. Compose gives up when a process ends once meanwhile; the engine starts it again."""
    for _ in range(_ATTEMPTS):
        done = _run(*_COMPOSE, "up", "--detach", check=False)
        if not done.returncode:
            return
        print(done.stderr.strip().splitlines()[-1], flush=True)
    raise SystemExit(f"not started in {_ATTEMPTS} attempts")


def _kill(name: str) -> None:
    """End a worker's process while the tape plays; the engine starts its container again."""
    assert _state("play") == "running"
    before = _started(name)
    _run(*_COMPOSE, "exec", "-T", name, "sh", "-c", _KILL_ALL, check=False)
    _until(lambda: _started(name) not in ("", before), f"{name}, killed, was started again")
    _until(lambda: _ready(name), f"{name}, killed, is ready again")


def _restart(name: str) -> None:
    """Restart a worker while the tape plays, and wait until it is ready."""
    assert _state("play") == "running", f"the tape ended before {name} was restarted"
    before = _started(name)
    _run(*_COMPOSE, "restart", name)
    assert _started(name) != before
    _until(lambda: _ready(name), f"{name} is ready after its restart")


def _of_operator(*command: str) -> str:
    """What a command of tape prints in a container that reaches every server."""
    return _run(*_COMPOSE, "run", "--rm", "--no-deps", "-T", "doctor", *command).stdout


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = {TIMEOUT: _SESSION_S, **os.environ}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)} failed\n{done.stdout[-_TAIL:]}\n{done.stderr[-_TAIL:]}")
    return done


def _inspected(service: str, what: str) -> str:
    name = _run(*_COMPOSE, "ps", "--all", "--quiet", service).stdout.strip()
    return _run("docker", "inspect", "--format", what, name).stdout.strip() if name else ""


def _state(service: str) -> str:
    return _inspected(service, "{{.State.Status}}")


def _started(service: str) -> str:
    return _inspected(service, "{{.State.StartedAt}}")


def _ready(service: str) -> bool:
    """What its health check asks, without waiting for the engine to ask it."""
    return not _run(*_COMPOSE, "exec", "-T", service, "tape", "health", check=False).returncode


def _size(image: str) -> int:
    return int(_run("docker", "image", "inspect", "--format", "{{.Size}}", image).stdout)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


def _until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise SystemExit(f"not within {_PATIENCE_S:g} s: {what}")
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main())
