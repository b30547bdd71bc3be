"""The notebooks show, from first to last cell, what a recorded run gives: a morning of the seeded demo.

`make notebooks` runs them and writes their outputs again.
"""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tests.integration.conftest import Recorded
from tests.support.cases import REPOSITORY, few

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
TOUR_FIRST = sorted(NOTEBOOKS, key=lambda path: path.stem != "tour")
_CELL_S = 600
NAMES = {"tour", "why_no_trade", "rebuild_and_verify"}
WRITE = "TAPE_WRITE_NOTEBOOKS"


def outputs(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each code cell printed and showed; of a plot only that it is there."""
    return [[shown(each) for each in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]


def shown(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "\n".join(f"{kind}: {'' if kind.startswith('image') else data[kind]}" for kind in sorted(data))


@pytest.mark.integration
@pytest.mark.parametrize("path", few(TOUR_FIRST, 1), ids=lambda path: path.stem)
def test_a_notebook_shows_what_the_recorded_run_gives(
    path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "tape.toml"
    config.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", recorded.cluster.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", recorded.layout.prefix)
    monkeypatch.setenv("TAPE_CONFIG", str(config))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    committed = outputs(notebook)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=_CELL_S, resources=where, record_timing=False).execute()
    if os.environ.get(WRITE):
        nbformat.write(notebook, path)
        return
    for cell, (now, before) in enumerate(zip(outputs(notebook), committed, strict=True), start=1):
        assert now == before, f"code cell {cell} of {path.name} shows something else: `make notebooks`"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_its_outputs_and_says_who_it_is_for(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, *rest = notebook.cells
    assert first.cell_type == "markdown"
    assert "for " in first.source.splitlines()[0] + first.source.splitlines()[2]
    assert "`tape up`" in first.source
    code = [cell for cell in rest if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(each for each in outputs(notebook)), "a cell shows nothing"


def test_there_are_three_notebooks_with_a_plot_an_explanation_and_a_proof() -> None:
    found = {path.stem: str(outputs(nbformat.read(path, as_version=4))) for path in NOTEBOOKS}
    assert set(found) == NAMES
    assert "image/png" in found["tour"] and "SAME" in found["tour"]
    assert "ended at decisions" in found["why_no_trade"]
    assert "EQUAL: live has all that a rebuild gives" in found["rebuild_and_verify"]
