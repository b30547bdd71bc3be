"""Java programs of other projects that the outside tests run: fetched by `make registry-test` and such."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tapedeck.tape.local import jars
from tapedeck.tape.local.places import cache_dir, free_port

DOWNLOAD = "TAPE_TEST_DOWNLOAD"
APICURIO_VERSION = "3.3.3"
CONNECT = (
    "org.apache.kafka:connect-runtime:4.3.1",
    "org.apache.kafka:connect-json:4.3.1",
    "org.slf4j:slf4j-simple:1.7.36",
)
JDBC_SINK = (
    # Named, because the resolver takes older ones from another artifact's list than the connector needs.
    "org.hibernate.orm:hibernate-core:7.1.0.Final",
    "jakarta.persistence:jakarta.persistence-api:3.2.0",
    "net.bytebuddy:byte-buddy:1.17.6",
    "org.antlr:antlr4-runtime:4.13.2",
    "io.debezium:debezium-connector-jdbc:3.5.0.Final",
    "io.apicurio:apicurio-registry-utils-converter:2.6.13.Final",
)
_OF_THE_WORKER = ("jackson-", "kafka-clients-", "connect-api-", "connect-json-", "slf4j-")
"""What the connector brings and the worker has: two of them do not go together."""
_BUILD = "import jgo, pathlib, sys; jgo.build(sys.argv[1], cache_dir=pathlib.Path(sys.argv[2]))"
_ARTIFACT = (
    "import pathlib, sys\nfrom jgo.maven import MavenContext\n"
    "group, name, version = sys.argv[1].split(':')\n"
    "of = MavenContext(repo_cache=pathlib.Path(sys.argv[2])).project(group, name).at_version(version)\n"
    "print(of.artifact(classifier='all', packaging='tar.gz').resolve())"
)


def _cached(name: str, target: str, make: Callable[[Path, Path], None]) -> Path:
    """The folder ``name`` of the cache; downloaded if DOWNLOAD is set, else the test is skipped."""
    home = cache_dir() / name
    with jars.only_one(cache_dir(), name):
        if not home.is_dir():
            if not os.environ.get(DOWNLOAD):
                pytest.skip(f"{name} is not in the cache: `make {target}` downloads it")
            with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=cache_dir()) as scratch:
                whole = Path(scratch) / "whole"
                whole.mkdir()
                make(Path(scratch), whole)
                whole.rename(home)
    return home


def _run(code: str, what: str, work: Path) -> str:
    env = {"M2_REPO": str(work / "repository")} | os.environ
    done = subprocess.run(
        [sys.executable, "-c", code, what, str(work)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{what} cannot be downloaded: {done.stderr[-600:]}"
    return done.stdout


def _jars(*coordinates: str) -> Callable[[Path, Path], None]:
    def make(work: Path, whole: Path) -> None:
        _run(_BUILD, "+".join(coordinates), work)
        for path in (work / "envs").rglob("*.jar"):
            shutil.copy(path, whole / path.name)

    return make


def apicurio() -> Path:
    """The folder with Apicurio Registry, about 150 MB to download once."""

    def make(work: Path, whole: Path) -> None:
        packed = _run(_ARTIFACT, f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}", work).split()[-1]
        with tarfile.open(packed) as archive:
            archive.extractall(whole, filter="data")

    return _cached(f"apicurio-{APICURIO_VERSION}", "registry-test", make)


def connect() -> tuple[Path, Path]:
    """Two folders of jars, about 100 MB to download once: the Connect worker, and the JDBC sink."""
    worker = _cached("connect-4.3.1", "connect-test", _jars(*CONNECT))
    return worker, _cached("debezium-jdbc-3.5.0", "connect-test", _jars(*JDBC_SINK))


def plugin(source: Path, folder: Path) -> None:
    """Link the connector's jars into ``folder``, without those of the worker."""
    folder.mkdir(parents=True)
    for path in source.glob("*.jar"):
        if not path.name.startswith(_OF_THE_WORKER):
            (folder / path.name).symlink_to(path)


@contextmanager
def serving(argv: list[str], url: str, folder: Path, env: dict[str, str] | None = None) -> Iterator[None]:
    """A Java program while the block runs; it is ready once ``url`` answers with 200."""
    command = [str(jars.java()), "-Xmx512m", "-XX:+UseSerialGC", *argv]
    log = folder / "java.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, stdout=stream, stderr=stream, env=os.environ | (env or {})
        )
    try:
        deadline = time.monotonic() + 120
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Apicurio Registry in memory on loopback; its address. Confluent's API is under /apis/ccompat/v7."""
    home, port = apicurio(), free_port()
    flags = [f"-Dquarkus.http.port={port}", "-Dquarkus.http.host=127.0.0.1"]
    url = f"http://127.0.0.1:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    with serving([*flags, "-jar", str(home / "quarkus-run.jar")], f"{url}/apis/ccompat/v7/subjects", folder):
        yield url
