"""A working directory for one test, and stacks that run in it."""

import os
from pathlib import Path

import pytest

from tapedeck.tape.local import state
from tapedeck.tape.local.process import identity
from tapedeck.tape.local.state import Phase, ProcessState, StackState

OURS = ("KAFKA_", "TAPE_", "DATABASE_URL", "SCHEMA_REGISTRY_URL")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory; no variable of ours is set."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(folder: Path, **told: str) -> StackState:
    """A stack in ``folder`` whose supervisor is this process."""
    me = identity(os.getpid())
    assert me is not None
    folder.mkdir(parents=True, exist_ok=True)
    known = StackState(
        name=folder.name,
        phase=Phase.READY,
        supervisor=ProcessState(name="supervisor", pid=me.pid, started=me.started, log=""),
        bootstrap="127.0.0.1:20001",
        cluster_id="mine",
        **told,
    )
    state.write(folder, known)
    return known
