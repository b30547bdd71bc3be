"""The page about deployments on a secured cluster: six processes, each with a login of its own, two sessions.

    python -m tests.bench.bench_deploy

Kafka asks for SASL_SSL with SCRAM-SHA-512 and has an authorizer; a process has the rights that `tape topics
--acls` prints for what it does, and no more. The tape is a file of two whole sessions.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from tapedeck.connectors.kafka.acls import ADMIN, INGEST, OPERATOR, SINK, Rights
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.principals import principals
from tapedeck.connectors.postgres.counts import distinct_events, rows_per_table
from tapedeck.connectors.tapes.generator import days
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.logins import Logins
from tapedeck.tape.local.places import cache_dir, free_port, say
from tapedeck.tape.local.postgres import EmbeddedPostgres
from tapedeck.tape.local.secured import admit, doors_of
from tapedeck.topics.catalogue import Layout
from tests.bench.report import Row, Table, machine
from tests.integration.test_deploy import Shell, fenced, login_of, run_sql, url_of
from tests.support.live import bodies, eventually

FIRST, LAST, SEED = date(2026, 2, 17), date(2026, 2, 18), 7
PREFIX = "deployed"
PATIENCE_S = 900.0
ACCOUNT = EXAMPLE_ACCOUNTS[0].account_id
LOGINS = {
    "tape worker features scores": ("features", "scores"),
    "tape worker watchlist signals": ("watchlist", "signals"),
    "tape sink --no-migrate": (SINK,),
    f"tape dispatch {ACCOUNT}": (f"dispatch-{ACCOUNT}",),
}
"""What each process line of the page does; the exchange does not speak to Kafka."""


def wanted(layout: Layout) -> dict[str, Rights]:
    """The principals of this deployment: one for each process, one for who looks and one for who keeps it."""
    table = principals(TOPOLOGY, layout, [ACCOUNT])
    found = {name: table[name] for name in (INGEST, OPERATOR, ADMIN)}
    for kinds in LOGINS.values():
        rights = Rights()
        for kind in kinds:
            rights |= table[kind]
        found["-".join(kinds)] = rights
    return found


def write_market(path: Path) -> None:
    """Two sessions and the one before, as a file that a person might have."""
    calendar, columns = xnys(), ("symbol", "open", "high", "low", "close", "volume")
    bars = {}
    for tape in days(SEED, first=FIRST, last=LAST, calendar=calendar):
        for bar in (*tape.history, *(bar for minute in tape.minutes for bar in minute.bars)):
            bars[bar["symbol"], bar["t"]] = bar
    rows = [{"ts": bar["t"], **{name: bar[name] for name in columns}} for bar in bars.values()]
    times = pl.from_epoch("ts", time_unit="us").dt.replace_time_zone(str(UTC))
    pl.DataFrame(rows).with_columns(times).write_parquet(path)


class Deployment:
    """The servers, and a shell beside them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.layout = Layout(PREFIX)
        self.logins = Logins(folder / "secrets")
        table = wanted(self.layout)
        self.logins.make(table)
        self.kafka = EmbeddedKafka(folder / "kafka", cache_dir(), doors=doors_of(self.logins))
        self.kafka.start()
        stack.callback(self.kafka.stop)
        admit(self.kafka.cluster, self.logins, table, self.layout)
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.postgres.start()
        stack.callback(self.postgres.stop)
        self.shell = Shell(folder / "shell")
        stack.callback(self.shell.stop)

    def login(self, name: str) -> dict[str, str]:
        return dict(self.logins.login(name).given)

    def cluster(self) -> Cluster:
        return Cluster(self.kafka.bootstrap, self.layout, security=self.logins.login(OPERATOR))

    def run(self) -> Iterator[Row]:
        shell, server = self.shell, self.postgres
        run_sql(server, fenced("before"))
        (shell.folder / "tape.toml").write_text(Config(accounts=EXAMPLE_ACCOUNTS[:1]).to_toml())
        write_market(shell.folder / "market.parquet")
        shell.environment |= {
            "TAPE_CONFIG": "tape.toml",
            "TAPE_PREFIX": PREFIX,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "KAFKA_CLUSTER_ID": self.kafka.cluster_id,
            "DATABASE_URL": url_of(server, login_of("settings")),
            "TAPE_EXCHANGE_URL": f"http://127.0.0.1:{free_port()}",
            "TAPE_LARGE_KEY": "key",
            "TAPE_LARGE_SECRET": "secret",
        }
        plain = dict(shell.environment)
        shell.environment |= self.login(ADMIN)
        say(shell.run(fenced("init")))
        run_sql(server, fenced("after"))
        plain["DATABASE_URL"] = url_of(server, login_of("login"))
        for line in fenced("processes").splitlines():
            kinds = LOGINS.get(line)
            shell.environment = plain | (self.login("-".join(kinds)) if kinds else {})
            shell.start(line)
        eventually(shell.are_ready, "every process says that it is ready", 240)
        shell.environment = plain | self.login(INGEST)
        began = time.monotonic()
        say(shell.run(f"tape play market.parquet --sessions {FIRST}..{LAST}"))
        yield Row("two sessions", time.monotonic() - began, "s")
        shell.environment = plain | self.login(OPERATOR)
        yield from self._agreement()

    def _agreement(self) -> Iterator[Row]:
        cluster, url = self.cluster(), url_of(self.postgres, login_of("settings"))
        until = time.monotonic() + PATIENCE_S
        while True:
            events = {name: each.events for name, each in distinct_events(cluster).items()}
            rows = {name: each.now for name, each in rows_per_table(url, cluster).items()}
            if rows == events or time.monotonic() > until:
                break
            time.sleep(2.0)
        yield Row("events of audited topics", sum(events.values()), "", "rows = events", rows == events)
        orders = bodies(cluster, "orders")
        filled = {order["client_order_id"] for order in orders if order["state"] == "FILLED"}
        yield Row("orders filled", len(filled), "", "some", bool(filled))
        proof = self.shell.run("tape rebuild --verify")
        yield Row("rebuild --verify", 1, "", "EQUAL", "EQUAL" in proof and "DIFFERENT" not in proof)
        said = "\n".join(path.read_text() for path in self.shell.folder.glob("*.log"))
        secrets = [file.read_text().strip() for file in self.logins.folder.glob("*.password")]
        yield Row("lines of ERROR", said.count(" ERROR "), "", "none", " ERROR " not in said)
        yield Row("passwords in logs", sum(each in said for each in secrets), "", "none",
                  bool(secrets) and not any(each in said for each in secrets))  # fmt: skip


def measure() -> Table:
    """Run it all. Raises Fatal where something does not hold."""
    with TemporaryDirectory(prefix="bench-deploy-") as folder, ExitStack() as stack:
        deployment = Deployment(Path(folder), stack)
        rows = tuple(deployment.run())
    table = Table("deployment page, secured, two sessions of 28 symbols", rows)
    if missed := [row.name for row in rows if row.met is False]:
        raise Fatal(f"the deployment failed: {', '.join(missed)}\n{table}")
    return table


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m tests.bench.bench_deploy", description=__doc__).parse_args()
    print(machine(), flush=True)
    print(measure())
