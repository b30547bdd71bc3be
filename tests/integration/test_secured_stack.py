"""``tape up --secure``: its processes work with logins of their own, and no secret shows anywhere."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import KafkaException

from tapedeck.connectors.kafka.acls import ADMIN
from tapedeck.connectors.kafka.admin import describe
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import ask_cluster_id
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.local import state
from tapedeck.tape.local.backup import backup, restore
from tapedeck.tape.local.plan import apart, workers
from tapedeck.tape.local.purge import purge
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.cases import REPOSITORY

pytestmark = pytest.mark.integration

WORKERS = [each.name for each in apart(workers(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS)))]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a stack with servers of its own, removed with its database."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TAPE_CONFIG", "TAPE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPE_HOME", str(tmp_path / "stack"))
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")  # of another cluster: it means nothing here
    yield tmp_path / "stack"
    for folder in (tmp_path / "stack", tmp_path / "restored"):
        tape("down", folder=folder)
        purge(folder)


def tape(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tapedeck", *words],
        cwd=REPOSITORY,
        env=os.environ | {"TAPE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def passwords(folder: Path) -> dict[str, str]:
    found = {path.stem: path.read_text() for path in sorted((folder / "secrets").glob("*.password"))}
    assert len(found) == len(WORKERS) + 2 and len(set(found.values())) == len(found)
    return found


def told_to(pid: int) -> str:
    """What stands on a process's command line and in its environment."""
    process = psutil.Process(pid)
    return "\n".join([*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())])


def starts_again(folder: Path, secret: dict[str, str]) -> None:
    """Without being told to: what was secured stays so, with the same logins, topics and rights."""
    authority = (folder / "secrets" / "ca.crt").read_bytes()
    done = tape("up", "--servers-only", "--detach", folder=folder)
    assert done.returncode == 0 and "the stack stays secured" in done.stderr, done.stderr
    assert passwords(folder) == secret
    assert (folder / "secrets" / "ca.crt").read_bytes() == authority
    known = state.running(folder)
    assert {topic.name for topic in CATALOGUE} <= set(describe(known.cluster(os.environ, login=ADMIN)))
    reasons = [
        decode("controls", each.value)["reason"] for each in read_topic(known.cluster(os.environ), "controls")
    ]
    assert reasons == ["first start", "lunch"]
    assert tape("down", folder=folder).returncode == 0


@pytest.mark.long
def test_secured_stack_works_and_shows_no_secret(home: Path, tmp_path: Path) -> None:
    done = tape("up", "--secure", "--detach", folder=home)
    assert done.returncode == 0, done.stderr
    assert f"secured, logins in {home / 'secrets'}" in done.stdout
    known = state.running(home)
    assert [each.name for each in known.processes] == ["kafka", "postgres", *WORKERS]
    secret = passwords(home)
    assert "operator" in secret and "exchange" not in secret

    for each in (known.supervisor, *known.processes):
        shown = told_to(each.pid)
        assert not [user for user, password in secret.items() if password in shown], each.name
        if each.name in secret:
            assert f"KAFKA_SASL_USERNAME={each.name}" in shown
            assert f"KAFKA_SASL_PASSWORD_FILE={home}/secrets/{each.name}.password" in shown
    shown = done.stdout + done.stderr + (home / state.STATE_FILE).read_text()
    assert not [user for user, password in secret.items() if password in shown]

    looked = tape("status", folder=home)
    assert looked.returncode == 0, looked.stderr
    paused = tape("pause", "all", "--person", "ann", "--reason", "lunch", folder=home)
    assert paused.returncode == 0, paused.stderr
    cluster = known.cluster(os.environ)
    assert cluster.security.username == "operator"
    with pytest.raises(KafkaException):
        ask_cluster_id(Cluster(known.bootstrap), 3.0)
    stopped = tape("down", folder=home)
    assert stopped.returncode == 0
    for path in (path for path in home.rglob("*") if path.is_file() and path.parent.name != "secrets"):
        content = path.read_bytes()
        assert not [user for user, password in secret.items() if password.encode() in content], path
    assert not [path for path in home.glob("logs/*.log") if b"Traceback" in path.read_bytes()]

    starts_again(home, secret)
    backup(home, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "restored")
    for path in (home / "secrets").iterdir():
        twin = tmp_path / "restored" / "secrets" / path.name
        assert twin.stat().st_mode == path.stat().st_mode and twin.read_bytes() == path.read_bytes()
    assert (tmp_path / "restored" / "secrets").stat().st_mode & 0o777 == 0o700
    assert tape("down", "--purge", folder=tmp_path / "restored").returncode == 0
    assert not (tmp_path / "restored").exists()
