"""``tape record`` from a cluster: the tape that memory gives, checked, updated, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.recorded.format import load, save
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import iso_utc, xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tapedeck.tape.record.making import record
from tests.integration.conftest import Recorded
from tests.support.paths import CONFIG
from tests.tapes import HERE
from tests.unit.connectors.test_recorded_window import END, START, source, window

pytestmark = pytest.mark.integration
TAPE = HERE / "revisions_and_inserted_bars"
Tape = Callable[..., str]


def run(*words: str, expect: int = 0) -> str:
    result = CliRunner().invoke(app, ["record", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, result.output
    return result.stdout


@pytest.fixture
def cluster(recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    (tmp_path / "tape.toml").write_text(CONFIG.to_toml())
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", recorded.cluster.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", recorded.layout.prefix)
    monkeypatch.setenv("TAPE_CONFIG", str(tmp_path / "tape.toml"))
    return recorded


@pytest.mark.usefixtures("cluster")
def test_a_window_of_a_cluster_is_the_same_tape_as_one_of_memory(tmp_path: Path) -> None:
    out = tmp_path / "bug"
    window_words = ("--from", iso_utc(START), "--to", iso_utc(END))
    said = run(*window_words, "--symbols", "AMD, WMT", "--account", "large", "--out", str(out))
    assert f"{iso_utc(START)} to {iso_utc(END)}" in said and " kB" in said
    memory = record(
        TOPOLOGY, source(), window(), CONFIG, xnys(), name="bug", symbols=("AMD", "WMT"), accounts=("large",)
    )
    save(tmp_path / "memory", memory)
    assert load(out) == load(tmp_path / "memory")
    assert sum(path.stat().st_size for path in out.iterdir()) < 200_000
    assert run("--check", str(out)).count(" EQUAL") == 2
    with pytest.raises(Fatal, match="--out already exists"):
        run(*window_words, "--out", str(out))


@pytest.mark.usefixtures("cluster")
def test_a_window_may_be_named_by_its_distance_from_the_newest_minute(tmp_path: Path) -> None:
    run("--from", "20min", "--to", "10min", "--sessions-before", "0", "--out", str(tmp_path / "near"))
    manifest = load(tmp_path / "near").manifest
    assert manifest.history.startswith("2026-02-17T05:00:00")
    assert manifest.records["bars"] > 0


@pytest.mark.parametrize(
    "words, refusal",
    [
        (("--out", "x"), "--from, --to and --out are needed"),
        (("--from", "1h", "--to", "now", "--out", "{new}"), "--to is not a time; got 'now'"),
        (("--from", "2026-02-17T10:00", "--to", "1min", "--out", "{new}"), "--from has no time zone"),
        (("--from", "1h", "--to", "1min", "--account", "huge", "--out", "{new}"), "no such account"),
        (("--from", "1h", "--to", "1min", "--prefix", "nobody", "--out", "{new}"), "nobody.bars"),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_recorded_is_refused_and_writes_nothing(
    words: tuple[str, ...], refusal: str, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    with pytest.raises(Fatal) as caught:
        run(*(word.format(new=new) for word in words))
    assert refusal in str(caught.value)
    assert not new.exists()


def test_digests_are_made_again_only_when_that_is_asked_for(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TAPE, tmp_path / "tape"))
    tape = load(folder)
    other = tape.manifest.topics["features"].model_copy(update={"sha256": "0" * 64})
    topics = {**tape.manifest.topics, "features": other}
    save(folder, tape.__class__(tape.manifest.model_copy(update={"topics": topics}), tape.messages))
    said = run("--check", str(folder), expect=1)
    assert said.count("DIFFERENT, first topic features: expected ") == 2
    assert "1 digests changed" in run("--update", str(folder))
    again = load(folder)
    kept = again.manifest.model_copy(update={"config": tape.manifest.config})  # newer parameters are added
    assert (kept, again.messages) == (tape.manifest, tape.messages)
    assert " EQUAL" in run("--check", str(folder))
