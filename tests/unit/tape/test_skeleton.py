"""`tape new stage`: what it writes runs as it is, and what it cannot write well it refuses."""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.ids import FIRST_OWN
from tapedeck.tape.cli.main import app
from tests.support.cases import REPOSITORY
from tests.support.places import here

__all__ = ["here"]


def run(folder: Path, *words: str, **told: str) -> str:
    """What a command in ``folder`` prints, with the package and tapedeck on the path."""
    path = os.pathsep.join((str(folder), str(REPOSITORY / "src")))
    environment = {**os.environ, "PYTHONPATH": path, "MYPYPATH": str(REPOSITORY / "src"), **told}
    found = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_what_it_writes_passes_its_own_test_and_is_a_stage_of_the_pipeline(here: Path) -> None:
    written = CliRunner().invoke(app, ["new", "stage", "price_move", "--package", "mine"])
    assert written.exit_code == 0, written.exception
    folder = here / "mine"
    assert 'topology = "mine.pipeline:TOPOLOGY"' in written.output
    assert str(FIRST_OWN) in (folder / "mine" / "ids.jsonl").read_text()
    assert "4 passed" in run(folder, "pytest", "-q")
    document = folder / "tape.toml"
    document.write_text('topology = "mine.pipeline:TOPOLOGY"\n[user.price_move]\nwindow = 7\n')
    told = {"TAPE_CONFIG": str(document)}
    printed = " ".join(run(folder, "tapedeck", "topology", **told).split())
    assert "price_move bars -> price_move (partition)" in printed
    shown = run(folder, "tapedeck", "config", "show", **told)
    comment = "# Bars over which the change is taken (whole number, ≥ 1, ≤ 120)"
    assert f"[user.price_move]\n{comment}\nwindow = 5\n" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        pytest.param(("mypy", "--strict", "mine", "tests"), marks=pytest.mark.long),
    ],
    ids=["ruff", "format", "mypy"],
)
def test_what_it_writes_is_clean(here: Path, words: Sequence[str]) -> None:
    if find_spec(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    assert CliRunner().invoke(app, ["new", "stage", "price_move", "--package", "mine"]).exit_code == 0
    run(here / "mine", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("features",), "a stage already has this name; got 'features'; choose another"),
        (("quotes",), "a topic already has this name; got 'quotes'"),
        (("play",), "a process of the pipeline already has this name; got 'play'"),
        (("Moves",), "not a valid name for a stage.*got 'Moves'.*lower-case"),
        (("class",), "not a valid name for a stage.*got 'class'"),
        (("moves", "--package", "tapedeck"), "a package with this name is already installed; got 'tapedeck'"),
        (("moves", "--package", "my-own"), "this is not a valid package name; got 'my-own'; give --package"),
        (("moves", "--into", "full"), r"is not empty.*got 'full'.*nothing was written"),
        (("moves", "--into", "full/file"), "is not empty.*got 'full/file'"),
    ],
    ids=str,
)
def test_what_would_clash_is_refused_and_nothing_is_written(
    here: Path, words: Sequence[str], message: str
) -> None:
    (here / "full").mkdir()
    (here / "full" / "file").write_text("mine")
    refused = CliRunner().invoke(app, ["new", "stage", *words]).exception
    assert isinstance(refused, Fatal)
    with pytest.raises(Fatal, match=message):
        raise refused
    assert [path.relative_to(here).as_posix() for path in here.rglob("*")] == ["full", "full/file"]
    assert (here / "full" / "file").read_text() == "mine"
