"""Where things are on this machine, and which ports are free."""

import os
import random
import socket
import sys
from itertools import islice
from pathlib import Path

from tapedeck.schemas.errors import Fatal

LOOPBACK = "127.0.0.1"
STACKS_FOLDER = ".tape"
STATE_FILE = "stack.json"
LOCAL = "local"
# Below the range for outgoing connections, so that a free port stays free longer.
_PORTS = range(20_000, 32_000)
_GIB = 1 << 30


def cache_dir() -> Path:
    """The folder of downloads and compiled caches: TAPE_CACHE, else ``~/.cache/tapedeck``."""
    return Path(os.environ.get("TAPE_CACHE") or Path.home() / ".cache" / "tapedeck").expanduser().absolute()


def share_kernels() -> None:
    """Compile once per machine, not once per checkout. Call it before a compiled kernel is imported."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(kernels_folder()))


def kernels_folder() -> Path:
    """Where compiled kernels are kept."""
    return cache_dir() / "numba"


def stack_folder(name: str | None) -> Path:
    """The folder of one local stack: NAME in the nearest ``.tape``; without a name TAPE_HOME, else ``local``.

    The nearest is that of the working directory or of a folder above it, where such a stack was created. If
    there is none, it is the working directory's.
    """
    home = os.environ.get("TAPE_HOME")
    if home and not name:
        return Path(home).expanduser().absolute()
    here, name = Path.cwd(), name or LOCAL
    for folder in (here, *here.parents):
        if (folder / STACKS_FOLDER / name / STATE_FILE).is_file():
            return folder / STACKS_FOLDER / name
    return here / STACKS_FOLDER / name


def snapshots_folder() -> Path:
    """The folder of the snapshots of this machine's stack."""
    return stack_folder(None) / "snapshots"


def replays_folder() -> Path:
    """Where the worker processes of replays keep their state and logs."""
    return stack_folder(None) / "replays"


def is_free(port: int) -> bool:
    """Whether ``port`` of the loopback address is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of the loopback address on which nobody listens. Raises Fatal if none is found."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """``count`` different free ports. Raises Fatal if there are not enough."""
    found = list(islice(filter(is_free, random.SystemRandom().sample(_PORTS, 200)), count))
    if len(found) == count:
        return found
    raise Fatal(
        "no free port was found",
        value=f"{_PORTS.start}-{_PORTS.stop}",
        remedy="stop the programs that use them",
    )


def need_free(port: int, what: str) -> int:
    """``port`` itself. Raises Fatal if it is in use."""
    if not is_free(port):
        raise Fatal(
            f"port {port} is in use, {what} cannot listen there",
            value=f"{LOOPBACK}:{port}",
            remedy="stop the program that listens on it, or leave the port out to get a free one",
        )
    return port


def size_of(folder: Path) -> int:
    """Bytes on disk under ``folder``: a file with two names counts once, one that disappears not at all."""
    blocks: dict[int, int] = {}
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except OSError:
            continue
        blocks[status.st_ino] = status.st_blocks
    return sum(blocks.values()) * 512


def in_words(size: int) -> str:
    """A readable size: ``1.2 GiB`` or ``34 MiB``."""
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / (1 << 20):.0f} MiB"


def say(line: str) -> None:
    """One line of progress, on standard error."""
    print(f"tape: {line}", file=sys.stderr, flush=True)
