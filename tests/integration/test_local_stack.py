"""The local stack: what it starts it stops, and every fault of it is named."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import psycopg
import pytest

from tapedeck.connectors.kafka.admin import describe
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.tape.local import state, status
from tapedeck.tape.local.backup import backup, restore
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import STATE_FILE, cache_dir
from tapedeck.tape.local.postgres import EmbeddedPostgres
from tapedeck.tape.local.process import Identity, identity, is_running
from tapedeck.tape.local.purge import purge
from tapedeck.tape.local.stack import LocalStack
from tapedeck.tape.local.state import Phase, ProcessState, StackState
from tapedeck.tape.local.supervisor import Supervisor, Worker
from tapedeck.tape.status import lines
from tapedeck.topics.catalogue import CATALOGUE
from tests.conftest import Broker

pytestmark = pytest.mark.integration

SLEEPER = (sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
    "time.sleep(600)",
)
READY = (
    sys.executable,
    "-c",
    "import os, pathlib, time; pathlib.Path(os.environ['TAPE_READY_FILE']).touch(); time.sleep(600)",
)
BROKEN = (sys.executable, "-c", "raise SystemExit('the moon is in the wrong house')")


@pytest.fixture
def folder(kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stack's folder, removed with its database; the stack starts servers of its own."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TAPE_HOME", "TAPE_CONFIG", "TAPE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "stack"
    purge(tmp_path / "stack")


@pytest.fixture
def broker(kafka: Broker, tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A second broker that a test may hurt; ``kafka`` has filled the cache."""
    second = EmbeddedKafka(tmp_path / "second", cache_dir())
    second.start()
    yield second
    second.kill()


def sleepers(config: Config) -> Sequence[Worker]:
    return (Worker(name="sleeper", argv=SLEEPER), Worker(name="prompt", argv=READY, says_ready=True))


def gone(processes: Sequence[ProcessState]) -> bool:
    return not any(is_running(process.identity) for process in processes)


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_stack_starts_everything_and_leaves_nothing_running(folder: Path) -> None:
    began = time.monotonic()
    with LocalStack(folder, workers=sleepers) as stack:
        took = time.monotonic() - began
        known = state.running(folder)
        assert known.phase is Phase.READY
        assert [process.name for process in known.processes] == ["kafka", "postgres", "sleeper", "prompt"]
        assert cluster_id_of(stack.cluster) == stack.cluster.expected_id == known.cluster_id
        with psycopg.connect(known.database_url) as connection:
            assert connection.execute("SELECT count(*) FROM t_bars").fetchone() == (0,)
        assert {topic.name for topic in CATALOGUE} <= set(describe(stack.cluster))
        stack.watch()
        assert all(line.alive for line in status.processes(known))
        assert lines.lags(known.cluster({})) == [] and lines.stages(known.cluster({})) == []
        assert (folder / STATE_FILE).stat().st_mode & 0o777 == 0o600
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert took < 60
    assert gone(known.processes)
    after = state.read(folder)
    assert after is not None and after.phase is Phase.STOPPED and after.processes == ()


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[Path]:
    """Where a backup is restored."""
    yield tmp_path / "restored"
    purge(tmp_path / "restored")


@pytest.mark.long
def test_second_start_and_a_restored_backup_find_topics_rows_and_controls_again(
    folder: Path, restored: Path, tmp_path: Path
) -> None:
    ids = []
    for home in (folder, folder, restored):
        if home == restored:
            backup(folder, tmp_path / "kept")
            restore(tmp_path / "kept", restored)
        with LocalStack(home, workers=lambda config: ()) as stack:
            ids.append(stack.cluster.expected_id)
            with psycopg.connect(stack.database_url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
                connection.execute("INSERT INTO kept VALUES (1)")
                rows = connection.execute("SELECT count(*) FROM kept").fetchone()
            controls = read_topic(stack.cluster, "controls")
    assert ids[0] == ids[1] == ids[2]
    assert rows == (3,)
    states = [decode("controls", message.value)["state"] for message in controls]
    assert states == ["ACTIVE"], "written at the first start only, so that a pause outlives a restart"


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_stack_killed_outright_leaves_nothing_and_starts_again(folder: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from tapedeck.tape.local.stack import LocalStack\n"
        "with LocalStack(pathlib.Path(sys.argv[1]), workers=lambda config: ()):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "up\n"
    known = state.running(folder)
    assert [process.name for process in known.processes] == ["kafka", "postgres"]
    parent.kill()
    parent.wait()
    assert eventually(lambda: gone(known.processes))
    with LocalStack(folder, workers=lambda config: ()) as stack:
        assert stack.cluster.expected_id == known.cluster_id


def test_second_up_on_the_folder_is_refused_by_name(folder: Path) -> None:
    with state.only_stack(folder), pytest.raises(Fatal) as refused, LocalStack(folder):
        pass
    assert str(folder) in str(refused.value) and str(os.getpid()) in str(refused.value)
    with state.only_stack(folder):
        pass


def test_stale_lock_and_leftovers_of_a_killed_supervisor_are_recovered(tmp_path: Path) -> None:
    folder = tmp_path / "stale"
    folder.mkdir()
    code = (
        "import os, pathlib, sys, time\n"
        "from tapedeck.tape.local import state\n"
        "with state.only_stack(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    left = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        dead = identity(holder.pid)
        child = identity(left.pid)
        assert dead is not None and child is not None
        with pytest.raises(Fatal, match=f"supervised by process {holder.pid}"), state.only_stack(folder):
            pass
        holder.kill()
        holder.wait()
        known = StackState(
            name="stale",
            phase=Phase.READY,
            supervisor=ProcessState(name="supervisor", pid=dead.pid, started=dead.started, log=""),
            processes=(ProcessState(name="left", pid=child.pid, started=child.started, log=""),),
        )
        with state.only_stack(folder):
            state.write(folder, known)
            assert state.end_processes(state.read(folder)) == ["left"]
        assert left.wait(5) == -signal.SIGTERM
    finally:
        holder.kill()
        left.kill()
        left.wait()


def test_recycled_process_id_is_never_ended(tmp_path: Path) -> None:
    other = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)
    try:
        earlier = Identity(other.pid, psutil.Process(other.pid).create_time() - 100)
        known = StackState(
            name="old",
            phase=Phase.READY,
            supervisor=ProcessState(name="supervisor", pid=earlier.pid, started=earlier.started, log=""),
            processes=(ProcessState(name="old", pid=earlier.pid, started=earlier.started, log=""),),
        )
        assert state.end_processes(known) == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_wrong_cluster_id_is_detected(kafka: Broker) -> None:
    with pytest.raises(Fatal, match="another Kafka cluster answers") as wrong:
        cluster_id_of(Cluster(kafka.bootstrap, expected_id="some-other-id"))
    assert kafka.cluster_id in str(wrong.value)


def test_port_in_use_is_named(kafka: Broker, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Fatal, match=f"port {port} is in use, Kafka cannot listen there"):
            EmbeddedKafka(tmp_path / "kafka", cache_dir(), port=port).start()
        with pytest.raises(Fatal, match=f"port {port} is in use, Postgres cannot listen there"):
            EmbeddedPostgres(tmp_path / "postgres", port=port).start()


def test_frozen_broker_is_told_from_a_stopped_one(broker: EmbeddedKafka) -> None:
    broker.freeze()
    assert psutil.Process(broker.child.pid).status() == psutil.STATUS_STOPPED
    with pytest.raises(Fatal, match="has not answered within 1 s: it is frozen"):
        cluster_id_of(broker.cluster, 1.0)
    broker.thaw()
    cluster_id_of(broker.cluster)
    broker.kill()
    with pytest.raises(Fatal, match="no Kafka broker listens there: it is stopped"):
        cluster_id_of(broker.cluster)


def test_frozen_broker_still_stops_within_the_deadline(broker: EmbeddedKafka) -> None:
    broker.freeze()
    began = time.monotonic()
    broker.stop()
    assert time.monotonic() - began < 10
    assert broker.child.exit_code is not None


@pytest.mark.usefixtures("kafka")
def test_broker_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    broken = EmbeddedKafka(tmp_path / "kafka", cache_dir(), jvm=("-XX:NoSuchFlag",))
    with pytest.raises(Fatal, match=r"(?s)kafka ended with exit code 1 while it was starting.*NoSuchFlag"):
        broken.start()


@pytest.mark.long
def test_death_of_the_broker_ends_the_stack_with_its_log(folder: Path) -> None:
    with LocalStack(folder, workers=lambda config: ()) as stack:
        process = next(p for p in state.running(folder).processes if p.name == "kafka")
        os.kill(process.pid, signal.SIGKILL)

        def watch_until_refused() -> bool:
            stack.watch()
            return False

        with pytest.raises(Fatal, match=r"kafka ended with signal SIGKILL; the last lines of .*kafka\.log"):
            eventually(watch_until_refused)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: PostgreSQL refuses to run as root")
def test_postgres_as_root_runs_as_another_user_from_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "postgres", durable=False)
    try:
        url = server.start()
        with psycopg.connect(url) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        data = Path(row[0])
        assert psutil.Process(server.child.pid).uids().real != 0
        assert not data.is_relative_to(closed), "its user cannot enter the closed folder"
        assert (closed / "postgres" / "elsewhere").read_text().strip() == str(data.parent)
        assert closed.stat().st_mode & 0o777 == 0o700
        assert (closed / "postgres" / "password").stat().st_mode & 0o777 == 0o600
    finally:
        server.remove()
    assert not data.exists() and not (closed / "postgres").exists()


def test_postgres_refuses_a_wrong_password(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    try:
        url = server.start()
        password = (tmp_path / "postgres" / "password").read_text()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(password, "guess"))
    finally:
        server.remove()


def test_child_that_dies_is_started_again_and_its_log_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor = Supervisor(tmp_path, {}, lambda: None)
    supervisor.start([Worker(name="sleeper", argv=SLEEPER)])
    try:
        first = supervisor.processes()[0]
        assert eventually(lambda: "asleep" in Path(first.log).read_text())
        os.kill(first.pid, signal.SIGKILL)

        def replaced() -> bool:
            supervisor.watch()
            return supervisor.processes()[0].pid != first.pid

        assert eventually(replaced)
        assert supervisor.processes()[0].restarts == 1
    finally:
        supervisor.drain()
    said = capsys.readouterr().err
    assert "sleeper" in said and "signal SIGKILL" in said and "asleep" in said and first.log in said


def test_child_that_keeps_dying_stops_the_stack_with_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, {}, lambda: None)
    supervisor.start([Worker(name="broken", argv=BROKEN)])

    def watch_until_refused() -> bool:
        supervisor.watch()
        return False

    with pytest.raises(Fatal, match="broken ended 5 times") as refused:
        eventually(watch_until_refused, 40)
    assert "the moon is in the wrong house" in str(refused.value)
    assert str(tmp_path / "logs" / "broken.log") in str(refused.value)


def test_child_that_never_becomes_ready_is_named_with_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, {}, lambda: None)
    try:
        with pytest.raises(Fatal, match="sleeper was not ready within") as refused:
            supervisor.start([Worker(name="sleeper", argv=SLEEPER, says_ready=True)], timeout_s=2)
        assert "asleep" in str(refused.value)
    finally:
        supervisor.drain()


def test_child_that_ignores_sigterm_is_killed_at_the_deadline(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, {}, lambda: None)
    supervisor.start([Worker(name="stubborn", argv=STUBBORN), Worker(name="sleeper", argv=SLEEPER)])
    processes = supervisor.processes()
    assert eventually(lambda: "deaf" in Path(processes[0].log).read_text())
    assert supervisor.drain(1.0) == ["stubborn"]
    assert gone(processes)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from tapedeck.tape.local.supervisor import Supervisor, Worker\n"
        "s = Supervisor(pathlib.Path(sys.argv[1]), {}, lambda: None)\n"
        "s.start([Worker(name='sleeper', argv=[sys.executable, '-c', 'import time; time.sleep(600)'])])\n"
        "print(s.processes()[0].pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = identity(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.wait()
    assert eventually(lambda: not is_running(child))
