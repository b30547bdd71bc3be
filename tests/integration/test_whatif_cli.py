"""``tape whatif`` over a recorded run on a real broker."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.config.document import Config
from tapedeck.tape.cli.main import app
from tests.integration.conftest import Recorded
from tests.support.paths import CONFIG

pytestmark = pytest.mark.integration


@pytest.fixture
def base(recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", recorded.cluster.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", recorded.layout.prefix)
    path = tmp_path / "tape.toml"
    path.write_text(CONFIG.to_toml())
    monkeypatch.setenv("TAPE_CONFIG", str(path))
    return path


@pytest.fixture
def other(base: Path) -> Path:
    """A longer blackout after the open, and a lower threshold of stock signals."""
    document = CONFIG.model_dump(mode="python")
    document["gate"] |= {"opening_blackout_min": 145}
    document["signal"] |= {"stock_min": 0.1}
    path = base.with_name("other.toml")
    path.write_text(Config.model_validate(document).to_toml())
    return path


def whatif(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["whatif", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_same_configuration_gives_no_difference_and_another_its_causes_and_a_page(
    base: Path, other: Path, tmp_path: Path
) -> None:
    assert "NO DIFFERENCE" in whatif("--config", base)
    page = tmp_path / "page.html"
    text = whatif("--config", other, "--report", page, "--rows", 2)
    assert "Caused by signal.stock_min" in text and "Caused by gate.opening_blackout_min" in text
    assert "parameter" in text and f"report: {page}" in text
    assert page.read_text().startswith("<!doctype html>") and "<svg" in page.read_text()
    found = json.loads(whatif("--config", other, "--account", "tiny", "--from", "2026-02-17", "--json"))
    proposals = [each for each in found["differences"] if each["part"] == "PROPOSAL"]
    assert proposals and {each["account"] for each in proposals} == {"tiny"}
    assert found["from"].startswith("2026-02-17T05:00")
    late = json.loads(whatif("--config", other, "--from", "10min", "--json"))
    assert found["from"] < late["from"] < late["to"]


def test_documents_and_windows_that_cannot_be_are_refused_by_name(
    base: Path, other: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigInvalid, match="--base FILE") as caught:
        whatif("--config", other, "--base", other)
    assert CONFIG.digest in str(caught.value)
    newer = tmp_path / "newer.toml"
    newer.write_text(base.read_text().replace("version = 1", "version = 2"))
    with pytest.raises(ConfigInvalid, match="version"):
        whatif("--config", newer)
    with pytest.raises(ConfigInvalid, match="there is no configuration file"):
        whatif("--config", tmp_path / "nowhere.toml")
    with pytest.raises(Fatal, match="no decision of the window is kept"):
        whatif("--config", other, "--from", "2026-03-01")
    with pytest.raises(Fatal, match="the window is empty"):
        whatif("--config", other, "--from", "2026-02-17", "--to", "2026-02-13")
    with pytest.raises(Fatal, match="--from has no time zone"):
        whatif("--config", other, "--from", "2026-02-17T10:00")
    with pytest.raises(Fatal, match="cannot be written"):
        whatif("--config", base, "--report", tmp_path / "no" / "page.html")
