"""Rebuild, snapshots and a second pipeline over real topics, workers and processes."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.topology import MARKET_STAGES, spec_of
from tapedeck.tape.cli.main import USER_ERROR, app
from tapedeck.tape.rebuild.whole import live_outputs, live_state
from tests.conftest import Broker
from tests.live import Workers, last_minute, until_label
from tests.sim.tapes import CONFIG, small_tape, written

pytestmark = pytest.mark.integration
MINUTES = slice(60, 110)
OUTPUTS = [name for stage in MARKET_STAGES for name in spec_of(stage).outputs]


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def tape(workers: Workers, *words: str) -> tuple[int, str]:
    """Exit code and what a command of ``tape`` printed, run in this process."""
    environment = {
        **workers.cluster.environment(),
        "TAPE_CONFIG": str(workers.config_path), "TAPE_HOME": str(workers.folder / "home"),
    }  # fmt: skip
    found = CliRunner().invoke(app, list(words), env=environment)
    if isinstance(found.exception, TapeError):
        return USER_ERROR, str(found.exception)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
    return found.exit_code, found.output


def digests(workers: Workers, layout_prefix: str) -> dict[str, object]:
    with KafkaSource(workers.cluster.under(layout_prefix)) as source:
        found: dict[str, object] = {name: live_outputs(name, source).hexdigest() for name in OUTPUTS}
        return found | {stage: live_state(stage, source) for stage in MARKET_STAGES}


def test_a_run_is_verified_saved_restored_and_made_again_beside_itself(workers: Workers, prefix: str) -> None:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    workers.write(log)
    worker = workers.start(*MARKET_STAGES)
    until_label(workers, "decisions", last_minute(small_tape(), MINUTES))
    words = ("rebuild", *MARKET_STAGES, "--verify", "--workers", "2", "--json")
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

    code, told = tape(workers, "snapshot", "save", "noon", *MARKET_STAGES, "--verify", "--workers", "1")
    assert code == 0, told
    assert "noon" in tape(workers, "snapshot", "list")[1]
    code, told = tape(workers, "snapshot", "restore", "noon", "scores", "signals")
    assert code == 0, told
    assert digests(workers, prefix) != live, "the epoch is raised"

    beside = f"{prefix}-b"
    code, told = tape(workers, "rebuild", *MARKET_STAGES, "--into", beside, "--workers", "1")
    assert code == 0, told
    again = digests(workers, beside)
    assert {name: again[name] for name in OUTPUTS} == {name: live[name] for name in OUTPUTS}
    code, told = tape(workers, "rebuild", "features", "--into", beside)
    assert code == 2 and "is not empty" in told, told

    started = time.monotonic()
    goes_on = workers.start(*MARKET_STAGES, disk="beside", extra={"TAPE_PREFIX": beside})
    verified = ("rebuild", *MARKET_STAGES, "--verify", "--prefix", beside, "--workers", "1")
    code, told = tape(workers, *verified)
    assert code == 0 and "EQUAL" in told, told
    assert goes_on.poll() is None
    assert time.monotonic() - started < 120


def test_bad_commands_say_what_to_do(workers: Workers) -> None:
    for words, told in (
        (("rebuild", "feature"), "no such stage"),
        (("rebuild", "--account", "nobody"), "nobody"),
        (("rebuild", "features", "--account", "large"), "has no say in these stages"),
        (("rebuild", "features", "--verify", "--apply"), "exclude each other"),
        (("rebuild", "features", "--from", "noon"), "--from is no time"),
        (("rebuild", "features", "--into", "a/b"), "cannot stand in a topic's name"),
        (("snapshot", "show", "nothing"), "there is no such snapshot"),
        (("snapshot", "restore", "nothing"), "there is no such snapshot"),
    ):
        code, said = tape(workers, *words)
        assert code == 2, said
        assert told in said, said
