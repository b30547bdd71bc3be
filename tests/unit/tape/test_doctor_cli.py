"""`tape doctor` without a broker, and what it reads besides the cluster."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tapedeck.tape.doctor.diagnose import check_named, diagnose
from tapedeck.tape.doctor.findings import Severity
from tapedeck.tape.doctor.snapshot import BESIDE, Feed, Section
from tapedeck.tape.local.certificates import Authority
from tapedeck.tape.status import collect
from tapedeck.tape.status.outside import certificates, exchange
from tapedeck.tape.status.readers import beats_of
from tapedeck.tape.status.told import append_alarms, lines
from tests.support.doctor import healthy, without


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack, no database, no document, and a broker that is not there."""
    for name in ("DATABASE_URL", "TAPE_CONFIG", "TAPE_PREFIX", "KAFKA_CLUSTER_ID", "TAPE_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(collect, "ANSWER_S", 0.3)


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of something that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("nowhere")
def test_a_broker_that_is_away_is_the_first_line_and_no_exception() -> None:
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2, done.output
    assert done.output.startswith("red broker: no Kafka broker listens there: it is stopped")
    document = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert document["headline"].startswith("red broker") and document["exit_code"] == 2
    told = {each["check"]: each["severity"] for each in document["findings"]}
    assert told["heartbeats"] == "unknown" and set(told) == {*document["checks"]}
    one = CliRunner().invoke(app, ["doctor", "--check", "calendar"])
    assert one.exit_code == 0 and one.output.startswith("all green: 1 checks")


@pytest.mark.usefixtures("nowhere")
def test_status_of_a_cluster_that_is_away_says_so_and_exits_red() -> None:
    done = CliRunner().invoke(app, ["status"], env={"COLUMNS": "160"})
    assert done.exit_code == 2 and done.output.startswith("red broker: no Kafka broker listens there")


def test_a_mute_broker_takes_a_bounded_time(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "ANSWER_S", 0.3)
    target = collect.Target(
        cluster=Cluster(mute), topology=TOPOLOGY, config=Config(), feed=Feed.TAPE, sinks=("a log",)
    )
    xnys()
    began = time.monotonic()
    snapshot, found = collect.examine(target, deadline_s=3.0)
    assert time.monotonic() - began < 6
    assert Section.BROKER in snapshot.unread
    assert found.headline.startswith("red broker:") and "has not answered within" in found.headline


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "words, variables, said",
    [
        (["--check", "pulse"], {}, "no such check"),
        ([], {"TAPE_SOURCE": "radio"}, "TAPE_SOURCE does not say who writes the sources"),
        (["--name", "nobody"], {}, "no stack runs there"),
        (["--alert"], {}, "no alert sink is set"),
    ],
)
def test_bad_input_is_refused_in_words(
    words: list[str], variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["doctor", *words])
    assert isinstance(done.exception, Fatal) and said in str(done.exception)


def test_a_slow_reader_is_unread_and_holds_nothing_up() -> None:
    readers = collect._Readers(time.monotonic() + 0.2)
    readers.start(Section.MARKS, lambda: time.sleep(2) or {})
    readers.start(Section.BEATS, lambda: {"beats": ()})
    readers.start(Section.GROUPS, lambda: {}["nothing"])
    fields, missing = readers.results()
    assert fields == {"beats": ()}
    assert missing[Section.MARKS].what == "no answer in time"
    assert missing[Section.GROUPS].what == "KeyError: 'nothing'"


def test_certificates_are_read_for_when_they_expire(tmp_path: Path) -> None:
    made = Authority.make(tmp_path).issue("broker")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    found = certificates({"A": made.certificate, "B": broken, "C": tmp_path / "gone.pem"})
    days = timedelta(days=400) // timedelta(microseconds=1)
    assert found[0].expires is not None and found[0].expires > healthy().now + days
    assert [each.expires for each in found[1:]] == [None, None]


def test_an_exchange_that_is_away_is_a_finding(mute: str) -> None:
    seen = exchange("http://127.0.0.1:1")
    assert seen is not None and seen.fault == "ConnectionError"
    assert exchange("") is None


def test_exchanges_beside_the_dispatchers_are_not_asked_and_not_missed(mute: str) -> None:
    """As in the chart, where each listens on the loopback of its dispatcher's pod."""
    snapshot = replace(healthy(), exchange=exchange(BESIDE))
    (finding,) = check_named("exchange").look(snapshot)
    assert finding.severity is Severity.NOT_EXPECTED and "beside" in finding.what
    (missed,) = check_named("exchange").look(replace(snapshot, exchange=None))
    assert missed.severity is Severity.RED


def test_heartbeats_of_any_release_are_read() -> None:
    old = {
        "stage": "features", "partition": 0, "at": 5, "last_watermark": None, "lag": None, "records": 1,
        "code_version": "1", "config_digest": "d", "counts": {},
    }  # fmt: skip
    new = old | {
        "partition": 1, "process": "host:1", "started_at": 4, "rules_version": "r", "ready": False,
        "restored": 1, "to_restore": 2, "assigned": [1],
    }  # fmt: skip
    first, second = beats_of({("features", 0): old, ("features", 1): new})
    assert (first.rules, first.started_at, first.ready, first.lag) == ("", None, None, None)
    assert (second.rules, second.started_at, second.ready, second.to_restore) == ("r", 4, False, 2)


def test_words_and_alarms_have_cause_time_stage_and_remedy(tmp_path: Path) -> None:
    snap = without(healthy(), "signals")
    found = diagnose(snap)
    said = lines(found)
    assert said[0] == found.headline
    assert said[1].strip().startswith("since 2026-02-17 15:2")
    assert said[2:4] == ["    first at fault: signals", "    to mend it: tape logs signals"]
    assert lines(diagnose(healthy())) == [diagnose(healthy()).headline]
    log = tmp_path / "logs" / "alerts.log"
    assert append_alarms(log, found, snap.now) == len(found.faults) > 1
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows[0]["check"] == "heartbeats" and rows[0]["at"].startswith("2026-02-17T15")
