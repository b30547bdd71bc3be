"""`tape status`, `logs`, `down` and `up --detach`, over a broker with heartbeats and a lagging group."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.wire import Wire, watermark_wires
from tapedeck.tape.cli.main import app
from tapedeck.tape.local import state
from tapedeck.tape.local.process import identity
from tapedeck.tape.local.state import Phase, ProcessState, StackState
from tapedeck.tape.status import lines
from tapedeck.topics.catalogue import Layout, topic
from tests.conftest import Broker

pytestmark = pytest.mark.integration

NOON = 1_700_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack's folder, which the commands find through TAPE_HOME."""
    monkeypatch.setenv("TAPE_HOME", str(tmp_path / "stack"))
    (tmp_path / "stack" / "logs").mkdir(parents=True)
    return tmp_path / "stack"


def stack_at(broker: Broker, folder: Path, prefix: str) -> StackState:
    """A stack whose supervisor is this process, written to ``folder``."""
    me = identity(os.getpid())
    assert me is not None
    log = folder / "logs" / "features.log"
    log.write_text("first line\nlast line\n")
    known = StackState(
        name="stack",
        phase=Phase.READY,
        supervisor=ProcessState(name="supervisor", pid=me.pid, started=me.started, log=""),
        bootstrap=broker.bootstrap,
        cluster_id=broker.cluster_id,
        prefix=prefix,
        processes=(ProcessState(name="features", pid=me.pid, started=me.started, log=str(log), restarts=2),),
    )
    state.write(folder, known)
    return known


def beat(partition: int, watermark: int | None, records: int, counts: dict[str, int]) -> dict[str, object]:
    return {
        "stage": "signals",
        "partition": partition,
        "at": NOON + partition,
        "last_watermark": watermark,
        "lag": 4 if partition else None,
        "records": records,
        "code_version": "0",
        "config_digest": "d",
        "counts": counts,
    }


@pytest.fixture
def busy(kafka: Broker, folder: Path, prefix: str) -> StackState:
    """Two signal partitions that have beaten, and a group that has read all feature offsets but 2."""
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    beats = (
        beat(0, NOON, 1, {"IN": 1}),
        beat(0, NOON, 7, {"IN": 7, "OUT:decisions": 7, "NO_TREND": 5, "COOLDOWN": 1}),
        beat(1, NOON - 60_000_000, 3, {"IN": 3, "OUT:decisions": 2, "COOLDOWN": 1}),
    )
    heartbeats = topic("heartbeats")
    wires = [
        Wire("heartbeats", 0, heartbeats.record_key(body), encode("heartbeats", body), NOON // 1000, [])
        for body in beats
    ]
    wires += [
        wire for label in range(3) for wire in watermark_wires("features", label * 60_000_000, range(4))
    ]
    outbox = Outbox(Cluster(kafka.bootstrap, layout), "test")
    outbox.write(wires)
    outbox.close()
    group = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": f"{prefix}-signals"})
    read = (1, 3, 3, 3)
    offsets = [TopicPartition(layout.wire_name("features"), part, at) for part, at in enumerate(read)]
    group.commit(offsets=offsets, asynchronous=False)
    group.close()
    return stack_at(kafka, folder, prefix)


def test_stages_are_summed_over_partitions_from_the_newest_heartbeats(busy: StackState) -> None:
    (line,) = lines.stages(busy.cluster({}))
    assert (line.stage, line.partitions, line.records, line.taken) == ("signals", 2, 10, 10)
    assert line.watermark == NOON - 60_000_000
    assert line.at == NOON
    assert line.lag == 4
    assert line.given == {"decisions": 9}
    assert line.reasons == {"NO_TREND": 5, "COOLDOWN": 2}


def test_lag_counts_what_a_group_has_not_read(busy: StackState) -> None:
    (line,) = lines.lags(busy.cluster({}))
    assert (line.group, line.topic, line.lag) == (f"{busy.prefix}-signals", "features", 2)


def test_status_prints_processes_watermarks_and_reasons(busy: StackState) -> None:
    result = CliRunner().invoke(app, ["status"], env={"COLUMNS": "160"})
    assert result.exit_code == 2, "no process has reported since 2023"
    for expected in (
        "red heartbeats: stories has never reported",
        "features",
        "2023-11-14 22:12 UTC",
        "decisions 9",
        "NO_TREND 5",
        busy.cluster_id,
    ):
        assert expected in result.output
    document = json.loads(CliRunner().invoke(app, ["status", "--json"]).output)
    assert document["phase"] == "READY" and document["headline"].startswith("red ")
    assert document["processes"][1]["restarts"] == 2
    assert document["disk"].keys() == {"kafka", "postgres", "state", "logs", "free"}
    assert document["disk"]["free"] > 0
    assert document["lag"] == [{"group": f"{busy.prefix}-signals", "topic": "features", "lag": 2}]


def test_the_doctor_names_a_dead_process_of_the_stack_first(busy: StackState, folder: Path) -> None:
    gone = ProcessState(name="features", pid=2**22 + 1, started=1.0, log="")
    state.write(folder, replace(busy, processes=(gone,)))
    result = CliRunner().invoke(app, ["doctor", "--alert"])
    assert result.exit_code == 2
    first = f"red stack: process features (pid {gone.pid}) of the local stack is dead"
    assert result.output.splitlines()[0] == first
    assert "is dead" in (folder / "logs" / "alerts.log").read_text()


def test_status_of_another_cluster_is_refused(kafka: Broker, folder: Path, prefix: str) -> None:
    known = stack_at(kafka._replace(cluster_id="mine"), folder, prefix)
    with pytest.raises(Fatal, match="another Kafka cluster answers"):
        lines.lags(known.cluster({}))


def test_status_without_a_stack_says_how_to_start_one(folder: Path) -> None:
    result = CliRunner().invoke(app, ["status"])
    assert isinstance(result.exception, Fatal)
    assert "no stack runs there" in str(result.exception) and "tape up" in str(result.exception)


def test_status_without_a_stack_names_one_that_runs_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAPE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tape" / "other" / "logs").mkdir(parents=True)
    stack_at(Broker("127.0.0.1:1", "mine"), tmp_path / ".tape" / "other", "")
    result = CliRunner().invoke(app, ["status"])
    assert f"export TAPE_HOME={tmp_path / '.tape' / 'other'}" in str(result.exception)


def test_logs_prints_the_end_and_names_the_others(kafka: Broker, folder: Path, prefix: str) -> None:
    stack_at(kafka, folder, prefix)
    assert CliRunner().invoke(app, ["logs", "features", "-n", "1"]).output == "last line\n"
    wrong = CliRunner().invoke(app, ["logs", "feature"])
    assert isinstance(wrong.exception, Fatal) and "there are: features" in str(wrong.exception)


def test_down_without_a_stack_is_no_error_and_purge_removes_the_folder(folder: Path) -> None:
    result = CliRunner().invoke(app, ["down", "--purge"])
    assert result.exit_code == 0 and "no stack runs" in result.output
    assert not folder.exists()


def test_detached_up_on_a_running_stack_is_refused_and_leaves_its_log_alone(folder: Path) -> None:
    log = folder / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("what the running one said\n")
    with state.only_stack(folder):
        result = CliRunner().invoke(app, ["up", "--detach"])
    assert isinstance(result.exception, Fatal) and "a stack already runs in" in str(result.exception)
    assert log.read_text() == "what the running one said\n"


def test_detached_up_that_cannot_start_shows_why(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[signal]\nat_bend = 1.0\n")
    result = CliRunner().invoke(app, ["up", "--detach", "--config", str(config)])
    assert isinstance(result.exception, Fatal)
    assert str(folder / "logs" / "up.log") in str(result.exception)
    said = (folder / "logs" / "up.log").read_text()
    assert "unknown configuration key signal.at_bend" in said and "at_band" in said
