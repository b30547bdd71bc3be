"""`tape doctor` on a real cluster: all is green, then a worker is killed and the first line names it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.agents.settings import code_version
from tapedeck.connectors import beats
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.begin import arm
from tapedeck.tape.cli.main import app
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.doctor.plan import expected
from tapedeck.tape.doctor.snapshot import Feed
from tests.conftest import Broker
from tests.support.live import Workers, eventually

pytestmark = pytest.mark.integration

CONFIG = Config()
REAL = "features"


@pytest.fixture
def pipeline(
    kafka: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workers]:
    """A pipeline into which tapes are played: one real worker, and the heartbeats of all other processes."""
    workers = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    arm(workers.cluster, CONFIG, person="ada", reason="test")
    told = {
        "TAPE_CONFIG": str(workers.config_path), "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TAPE_PREFIX": prefix, "TAPE_SOURCE": "tape", "TAPE_HOME": str(tmp_path / "none"),
        "TAPE_ALERT_WEBHOOK": "http://127.0.0.1:1/", **workers.layout.environment(),
    }  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(workers, stop))
    beating.start()
    yield workers
    stop.set()
    beating.join()
    workers.stop()


def _beat(workers: Workers, stop: threading.Event) -> None:
    """The heartbeats of every process but the real one, once a second."""
    about = {**beats.about(code_version(), CONFIG.digest), "rules_version": RULES_VERSION}
    outbox = Outbox(workers.cluster, "test")
    while not stop.wait(1.0):
        now = SystemClock().now()
        outbox.write(
            [
                beats.beat(
                    each.stage, now, marked=None, lag=0, records=0, counts={}, partition=partition,
                    about={**about, "started_at": now},
                )
                for each in expected(TOPOLOGY, workers.layout, CONFIG, Feed.TAPE)
                for partition in each.partitions
                if each.stage != REAL
            ]
        )  # fmt: skip
    outbox.close()


def doctor(*words: str) -> tuple[str, int]:
    done = CliRunner().invoke(app, ["doctor", *words])
    return done.output, done.exit_code


def test_a_healthy_pipeline_is_green_and_a_killed_worker_is_in_the_first_line(pipeline: Workers) -> None:
    process = pipeline.start(REAL)
    eventually(lambda: doctor()[1] == 0, "a healthy pipeline is green", 90)
    said, code = doctor()
    assert said.startswith(f"all green: {len(CHECKS)} checks") and code == 0
    shown = CliRunner().invoke(app, ["status", "--json"])
    document = json.loads(shown.output)
    assert shown.exit_code == document["exit_code"] == 0
    assert {"lag", "stages", "edges", "cluster_id", "findings"} <= document.keys()
    assert "processes" not in document, "no local stack is known"
    process.kill()
    process.wait()
    eventually(lambda: doctor()[1] == 2, "the killed worker is seen", 60)
    said, _ = doctor("--check", "heartbeats")
    assert said.startswith(f"red heartbeats: {REAL} has been silent for ")
    assert "to mend it: tape worker features" in said
    assert doctor()[0].startswith(f"red heartbeats: {REAL} has been silent for ")
