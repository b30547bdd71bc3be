"""What a local stack records: ``stack.json`` and the lock that allows one stack per folder."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tapedeck.connectors.kafka.acls import ADMIN, OPERATOR
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, CLUSTER_ID, Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.tape.local.logins import NOTHING_SAID, Logins
from tapedeck.tape.local.places import STACKS_FOLDER, STATE_FILE, stack_folder
from tapedeck.tape.local.process import Identity, end, is_running
from tapedeck.topics.keeping import ALL_FOREVER, KEEP

EXCHANGE_URL = "TAPE_EXCHANGE_URL"
LOCK_FILE = "lock"
_DEMO = "demo"
_OWNER_ONLY = 0o600


class Phase(StrEnum):
    STARTING = "STARTING"
    READY = "READY"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """One supervised process. ``started`` is epoch seconds; with the pid it names the process forever."""

    name: str
    pid: int
    started: float
    log: str
    restarts: int = 0

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)


@dataclass(frozen=True, kw_only=True)
class StackState:
    """What other commands need to reach a running stack. Holds the database password: mode 0600.

    ``topology``: the value of TAPE_TOPOLOGY when it was started. ``secrets``: the folder of a secured stack's
    certificates and logins; empty if the stack is open.
    """

    name: str
    phase: Phase
    supervisor: ProcessState
    bootstrap: str = ""
    cluster_id: str = ""
    database_url: str = field(default="", repr=False)
    config: str = ""
    topology: str = ""
    prefix: str = ""
    exchange_url: str = ""
    secrets: str = ""
    processes: tuple[ProcessState, ...] = field(default=())

    @property
    def is_running(self) -> bool:
        """Whether the process that supervises it is alive."""
        return is_running(self.supervisor.identity)

    def told(self) -> dict[str, str]:
        """The variables by which any process finds this stack. Its topics keep their records forever.

        A process's login on a secured stack is in its own variables.
        """
        told = {
            BOOTSTRAP: self.bootstrap,
            CLUSTER_ID: self.cluster_id,
            "TAPE_PREFIX": self.prefix,
            "TAPE_CONFIG": self.config,
            TOPOLOGY_VARIABLE: self.topology,
            "DATABASE_URL": self.database_url,
            EXCHANGE_URL: self.exchange_url,
            KEEP: ALL_FOREVER,
        }
        return {name: value for name, value in told.items() if value}

    def cluster(
        self, environment: Mapping[str, str], prefix: str | None = None, login: str = OPERATOR
    ) -> Cluster:
        """The stack's cluster, under its own prefix or another; ``environment`` has the remaining settings.

        ``login``: the login on a secured stack. Only the administrator has rights under other prefixes. If
        the broker is embedded, the security settings in ``environment`` belong to another cluster and are
        ignored.
        """
        prefix = self.prefix if prefix is None else prefix
        told = {KEEP: ALL_FOREVER, **environment, CLUSTER_ID: self.cluster_id}
        if any(process.name == "kafka" for process in self.processes):
            told |= NOTHING_SAID
        if self.secrets:
            logins = Logins(Path(self.secrets))
            told |= dict(logins.login(login if prefix == self.prefix else ADMIN).given)
        return Cluster.described(self.bootstrap, prefix, told)


def write(folder: Path, state: StackState) -> None:
    """Replace the state file in one step."""
    new = folder / f"{STATE_FILE}.new"
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(state), stream, indent=1)
    new.rename(folder / STATE_FILE)


def read(folder: Path) -> StackState | None:
    """The state of the last stack in ``folder``; None if there never was one."""
    try:
        raw: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Fatal(
            f"the state file of the stack is damaged: {error}",
            value=str(folder / STATE_FILE),
            remedy="stop the stack's processes, then remove the file",
        ) from error
    raw["phase"] = Phase(raw["phase"])
    raw["supervisor"] = ProcessState(**raw["supervisor"])
    raw["processes"] = tuple(ProcessState(**row) for row in raw["processes"])
    return StackState(**raw)


def running(folder: Path) -> StackState:
    """The stack that runs in ``folder``.

    Raises Fatal if none does, naming the others in the same ``.tape`` that do.
    """
    state = read(folder)
    if state is None or not state.is_running:
        raise none_runs(folder)
    return state


def found_here() -> tuple[Path, StackState | None]:
    """The folder of TAPE_HOME, else of the nearest ``.tape``, and the stack that runs in it, if one does.

    Within a ``.tape`` it is ``local``, or ``demo`` if only that one runs.
    """
    folder = stack_folder(None)
    for each in (folder, *([stack_folder(_DEMO)] if not os.environ.get("TAPE_HOME") else [])):
        if (stack := read(each)) is not None and stack.is_running:
            return each, stack
    return folder, None


def none_runs(folder: Path) -> Fatal:
    """The error when a stack in ``folder`` or a cluster is needed and there is none."""
    remedy = "start one with `tape up`, or name a cluster in KAFKA_BOOTSTRAP_SERVERS"
    if beside := _running_beside(folder):
        remedy += f", or use the one that is running: export TAPE_HOME={' or '.join(map(str, beside))}"
    return Fatal("no stack runs there", value=str(folder), remedy=remedy)


def _running_beside(folder: Path) -> list[Path]:
    """The folders next to ``folder`` in the same ``.tape`` in which a stack runs."""
    if folder.parent.name != STACKS_FOLDER:
        return []
    found = []
    for path in sorted(folder.parent.glob(f"*/{STATE_FILE}")):
        with contextlib.suppress(Fatal):
            if (state := read(path.parent)) is not None and state.is_running:
                found.append(path.parent)
    return found


@contextlib.contextmanager
def only_stack(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``. Raises Fatal, naming process and folder, if another process holds it.

    The kernel releases the lock with its process, so a dead process never blocks anyone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Fatal(
                f"a stack already runs in {folder}, supervised by process {lock.read().strip() or '?'}",
                remedy="`tape status` shows it, `tape down` stops it, --name starts another one",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def end_processes(known: StackState | None) -> list[str]:
    """End the remaining processes of a stack whose supervisor is dead; returns their names."""
    if known is None or known.is_running:
        return []
    left = [process for process in reversed(known.processes) if is_running(process.identity)]
    for process in left:
        end(process.identity)
    return [process.name for process in left]
