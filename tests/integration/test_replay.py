"""``tape replay`` beside a recorded run: the same decisions again, in shadow, and production untouched."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka.admin import describe
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.scan import ends_of
from tapedeck.connectors.recorded.window import stretch, window_of
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.task import tasks_of
from tapedeck.streams.merge import Part
from tapedeck.streams.sessions import iso_utc, xnys
from tapedeck.streams.stages.account.rules.orders import OrderState
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tapedeck.tape.rebuild.live import group_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.conftest import Database
from tests.integration.conftest import Recorded
from tests.support.cases import REPOSITORY
from tests.support.live import bodies
from tests.support.paths import CONFIG, ORDERED_AT, morning
from tests.support.sim_tapes import small_tape

pytestmark = pytest.mark.integration
LABELS = [minute.label for minute in small_tape().minutes]
FROM, TO = (iso_utc(LABELS[at]) for at in (ORDERED_AT - 8, ORDERED_AT + 4))
ACCOUNT = "large"
REPLAY_S = 300.0
NAMES = tuple(each.name for each in CATALOGUE)


class Desk:
    """Runs ``tape replay`` as a person would, in a folder of its own."""

    def __init__(self, recorded: Recorded, database: Database, folder: Path) -> None:
        config = CONFIG.model_copy(update={"accounts": (CONFIG.account(ACCOUNT),)})
        (folder / "tape.toml").write_text(config.to_toml())
        self.environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": recorded.cluster.bootstrap,
            "DATABASE_URL": database.url,
            "TAPE_PREFIX": recorded.layout.prefix,
            "TAPE_CONFIG": str(folder / "tape.toml"),
            "TAPE_HOME": str(folder / "home"),
        }

    def replay(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tapedeck", "replay", *words],
            cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=REPLAY_S,
            check=False,
        )  # fmt: skip


@pytest.fixture
def desk(recorded: Recorded, postgres: Database, tmp_path: Path) -> Desk:
    return Desk(recorded, postgres, tmp_path)


def production(recorded: Recorded) -> tuple[Mapping[Part, tuple[int, int]], list[object]]:
    """Every topic's ends, and what every group of the pipeline has committed and who is in it."""
    bounds = ends_of(recorded.cluster, NAMES)
    groups, found = KafkaGroups(recorded.cluster), list[object]()
    for task in tasks_of(TOPOLOGY, recorded.layout, CONFIG):
        parts = [part for part in bounds if part[0] in task.spec.inputs]
        group = group_of(task, recorded.layout)
        found.append((group, groups.committed(group, parts), groups.members(group)))
    return bounds, found


@pytest.mark.long
def test_a_window_is_decided_again_in_shadow_and_production_is_not_touched(
    desk: Desk, recorded: Recorded, prefix: str
) -> None:
    before = production(recorded)
    done = desk.replay("--from", FROM, "--to", TO, "--into", prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    assert production(recorded) == before
    assert any(offset for _, committed, _ in before[1] for offset in committed.values())

    into = recorded.cluster.under(prefix)
    signals = [s for s in bodies(into, "signals") if s["bar_t"] >= LABELS[ORDERED_AT - 8]]
    assert "EQUAL: all " in done.stdout and f"signals {len(signals)}," in done.stdout
    assert len(signals) == 1
    proposals = bodies(into, "proposals")
    assert {body["account_id"] for body in proposals} == {ACCOUNT}
    assert {body["symbol"] for body in proposals} == {signals[0]["symbol"]}
    assert "SHADOWED" in {body["verdict"] for body in proposals}
    states = {body["state"] for body in bodies(into, "orders")}
    assert states == {str(OrderState.INTENT), str(OrderState.NOT_SENT)}
    assert not bodies(into, "executions")
    assert {body["mode"] for body in bodies(into, "accounts")} == {"SHADOW"}

    again = desk.replay("--from", FROM, "--to", TO, "--into", prefix)
    assert again.returncode == 2
    assert f"the prefix {prefix} is not empty" in again.stderr and f"{prefix}.bars" in again.stderr

    gone = desk.replay("--purge", "--into", prefix)
    assert gone.returncode == 0, gone.stderr
    assert not describe(into)
    assert production(recorded) == before


@pytest.mark.parametrize(
    "words, refusal",
    [
        (("--from", "2026-02-17T03:00-05:00", "--to", TO, "--into", "{free}"),
         f"does not reach back to --from; got '2026-02-17T08:00:00Z'; it holds {iso_utc(LABELS[0])} to "),
        (("--from", FROM, "--to", "2026-02-17T20:00-05:00", "--into", "{free}"), "does not reach to --to"),
        (("--from", FROM, "--to", TO, "--into", "{live}"), "source and target have the same prefix"),
        (("--purge", "--into", "{live}"), "this prefix is not that of a replay"),
        (("--into", "{free}"), "--from and --to are needed"),
        (("--from", FROM, "--to", TO, "--into", "a b"), "is not valid in a topic name"),
        (("--from", FROM, "--to", TO, "--into", "{free}", "--speed", "fast"), "not a speed; got 'fast'"),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_is_refused_before_anything_starts(
    words: tuple[str, ...], refusal: str, desk: Desk, recorded: Recorded, prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    named = [each.format(free=prefix, live=recorded.layout.prefix) for each in words]
    result = CliRunner().invoke(app, ["replay", *named])
    assert isinstance(result.exception, Fatal)
    assert refusal in str(result.exception)
    assert result.exception.remedy
    assert describe(recorded.cluster)
    assert not describe(recorded.cluster.under(prefix))


def test_the_window_read_from_a_cluster_is_the_one_in_memory(recorded: Recorded) -> None:
    memory = MemorySource(Layout(), (m for name in NAMES for m in morning().log.messages(name)))
    start, end = LABELS[ORDERED_AT - 8], LABELS[ORDERED_AT + 4]
    with KafkaSource(recorded.cluster) as source:
        found = [
            list(stretch(each, window_of(each, start, end, sessions_before=1, calendar=xnys())))
            for each in (source, memory)
        ]
    assert found[0] == found[1]
