"""docs/deploy.md, word for word: its processes on servers that `tape` did not start."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import polars as pl
import psycopg
import pytest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.counts import distinct_events, rows_per_table
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.local.places import free_port
from tapedeck.tape.local.postgres import EmbeddedPostgres
from tapedeck.tape.local.process import tail
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.conftest import Broker
from tests.support.cases import REPOSITORY
from tests.support.live import bodies, eventually
from tests.support.paths import ORDERED_AT
from tests.support.sim_tapes import small_tape

pytestmark = pytest.mark.integration
PAGE = (REPOSITORY / "docs" / "deploy.md").read_text()
MINUTES = slice(ORDERED_AT - 19, ORDERED_AT + 4)


def fenced(name: str) -> str:
    """The one block of the page whose fence says ``name``."""
    (block,) = re.findall(rf"^```(?:sh|sql) {name}\n(.*?)^```", PAGE, flags=re.M | re.S)
    return str(block)


def exported(name: str) -> list[str]:
    """The variables that a block of the page exports."""
    return re.findall(r"^export (\w+)=", fenced(name), flags=re.M)


def write_tape(tape: Tape, path: Path) -> None:
    """The session before, and the minutes around the first order, as a file that a person might have."""
    played = [*tape.history, *(bar for minute in tape.minutes[MINUTES] for bar in minute.bars)]
    bars = {(bar["symbol"], bar["t"]): bar for bar in played}.values()  # the newest revision of each
    columns = ("symbol", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame([{"ts": bar["t"], **{name: bar[name] for name in columns}} for bar in bars])
    frame.with_columns(pl.from_epoch("ts", time_unit="us").dt.replace_time_zone(str(UTC))).write_parquet(path)


class Shell:
    """A folder to work in, the environment of a person there, and what was started from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = folder / "bin" / "tape"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tapedeck "$@"\n')
        command.chmod(0o755)
        ours = ("KAFKA_", "TAPE_", "DATABASE_", "SCHEMA_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        if cache := os.environ.get("TAPE_CACHE"):
            kept["TAPE_CACHE"] = cache
        self.environment = kept | {"PATH": f"{command.parent}:{os.environ['PATH']}"}
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, block: str) -> str:
        """Every line of ``block``; what they print. Fails where one of them does."""
        done = subprocess.run(
            ["bash", "-ec", block],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def start(self, line: str) -> None:
        """Run one line as a process of its own, with a TAPE_READY_FILE and a log."""
        name = re.sub(r"\W+", "-", line)
        told = self.environment | {"TAPE_READY_FILE": str(self.folder / f"{name}.ready")}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                shlex.split(line), cwd=self.folder, env=told, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self, line: str) -> None:
        """End the process of ``line`` at once."""
        process = self.started.pop(re.sub(r"\W+", "-", line))
        process.kill()
        process.wait()

    def doctor(self) -> tuple[int, str]:
        """The exit code of `tape doctor` here, and what it prints."""
        done = subprocess.run(
            [str(self.folder / "bin" / "tape"), "doctor"], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def are_ready(self) -> bool:
        for name, process in self.started.items():
            assert process.poll() is None, f"{name} ended\n{self.logs()}"
        return all((self.folder / f"{name}.ready").exists() for name in self.started)

    def logs(self) -> str:
        return "\n".join(f"{log.name}:\n{tail(log)}" for log in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "shell")
    yield made
    made.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A database server of its own: roles belong to the whole of one."""
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    server.start()
    yield server
    server.remove()


def run_sql(server: EmbeddedPostgres, block: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in filter(None, map(str.strip, block.split(";"))):
            connection.execute(statement.encode())


def url_of(server: EmbeddedPostgres, login: str) -> str:
    """The URL of the page with this server's address."""
    return f"postgresql://{login}@{server.url.rpartition('@')[2].partition('/')[0]}/audit"


def login_of(name: str) -> str:
    found = re.search(r"DATABASE_URL=postgresql://([^@]+)@", fenced(name))
    assert found is not None
    return found[1]


def test_every_variable_that_the_page_sets_is_in_its_table_and_is_printed_by_config_where() -> None:
    from tapedeck.tape.cli.config import WHERE

    table = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", "\n".join(table)))
    accounts = {"TAPE_LARGE_KEY", "TAPE_LARGE_SECRET"}
    assert set(exported("settings")) | set(exported("login")) <= named | accounts
    assert set(WHERE) - {"KAFKA_SASL_PASSWORD_FILE"} <= named


@pytest.mark.long
def test_the_page_runs_as_it_is_written(
    kafka: Broker, prefix: str, server: EmbeddedPostgres, shell: Shell
) -> None:
    run_sql(server, fenced("before"))
    shell.run(fenced("document"))
    one = Config(accounts=EXAMPLE_ACCOUNTS[:1])
    (shell.folder / "tape.toml").write_text(one.to_toml())
    write_tape(small_tape(), shell.folder / "market.parquet")
    settings = {
        "TAPE_CONFIG": "tape.toml",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA_CLUSTER_ID": kafka.cluster_id,
        "DATABASE_URL": url_of(server, login_of("settings")),
        "TAPE_EXCHANGE_URL": f"http://127.0.0.1:{free_port()}",
        "TAPE_LARGE_KEY": "key",
        "TAPE_LARGE_SECRET": "secret",
        "TAPE_SOURCE": "tape",
        "TAPE_ALERT_WEBHOOK": "https://alerts.example/tape",
    }
    assert list(settings) == exported("settings")
    shell.environment |= settings | {"TAPE_PREFIX": prefix}

    made = shell.run(fenced("init"))
    assert (
        f"topics: {len(CATALOGUE)} created" in made
        and "by tape init" in made
        and "universe: version 1" in made
    )
    again = shell.run(fenced("init").splitlines()[0])
    assert "nothing was changed: everything already exists" in again
    run_sql(server, fenced("after"))

    shell.environment["DATABASE_URL"] = url_of(server, login_of("login"))
    lines = fenced("processes").splitlines()
    for line in lines:
        shell.start(line)
    eventually(shell.are_ready, "every process says that it is ready", 120)
    assert "played 23 minutes" in shell.run(fenced("play"))

    cluster = Cluster(kafka.bootstrap, Layout(prefix))
    orders = bodies(cluster, "orders")
    assert "FILLED" in {order["state"] for order in orders}
    events = {name: each.events for name, each in distinct_events(cluster).items()}

    def whole() -> bool:
        rows = rows_per_table(url_of(server, login_of("settings")), cluster)
        return {name: each.now for name, each in rows.items()} == events

    eventually(whole, "every event has its row", 120)
    assert sum(events.values()) > 2000
    proof = shell.run(fenced("proof"))
    assert proof.startswith(f"all green: {len(CHECKS)} checks")
    assert f"prefix {prefix}" in proof and "EQUAL" in proof and "DIFFERENT" not in proof
    assert str(orders[0]["client_order_id"]) in proof
    said = "\n".join(path.read_text() for path in shell.folder.glob("*.log"))
    assert " ERROR " not in said

    shell.kill("tape worker features scores")
    eventually(lambda: shell.doctor()[0] == 2, "the doctor sees that a worker is gone")
    _, said = shell.doctor()
    assert said.startswith("red heartbeats: features has been silent for ")
    assert "to mend it: tape worker features" in said
