"""The notebooks run from first to last cell on a recorded run, and are committed without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tests.integration.conftest import Recorded
from tests.support import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
_CELL_S = 120
SAID = {
    "tour": ("BUY_CALL", "left edge of the newest bar", "image/png", "bars up to 12:04", "SAME", "std"),
    "why_no_trade": ("OPTIONS_CONFIDENCE_TOO_LOW", "ended at decisions", "APPROVED", "bars/"),
    "rebuild_and_verify": ("2727", "EQUAL: live has all", "0 were written again", "2026-02-17 17:04:00"),
}
"""What a notebook's outputs must hold on the recorded morning."""


def outputs(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed and showed, by kind and content."""
    found = []
    for cell in notebook.cells:
        for each in cell.get("outputs", ()):
            found.append(each.get("text", ""))
            for kind, content in each.get("data", {}).items():
                found += [kind, "" if kind.startswith("image") else content]
    return "\n".join(found)


@pytest.mark.integration
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_a_recorded_run(
    path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "tape.toml"
    config.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", recorded.cluster.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", recorded.layout.prefix)
    monkeypatch.setenv("TAPE_CONFIG", str(config))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=_CELL_S, resources={"metadata": {"path": str(path.parent)}})
    shown = outputs(client.execute())
    assert [part for part in SAID[path.stem] if part not in shown] == [], shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_says_who_it_is_for(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, *rest = notebook.cells
    assert first.cell_type == "markdown"
    assert "for " in first.source.splitlines()[0] + first.source.splitlines()[2]
    assert "`tape up`" in first.source
    code = [cell for cell in rest if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_there_are_three_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SAID)
