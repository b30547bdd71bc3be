"""Installing the peers of the rebuild race, into the cache folder and never into the repository.

Each function gives the command that starts a peer, or raises Absent with the reason that stands in its row.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from tapedeck.tape.local.jars import only_one
from tapedeck.tape.local.places import cache_dir, say
from tests.support.cases import REPOSITORY

_HERE = REPOSITORY / "tests" / "bench"
_JAVA = _HERE / "kafka_streams"
_QUIX = _HERE / "quix_requirements.txt"
_PATIENCE_S = 600.0


class Absent(Exception):
    """A peer that this machine cannot have; the text says why, in few words."""


def kafka_streams() -> list[str]:
    """The command of the Kafka Streams program, built with Maven where it is not yet."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None or shutil.which("javac") is None:
        raise Absent("no JDK" if maven else "no Maven")

    def build(folder: Path) -> None:
        say("building the Kafka Streams peer with Maven (about 90 MiB of jars, once)")
        pom = ["-f", str(_JAVA / "pom.xml"), f"-Dbuilt={folder}"]
        _run([maven, "--quiet", "--batch-mode", *pom, "compile"], "Maven")

    sources = [_JAVA / "pom.xml", *sorted(_JAVA.rglob("*.java"))]
    folder = _made("kafka-streams", sources, build)
    options = ["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [java, *options, "-cp", f"{folder / 'classes'}:{folder / 'jars'}/*", "tapedeck.bench.FeaturesApp"]


def quix() -> list[str]:
    """The command of the Quix Streams program, in a virtual environment of its own."""

    def install(folder: Path) -> None:
        wanted = next(line for line in _QUIX.read_text().splitlines() if line.startswith("quixstreams"))
        say(f"installing {wanted} and what it needs into an environment of its own (about 400 MiB, once)")
        _run([sys.executable, "-m", "venv", str(folder)], "venv")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
        _run([*pip, "--quiet", "--requirement", str(_QUIX)], "pip")

    folder = _made("quix", [_QUIX], install)
    return [str(folder / "bin" / "python"), "-m", "tests.bench.quix_features"]


def _made(name: str, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The cache's folder for these sources; one that is not whole has no mark, and is made again as an older
    version's is removed."""
    told = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    home = cache_dir() / "bench"
    folder = home / f"{name}-{told}"
    with only_one(home, name):
        if not (folder / ".whole").is_file():
            for old in home.glob(f"{name}-*"):
                shutil.rmtree(old, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / ".whole").touch()
    return folder


def _run(command: Sequence[str], what: str) -> None:
    with tempfile.TemporaryFile() as log:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, timeout=_PATIENCE_S,
                check=False,
            ).returncode  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise Absent(f"{what}: {type(error).__name__}") from error
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
    if code:
        said = next((line for line in lines if "ERROR" in line), "no message")
        raise Absent(f"{what} failed: {said[:160]}")
