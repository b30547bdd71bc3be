"""A real worker on a real broker: its health and its metrics, by HTTP and by `tape health`."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.tape.local.places import free_port
from tests.chaos.clean import a_log
from tests.conftest import Broker
from tests.support.live import Workers, bodies, eventually, last_label
from tests.support.sim_tapes import CONFIG

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def health(port: str, *options: str) -> tuple[int, str]:
    told = subprocess.run(
        [sys.executable, "-m", "tapedeck", "health", *options],
        capture_output=True, text=True, check=False, env={**os.environ, "TAPE_HEALTH_PORT": port},
    )  # fmt: skip
    return told.returncode, told.stdout


def test_a_worker_tells_its_health_and_its_delay_and_a_second_one_is_refused_its_port(
    workers: Workers,
) -> None:
    workers.write(a_log())
    port = str(free_port())
    extra = {"TAPE_HEALTH_PORT": port, "TAPE_LOG": "json"}
    workers.tape("worker", "features", extra=extra)
    eventually(lambda: health(port, "--live")[0] == 0, "an answer", 90)
    eventually(lambda: health(port)[0] == 0, "readiness", 90)
    eventually(
        lambda: last_label(workers.cluster, "features") == last_label(workers.cluster, "bars"), "all minutes"
    )
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    for partition in range(workers.layout.partitions("bars")):
        assert f'tape_stage_delay_seconds{{partition="{partition}",stage="features"}} 0.0' in lines
    assert "tape_ready 1.0" in lines and any("tape_batch_seconds_count" in each for each in lines)
    eventually(lambda: any(b["process"] for b in bodies(workers.cluster, "heartbeats")), "a heartbeat")
    newest = bodies(workers.cluster, "heartbeats")[-1]
    assert newest["ready"] and newest["partition"] in newest["assigned"] and newest["restored"] is not None

    second = workers.tape("worker", "scores", extra=extra)
    assert second.wait(60) == 2
    assert f"TAPE_HEALTH_PORT={port}" in workers.log_of("worker", "scores")
    told = [json.loads(each) for each in workers.log_of("worker", "features").splitlines() if each[:1] == "{"]
    assert any(each["event"].startswith("health.") for each in told)
