"""The health server and `tape health`: what is missing is said, a taken port stops the start."""

import json
import resource
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tapedeck.connectors import beats
from tapedeck.connectors.beats import about, beat
from tapedeck.connectors.health.asked import main
from tapedeck.connectors.health.exposition import exposed
from tapedeck.connectors.health.server import serve
from tapedeck.connectors.health.vitals import SILENT_S, Edge, Vitals
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.metrics import Kind, Metric, Sample


class Part:
    def __init__(self) -> None:
        self.lacks: dict[str, str] = {}
        self.stands: dict[str, str] = {}

    def missing(self) -> dict[str, str]:
        return self.lacks

    def stuck(self) -> dict[str, str]:
        return self.stands

    def samples(self) -> list[Sample]:
        return []


@pytest.fixture
def vitals() -> Vitals:
    made = Vitals("features", about("1.0", "abc"))
    made.parts.append(Part())
    return made


def ask(url: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_process_is_ready_once_it_has_started_and_no_part_lacks_anything(vitals: Vitals) -> None:
    address = serve(vitals, {})
    assert ask(f"{address}/health/ready") == (
        503, {"process": "features", "ready": False, "missing": {"features": "is starting"}},
    )  # fmt: skip
    vitals.started = True
    assert ask(f"{address}/health/ready")[0] == 200
    vitals.parts[0].lacks = {"features/2": "restores: 1 of 9 changelog records"}
    status, body = ask(f"{address}/health/ready")
    assert (status, body["missing"]) == (503, {"features/2": "restores: 1 of 9 changelog records"})
    assert ask(f"{address}/health/live")[0] == 200, "what restores lives"
    vitals.parts[0].stands = {"features:bars/1": "nothing from offset 7 on"}
    assert ask(f"{address}/health/live")[0] == 503


def test_a_port_that_is_taken_or_is_none_stops_the_start_and_is_named(vitals: Vitals) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(Fatal, match=f"TAPE_HEALTH_PORT={port}"):
            serve(vitals, {"TAPE_HEALTH_PORT": port})
    for wrong in ("http", "70000", "-1"):
        with pytest.raises(Fatal, match="TAPE_HEALTH_PORT is not a port"):
            serve(vitals, {"TAPE_HEALTH_PORT": wrong})


def test_the_server_listens_on_loopback_unless_told(vitals: Vitals) -> None:
    assert serve(vitals, {}).startswith("http://127.0.0.1:")
    assert serve(vitals, {"TAPE_HEALTH_HOST": "0.0.0.0"}).startswith("http://0.0.0.0:")


def test_a_scrape_has_what_runs_and_the_health_as_numbers(vitals: Vitals) -> None:
    with urllib.request.urlopen(f"{serve(vitals, {})}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'tape_build_info{code_version="1.0",config_digest="abc",rules_version="rules-1"} 1.0' in text
    assert "tape_ready 0.0" in text and "tape_live 1.0" in text


def test_a_metric_outside_the_catalogue_is_refused() -> None:
    stray = Metric(name="tape_stray", kind=Kind.GAUGE, help="")
    with pytest.raises(Fatal, match="tape_stray"):
        exposed([Sample(stray, 1)])


def test_tape_health_says_in_a_line_what_is_missing(
    vitals: Vitals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPE_HEALTH_PORT", serve(vitals, {}).rpartition(":")[2])
    assert main([]) == 1
    assert capsys.readouterr().out == "not ready: features is starting\n"
    vitals.started = True
    assert main(["--ready"]) == 0 and main(["--live"]) == 0
    assert capsys.readouterr().out == "ready\nlive\n"
    monkeypatch.setenv("TAPE_HEALTH_PORT", "1")
    assert main([]) == 1
    assert "nothing answers at 127.0.0.1:1" in capsys.readouterr().out
    monkeypatch.setenv("TAPE_HEALTH_PORT", "x")
    assert main([]) == 2
    assert main(["--dead"]) == 2


def test_tape_health_takes_under_150_ms_of_a_processor_and_imports_nothing_heavy() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tapedeck", "health"],
        capture_output=True, text=True, check=False, env={"TAPE_HEALTH_PORT": "1", "PATH": ""},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert told.returncode == 1 and "nothing answers" in told.stdout
    heavy = {"typer", "rich", "numpy", "pydantic", "prometheus_client", "asyncio", "tapedeck.tape.cli.main"}
    assert not heavy & {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.15, spent


def test_an_edge_that_looks_around_lives_and_one_that_hangs_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge("scorer", connected=lambda: "is not connected")
    beats.touch()
    assert edge.stuck() == {}
    assert edge.missing() == {"scorer": "is not connected"}
    monkeypatch.setattr(beats, "_looked_at", beats.looked_at() - SILENT_S - 1)
    assert "has not looked around" in edge.stuck()["scorer"]


def test_a_heartbeat_tells_who_reports_since_when_and_by_which_rules() -> None:
    from tapedeck.schemas.codec import decode

    wire = beat(
        "scorer", 5, marked=None, lag=None, records=0, counts={}, about=about("1.0", "d"),
        restoring=(3, 9), ready=False,
    )  # fmt: skip
    body = decode("heartbeats", wire.value)
    assert (body["restored"], body["to_restore"], body["ready"], body["assigned"]) == (3, 9, False, [0])
    assert body["rules_version"] == "rules-1" and body["started_at"] > 0 and ":" in body["process"]
    assert beats.process_name({"POD_NAME": "features-0"}) == "features-0"
