"""Rebuild, snapshots and a second pipeline over real topics, workers and processes."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.registry import Registry as Access
from tapedeck.connectors.registry import use_registry
from tapedeck.schemas import codec
from tapedeck.schemas.errors import TapeError
from tapedeck.schemas.ids import REGISTRY_VARIABLE, versions
from tapedeck.streams.frame import unpack
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import USER_ERROR, app
from tapedeck.tape.rebuild.whole import live_outputs, live_state
from tapedeck.topics.catalogue import CATALOGUE
from tests.conftest import Broker
from tests.support.cases import BAR_STAGES
from tests.support.live import Workers, last_minute, until_label
from tests.support.registry import Registry, running
from tests.support.sim_tapes import CONFIG, small_tape, written

pytestmark = pytest.mark.integration
MINUTES = slice(60, 110)
OUTPUTS = [name for stage in BAR_STAGES for name in TOPOLOGY.stage(stage).outputs]


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def tape(workers: Workers, *words: str, registry: str = "") -> tuple[int, str]:
    """Exit code and what a command of ``tape`` printed, run in this process."""
    environment = {
        **workers.cluster.environment(),
        "TAPE_CONFIG": str(workers.config_path), "TAPE_HOME": str(workers.folder / "home"),
        REGISTRY_VARIABLE: registry,
    }  # fmt: skip
    found = CliRunner().invoke(app, list(words), env=environment)
    if isinstance(found.exception, TapeError):
        return USER_ERROR, str(found.exception)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
    return found.exit_code, found.output


def digests(workers: Workers, layout_prefix: str) -> dict[str, object]:
    with KafkaSource(workers.cluster.under(layout_prefix)) as source:
        found: dict[str, object] = {name: live_outputs(name, source).hexdigest() for name in OUTPUTS}
        for stage in BAR_STAGES:  # the ids of topics are another prefix's
            values = live_state(TOPOLOGY.stage(stage), source).items()
            found[f"{stage} state"] = {key: unpack(value)._replace(logs={}) for key, value in values}
        return found


@pytest.mark.long
def test_a_run_is_verified_saved_restored_and_made_again_beside_itself(workers: Workers, prefix: str) -> None:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    workers.write(log)
    worker = workers.start(*BAR_STAGES)
    until_label(workers, "decisions", last_minute(small_tape(), MINUTES))
    words = ("rebuild", *BAR_STAGES, "--verify", "--workers", "2", "--json")
    assert workers.tape(*words).wait(120) == 0, workers.log_of(*words)
    told = workers.log_of(*words)
    lines = json.loads(told[told.index("{\n") :])["lines"]
    assert [line["what"] for line in lines if line["stage"] == "signals"] == [
        "decisions", "signals", "revision_audit", "state",
    ]  # fmt: skip
    assert sum(line["records"] for line in lines if line["what"] == "decisions") > 200
    worker.send_signal(signal.SIGTERM)
    worker.wait(20)
    live = digests(workers, prefix)

    code, told = tape(
        workers,
        "snapshot",
        "save",
        "noon",
        *BAR_STAGES,
        "--verify",
        "--workers",
        "1",
    )
    assert code == 0, told
    assert "noon" in tape(workers, "snapshot", "list")[1]
    code, told = tape(workers, "snapshot", "restore", "noon", "scores", "signals")
    assert code == 0, told
    assert digests(workers, prefix) != live, "the epoch is raised"

    beside = f"{prefix}-b"
    code, told = tape(workers, "rebuild", *BAR_STAGES, "--into", beside, "--workers", "1")
    assert code == 0, told
    again = digests(workers, beside)
    assert {name: again[name] for name in OUTPUTS} == {name: live[name] for name in OUTPUTS}
    code, told = tape(workers, "rebuild", "features", "--into", beside)
    assert code == 2 and "is not empty" in told, told

    started = time.monotonic()
    goes_on = workers.start(*BAR_STAGES, disk="beside", extra={"TAPE_PREFIX": beside})
    verified = (
        "rebuild",
        *BAR_STAGES,
        "--verify",
        "--prefix",
        beside,
        "--workers",
        "1",
    )
    code, told = tape(workers, *verified)
    assert code == 0 and "EQUAL" in told, told
    assert goes_on.poll() is None
    assert time.monotonic() - started < 120


def _first_id() -> int:
    """The lowest at which no schema gets its id in the log, but one that another schema has there."""
    schemas = dict.fromkeys(topic.schema for topic in CATALOGUE if topic.schema is not None)
    in_order = [log_id for name in schemas for log_id, _ in versions(name)]
    return next(
        first
        for first in range(1, len(in_order))
        if not any(log_id == wire_id for wire_id, log_id in enumerate(in_order, first))
    )


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running() as server:
        server.first_id = _first_id()
        yield server
    codec.use_ids(None)


@pytest.mark.long
def test_a_registrys_ids_reach_every_process_and_a_shell_without_it_says_so(
    workers: Workers, prefix: str, registry: Registry
) -> None:
    minutes = slice(60, 75)
    log = written(small_tape(), minutes=minutes, history_tail=60)
    use_registry(Access.described({REGISTRY_VARIABLE: registry.url}), prefix)
    sources = [m for name in ("bars", "quotes", "universe") for m in log.messages(name)]
    stamped = [m._replace(value=codec.with_wire_id(m.value)) for m in sources]
    assert stamped != sources
    workers.put(stamped)
    codec.use_ids(None)
    workers.tape("worker", "features", extra={REGISTRY_VARIABLE: registry.url})
    until_label(workers, "features", last_minute(small_tape(), minutes))

    verify = ("rebuild", "features", "--verify", "--workers", "2")
    code, told = tape(workers, *verify, registry=registry.url)
    assert code == 0 and "EQUAL" in told and "cannot be read" not in told, told
    code, told = tape(workers, "rebuild", "features", "--into", f"{prefix}-r", "--workers", "2",
                      registry=registry.url)  # fmt: skip
    rows = [line.split() for line in told.splitlines() if line.startswith("features ")]
    counts = {what: int(count) for _, what, count, _ in rows}
    assert code == 0 and counts["features"] > 100, told

    codec.use_ids(None)
    code, told = tape(workers, *verify)
    assert code == 1 and "EQUAL:" not in told, told
    assert told.count("tape: records that cannot be read here") == 1 and f"Set {REGISTRY_VARIABLE}" in told
    code, told = tape(workers, "tail", "features", "-n", "3")
    assert told.count("tape: records that cannot be read here: 3 of features") == 1, told


def test_a_stage_that_never_ran_is_not_equal_to_nothing(workers: Workers) -> None:
    workers.write(written(small_tape(), minutes=slice(60, 65), history_tail=20))
    code, told = tape(workers, "rebuild", "features", "--verify", "--workers", "1")
    assert code == 1 and "EQUAL:" not in told, told
    assert "NOT COMPARED" in told and "no output and no table, although bars holds" in told
    code, told = tape(workers, "snapshot", "save", "never", "features", "--verify")
    assert code == 2 and "nothing of features/0 could be compared, so nothing was saved" in told, told


def test_bad_commands_say_what_to_do(workers: Workers) -> None:
    for words, told in (
        (("rebuild", "feature"), "no such stage"),
        (("rebuild", "--account", "nobody"), "nobody"),
        (("rebuild", "features", "--account", "large"), "does not apply to these stages"),
        (("rebuild", "features", "--verify", "--apply"), "exclude each other"),
        (("rebuild", "features", "--from", "noon"), "--from is not a time"),
        (("rebuild", "features", "--into", "a/b"), "is not valid in a topic name"),
        (("snapshot", "show", "nothing"), "there is no such snapshot"),
        (("snapshot", "restore", "nothing"), "there is no such snapshot"),
    ):
        code, said = tape(workers, *words)
        assert code == 2, said
        assert told in said, said
