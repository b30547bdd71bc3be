"""The pipelines of a cluster: listed with what they own, and dropped where nobody works."""

import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import describe_ids
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tapedeck.tape.prefixes import pipelines
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.conftest import Broker, Database

pytestmark = pytest.mark.integration


def test_prefix_is_dropped_whole_where_nobody_works(
    kafka: Broker, postgres: Database, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPE_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("TAPE_CONFIG", raising=False)
    cluster, beside = (Cluster(kafka.bootstrap, Layout(each)) for each in (prefix, f"{prefix}-b"))
    for each in (cluster, beside):
        ensure(each)
        upgrade(postgres.url, each.prefix)
    signals = cluster.layout.wire_name("signals")
    member = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": f"{prefix}-dispatch-large"})
    member.subscribe([signals])
    until = time.monotonic() + 30
    while not member.assignment():
        member.poll(0.1)
        assert time.monotonic() < until, "the consumer never joined"
    member.commit(offsets=[TopicPartition(signals, 0, 0)], asynchronous=False)
    where = ["--bootstrap", kafka.bootstrap, "--database", postgres.url]

    listed = CliRunner().invoke(app, ["prefix", "list", *where])
    line = next(line for line in listed.output.splitlines() if f" {prefix} " in line)
    assert line.replace("│", " ").split()[1:4] == [str(len(CATALOGUE)), "1", "1"]
    refused = CliRunner().invoke(app, ["prefix", "drop", prefix, "--yes", *where])
    assert isinstance(refused.exception, Fatal) and f"{prefix}-dispatch-large has members" in str(
        refused.exception
    )
    member.close()
    unasked = CliRunner().invoke(app, ["prefix", "drop", prefix, *where])
    assert isinstance(unasked.exception, Fatal) and "add --yes" in str(unasked.exception)
    assert all(describe_ids(cluster, [each.name for each in CATALOGUE]).values())

    dropped = CliRunner().invoke(app, ["prefix", "drop", prefix, "--yes", *where])
    assert dropped.exit_code == 0, dropped.output
    assert f"dropped {prefix}: {len(CATALOGUE)} topics, 1 groups" in dropped.output
    assert prefix not in pipelines(TOPOLOGY, cluster, postgres.url)
    assert pipelines(TOPOLOGY, cluster, postgres.url)[beside.prefix].tables > 0, "the one beside it is whole"
    with connect(postgres.url, role=None) as connection:
        left = "SELECT count(*) FROM pg_namespace WHERE nspname = %s"
        assert connection.execute(left, (prefix,)).fetchone() == (0,)
    gone = CliRunner().invoke(app, ["prefix", "drop", prefix, "--yes", *where])
    assert isinstance(gone.exception, Fatal) and beside.prefix in str(gone.exception)
