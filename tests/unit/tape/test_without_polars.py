"""What works without polars, which is an extra, and what the rest says."""

import subprocess
import sys
from pathlib import Path

_BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "polars":
            raise ModuleNotFoundError("No module named 'polars'", name="polars")
sys.meta_path.insert(0, Blocked())
"""
_IMPORT_ALL = """
import importlib, pkgutil, tapedeck
for found in pkgutil.walk_packages(tapedeck.__path__, "tapedeck."):
    if found.name.endswith("__main__") or ".migrations" in found.name:
        continue
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        assert error.name == "polars", error
        print(found.name)
    else:
        assert "polars" not in sys.modules
"""
_TAPE = "from tapedeck.tape.cli.main import run\nrun()"
NEED_POLARS = (
    "tapedeck.connectors.tapes.checking",
    "tapedeck.connectors.tapes.files",
    "tapedeck.connectors.tapes.market_files",
    "tapedeck.tape.backtest.files",
    "tapedeck.tape.backtest.frames",
    "tapedeck.tape.cli.check",
    "tapedeck.tape.cli.fetch",
    "tapedeck.tape.fetch",
    "tapedeck.tape.notebook",
    "tapedeck.tape.rebuild.table_files",
)


def without_polars(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a Python that has no polars."""
    command = [sys.executable, "-c", _BLOCKED + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_only_frames_and_market_files_need_polars() -> None:
    done = without_polars(_IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    need = done.stdout.split()
    assert len(need) > 15
    assert [name for name in need if not name.startswith(NEED_POLARS)] == []


def test_a_synthetic_tape_is_made_without_polars() -> None:
    code = (
        "from tapedeck.connectors.tapes.source import TapeSource\n"
        "tape = TapeSource().load()\n"
        "print(len(tape.minutes) > 300, 'polars' in sys.modules)"
    )
    done = without_polars(code)
    assert done.stdout == "True False\n", done.stderr


def test_a_command_that_needs_polars_names_the_extra(tmp_path: Path) -> None:
    file = tmp_path / "market.parquet"
    file.touch()
    for arguments in (["check", str(file)], ["sim", str(file)]):
        done = without_polars(_TAPE, *arguments)
        assert done.returncode == 2
        assert "tape: the package polars is not installed" in done.stderr
        assert "pip install 'tapedeck[frames]'" in done.stderr and "Traceback" not in done.stderr


def test_the_notebook_functions_name_the_extra() -> None:
    done = without_polars("import tapedeck\ntapedeck.tap")
    assert "Fatal: the package polars is not installed" in done.stderr
    assert "pip install 'tapedeck[frames]'" in done.stderr
